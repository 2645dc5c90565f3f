"""The settings of a pricing process."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, Self

import msgspec

from actors.pricing.core.admission import DOLLAR
from actors.pricing.core.budgets import Zones
from actors.pricing.core.decisions import LedgerRules
from bus.config import Config
from schemas.budgets import Budget, Limits, OperatorLimits
from schemas.settings import env

ALERT_ID = "cost-alert"
"""The budget of the operator's alert threshold, unless the tenant has one of this name."""

MOST_DOLLARS = 1_000_000


class Dollars(Decimal):
    """An amount of money from 0 to ``MOST_DOLLARS``: any other raises ``ValueError``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text."""
        try:
            amount = super().__new__(cls, text)
        except InvalidOperation:
            raise ValueError("must be a number") from None
        if not (amount.is_finite() and 0 <= amount <= MOST_DOLLARS):
            raise ValueError(f"must be from 0 to {MOST_DOLLARS} dollars")
        return amount


class PricingConfig(Config):
    """What an operator decides of all accounts."""

    limits: OperatorLimits = OperatorLimits()
    cost_budget_alert_threshold: Annotated[
        Dollars,
        env(
            "COST_BUDGET_ALERT_THRESHOLD",
            "dollars a month that a tenant may spend before `budget.threshold_crossed` is told; it "
            "refuses nothing",
        ),
    ] = Dollars("100.00")
    ledger_memory_days: Annotated[
        Annotated[float, msgspec.Meta(ge=2, le=400)],
        env(
            "CALLBOARD_LEDGER_MEMORY_DAYS",
            "days for which at least an account knows again what was paid; what comes later for "
            "the first time may be refused",
        ),
    ] = 3.0
    lapsed_holds: Annotated[
        Literal["book", "release"],
        env(
            "CALLBOARD_LAPSED_HOLDS",
            "what becomes of held money when nobody has said what was spent: `book` it, until "
            "somebody does, or `release` it",
        ),
    ] = "book"


def rules(config: PricingConfig, zones: Zones) -> LedgerRules:
    """Return the rules that follow from the settings."""
    return LedgerRules(
        zones=zones,
        limits=_limits(config.limits),
        alert=_alert(config.cost_budget_alert_threshold),
        memory_days=config.ledger_memory_days,
        books_lapsed=config.lapsed_holds == "book",
    )


def _limits(limits: OperatorLimits) -> Limits | None:
    if not limits.hold():
        return None
    return Limits(
        requests_per_minute=limits.requests_per_minute, requests_per_hour=limits.requests_per_hour
    )


def _alert(dollars: Decimal) -> Budget:
    return Budget(id=ALERT_ID, limit_pico=int(dollars * DOLLAR), hard=False, thresholds=[100])
