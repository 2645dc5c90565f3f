"""What others are told of an account: its public events. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from actors.pricing.core.ledger import Ledger
from schemas import pages
from schemas.base import Message
from schemas.budgets import (
    BudgetExhaustedEvent,
    ExhaustionForecastEvent,
    ThresholdCrossedEvent,
)
from schemas.decision import Publish
from schemas.events import BillExceededEvent
from schemas.ids import PLATFORM
from schemas.ledger import AccountEvent, AlertRaised, Charged


def announce(before: Ledger | None, event: AccountEvent, after: Ledger) -> Iterator[Publish]:
    """Yield the publication of an alert, or of a bill above its hold; nothing else is public."""
    del before
    if isinstance(event, Charged) and exceeds(after, event):
        yield _exceeded(after.tenant, event)
    elif isinstance(event, AlertRaised):
        body = _told(event, _name(after, event.account))
        subject = (body.SUBJECT or "").format(tenant=after.tenant, account=event.budget_id)
        yield Publish(subject=subject, body=body)


def exceeds(state: Ledger, event: Charged) -> bool:
    """Say whether a bill is above its hold; what blocks have cost is told where it was spent."""
    return state.tenant != PLATFORM and bool(event.over_pico or event.disputed_pico)


def _exceeded(tenant: str, event: Charged) -> Publish:
    which = event.reference
    body = BillExceededEvent(
        execution_id=which.execution_id,
        step=which.step,
        attempt=which.attempt,
        at=event.entered_at or event.at,
        held_pico=event.held_pico,
        cost_pico=event.cost_pico,
        over_pico=event.over_pico,
        disputed_pico=event.disputed_pico,
    )
    subject = (body.SUBJECT or "").format(tenant=tenant, execution_id=which.execution_id)
    return Publish(subject=subject, body=body)


def _name(state: Ledger, key: str) -> str | None:
    account = pages.get(state.accounts, key)
    return account.name if account is not None else None


def _told(event: AlertRaised, name: str | None) -> Message:
    match event.alert:
        case "threshold":
            return ThresholdCrossedEvent(
                budget_id=event.budget_id,
                account=event.account,
                threshold_pico=event.threshold_pico,
                spent_pico=event.spent_pico,
                limit_pico=event.limit_pico,
                at=event.at,
                percent=event.percent,
                name=name,
            )
        case "exhausted":
            return BudgetExhaustedEvent(
                budget_id=event.budget_id,
                account=event.account,
                spent_pico=event.spent_pico,
                held_pico=event.held_pico,
                limit_pico=event.limit_pico,
                at=event.at,
                name=name,
            )
        case "forecast":
            return ExhaustionForecastEvent(
                budget_id=event.budget_id,
                account=event.account,
                spent_pico=event.spent_pico,
                limit_pico=event.limit_pico,
                exhausted_at=event.exhausted_at or datetime.max.replace(tzinfo=UTC),
                at=event.at,
                name=name,
            )
