"""The settings of a pricing process."""

from actors.pricing.core.admission import DOLLAR
from actors.pricing.core.budgets import Zones
from actors.pricing.core.decisions import Rules
from bus.config import Config
from schemas.budgets import Budget, Limits

ALERT_ID = "cost-alert"
"""The budget of the operator's alert threshold, unless the tenant has one of this name."""


def rules(config: Config, zones: Zones) -> Rules:
    """Return what the operator has decided of all accounts."""
    return Rules(
        zones=zones,
        limits=_limits(config),
        alert=_alert(config),
        memory_days=config.ledger_memory_days,
        books_lapsed=config.lapsed_holds == "book",
    )


def _limits(config: Config) -> Limits | None:
    limits = Limits(
        requests_per_minute=config.rate_limit_per_minute,
        requests_per_hour=config.usage_limit_requests_per_hour,
    )
    return None if limits == Limits() else limits


def _alert(config: Config) -> Budget:
    amount = int(config.cost_budget_alert_threshold * DOLLAR)
    return Budget(id=ALERT_ID, limit_pico=amount, hard=False, thresholds=[100])
