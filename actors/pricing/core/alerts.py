"""What is told once a window: thresholds, exhaustion, and the forecast of it. Pure."""

from collections.abc import Iterator
from datetime import datetime

from actors.pricing.core.budgets import Cover, forecast, is_early
from actors.pricing.core.ledger import mark
from schemas.ledger import Alert, AlertRaised


def raised(one: Cover, at: datetime) -> Iterator[AlertRaised]:
    """Yield what a window has come to and has not told yet."""
    told = one.account.told
    return (alert for alert in _reached(one, at) if mark(alert) not in told)


def exhausted(one: Cover, at: datetime) -> AlertRaised | None:
    """Return the alert of a hard budget that refuses for the first time in its window."""
    alert = _alert(one, "exhausted", at)
    return None if mark(alert) in one.account.told else alert


def _reached(one: Cover, at: datetime) -> Iterator[AlertRaised]:
    spent, cap, budget = one.account.spent, one.cap, one.budget
    if spent <= 0:
        return
    for percent in budget.thresholds:
        if spent * 100 >= cap * percent:
            yield _alert(one, "threshold", at, threshold=cap * percent // 100, percent=percent)
    if budget.alert_pico is not None and spent >= budget.alert_pico:
        yield _alert(one, "threshold", at, threshold=budget.alert_pico)
    if spent >= cap:
        yield _alert(one, "exhausted", at)
    elif "forecast" in one.account.told or is_early(one.account, at):
        return
    elif (when := forecast(one, at)) is not None:
        yield _alert(one, "forecast", at, exhausted_at=when)


def _alert(
    one: Cover,
    alert: Alert,
    at: datetime,
    *,
    threshold: int = 0,
    percent: int | None = None,
    exhausted_at: datetime | None = None,
) -> AlertRaised:
    return AlertRaised(
        account=one.account.key,
        budget_id=one.budget.id,
        alert=alert,
        at=at,
        spent_pico=one.account.spent,
        held_pico=one.account.held,
        limit_pico=one.cap,
        threshold_pico=threshold,
        percent=percent,
        exhausted_at=exhausted_at,
    )
