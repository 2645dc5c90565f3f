"""What is told once a window: thresholds, exhaustion, and the forecast of it. Pure."""

from datetime import datetime

from actors.pricing.core.budgets import FORECAST_SHARE, Cover, foretold
from actors.pricing.core.ledger import Account, mark
from schemas.budgets import Budget
from schemas.ledger import Alert, AlertRaised


def is_quiet(budget: Budget, account: Account, spent: int) -> bool:
    """Say whether a window in which so much is spent is far from everything that is told."""
    percent = min(budget.thresholds, default=100)
    amount = budget.alert_pico
    cap = budget.limit_pico - account.funding
    return spent * 100 < cap * min(percent, 100 // FORECAST_SHARE) and (
        amount is None or spent < amount
    )


def raised(one: Cover, at: datetime) -> list[AlertRaised]:
    """Return what a window has come to and has not told yet."""
    found: list[AlertRaised] = []
    spent, cap, budget, told = one.account.spent, one.cap, one.budget, one.account.told
    if spent <= 0:
        return found
    for percent in budget.thresholds:
        if spent * 100 >= cap * percent and mark("threshold", percent) not in told:
            threshold = cap * percent // 100
            found.append(_alert(one, "threshold", at, threshold=threshold, percent=percent))
    amount = budget.alert_pico
    if amount is not None and spent >= amount and mark("threshold") not in told:
        found.append(_alert(one, "threshold", at, threshold=amount))
    if spent >= cap:
        if mark("exhausted") not in told:
            found.append(_alert(one, "exhausted", at))
    elif (when := foretold(one, at)) is not None and mark("forecast") not in told:
        found.append(_alert(one, "forecast", at, exhausted_at=when))
    return found


def exhausted(one: Cover, at: datetime) -> AlertRaised | None:
    """Return the alert of a hard budget that refuses for the first time in its window."""
    return None if mark("exhausted") in one.account.told else _alert(one, "exhausted", at)


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
