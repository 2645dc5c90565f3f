"""Budgets and limits: what may be spent and asked for, by whom, in which time.

Money is whole pico-dollars (a millionth of a millionth of a dollar). Windows are those of a
calendar in a named time zone; limits look back over a sliding minute or hour.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from schemas.base import Command, Message, Question, Value
from schemas.ids import END, Token
from schemas.settings import env

Pico = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
"""Pico-dollars: at most a million dollars."""

Change = Annotated[int, msgspec.Meta(ge=-(10**18), le=10**18)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Percent = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Thresholds = Annotated[list[Percent], msgspec.Meta(max_length=20)]
Whose = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+" + END,
        description="1 to 256 characters without control characters",
    ),
]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+" + END)]
Why = Annotated[str, msgspec.Meta(max_length=500)]

ScopeKind = Literal["global", "project", "user", "agent"]
"""``global`` is the whole tenant."""

WindowKind = Literal["hourly", "daily", "weekly", "monthly", "total"]
"""Weeks begin on Monday; ``total`` never ends."""

EACH = "*"
"""As a name: every project, user or agent has one of its own."""


def usual_thresholds() -> list[int]:
    """Return the per cent of a budget whose crossing is told unless it says otherwise."""
    return [50, 80, 100]


class Budget(Value):
    """What a scope may spend in each window.

    ``name`` says which project, user or agent; ``*`` gives one to each that has none of its own
    with the same window. A hard budget refuses what it does not cover, a soft one only tells.
    ``thresholds`` are per cent of ``limit_pico`` whose crossing is told once a window.
    ``alert_pico`` is one more threshold, as an amount.
    """

    id: Token
    limit_pico: Pico
    scope: ScopeKind = "global"
    name: Whose | None = None
    window: WindowKind = "monthly"
    hard: bool = True
    thresholds: Thresholds = msgspec.field(default_factory=usual_thresholds)
    alert_pico: Pico | None = None
    zone: Zone = "UTC"


class Limits(Value, omit_defaults=True):
    """How often a scope may ask. What is None is not limited."""

    scope: ScopeKind = "global"
    name: Whose | None = None
    requests_per_minute: Count | None = None
    requests_per_hour: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None


class OperatorLimits(Value):
    """How often every tenant may begin an attempt, whatever limits it sets itself. A setting."""

    requests_per_minute: Annotated[
        Count | None,
        env(
            "RATE_LIMIT_PER_MINUTE",
            "attempts a minute that a tenant may begin, whatever limits it sets itself; unset is "
            "off",
        ),
    ] = None
    requests_per_hour: Annotated[
        Count | None,
        env(
            "USAGE_LIMIT_REQUESTS_PER_HOUR",
            "attempts an hour that a tenant may begin, whatever limits it sets itself; unset is "
            "off",
        ),
    ] = None

    def hold(self) -> bool:
        """Say whether there is any."""
        return self.requests_per_minute is not None or self.requests_per_hour is not None


class Balance(Value, omit_defaults=True):
    """How one window of a budget stands.

    ``name`` is whose it is, None for the whole tenant. ``available_pico`` is what may still be
    reserved; it is negative where more was spent than the budget allows. ``exhausted_at`` is when
    nothing will be left if spending goes on as it has in this window; None if not before its end.
    ``disputed_pico`` is what hosts without a secret of the operator have told beyond what was held
    for it: it is not spent.
    """

    account: str
    available_pico: int
    name: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    held_pico: int = 0
    spent_pico: int = 0
    granted_pico: int = 0
    exhausted_at: datetime | None = None
    disputed_pico: int = 0


class BudgetState(Message):
    """A budget and its windows that are still remembered, the newest first."""

    budget: Budget
    balances: list[Balance] = []


class BudgetList(Message):
    """All budgets and limits of a tenant.

    ``ceilings`` are the operator's limits of it. They hold beside its own, so the lower wins.
    """

    budgets: list[BudgetState]
    limits: list[Limits]
    ceilings: list[Limits] = []


class BudgetGone(Message):
    """The budget no longer holds."""

    id: Token


class SetBudget(Command):
    """Create a budget, or change its limit, thresholds and hardness.

    Once this is answered, every execution that begins is held to it. It counts what is reserved or
    spent from then on.
    """

    SUBJECT: ClassVar[str] = "budgets.set"
    REPLY: ClassVar[type[Message]] = BudgetState
    ACTION: ClassVar[str] = "budgets:admin"
    PLATFORM: ClassVar[bool] = True

    id: Token
    limit_pico: Pico
    scope: ScopeKind = "global"
    name: Whose | None = None
    window: WindowKind = "monthly"
    hard: bool = True
    thresholds: Thresholds = msgspec.field(default_factory=usual_thresholds)
    alert_pico: Pico | None = None
    zone: Zone = "UTC"


class RemoveBudget(Command):
    """Lift a budget. What was spent under it stays in the ledger."""

    SUBJECT: ClassVar[str] = "budgets.remove"
    REPLY: ClassVar[type[Message]] = BudgetGone
    ACTION: ClassVar[str] = "budgets:admin"
    PLATFORM: ClassVar[bool] = True

    id: Token


class GetBudget(Question):
    """Read a budget with its balances."""

    SUBJECT: ClassVar[str] = "budgets.get"
    REPLY: ClassVar[type[Message]] = BudgetState
    ACTION: ClassVar[str] = "budgets:read"
    PLATFORM: ClassVar[bool] = True

    id: Token


class ListBudgets(Question):
    """List all budgets and limits."""

    SUBJECT: ClassVar[str] = "budgets.list"
    REPLY: ClassVar[type[Message]] = BudgetList
    ACTION: ClassVar[str] = "budgets:read"
    PLATFORM: ClassVar[bool] = True


class TopUpBudget(Command):
    """Add to the present window of a budget. The same ``id`` adds once.

    ``name`` says to whose window, where the budget is for each. The same ``id`` with another
    content is a ``conflict``.
    """

    SUBJECT: ClassVar[str] = "budgets.top_up"
    REPLY: ClassVar[type[Message]] = BudgetState
    ACTION: ClassVar[str] = "budgets:admin"
    PLATFORM: ClassVar[bool] = True

    id: Token
    budget_id: Token
    amount_pico: Annotated[int, msgspec.Meta(ge=1, le=10**18)]
    name: Whose | None = None
    reason: Why | None = None


class AdjustBudget(Command):
    """Correct what the present window of a budget has spent. The same ``id`` corrects once."""

    SUBJECT: ClassVar[str] = "budgets.adjust"
    REPLY: ClassVar[type[Message]] = BudgetState
    ACTION: ClassVar[str] = "budgets:admin"
    PLATFORM: ClassVar[bool] = True

    id: Token
    budget_id: Token
    amount_pico: Change
    reason: Why
    name: Whose | None = None


class SetLimits(Command):
    """Set the limits of a scope; what is left out is not limited.

    They hold beside the operator's, which no tenant can change.
    """

    SUBJECT: ClassVar[str] = "limits.set"
    REPLY: ClassVar[type[Message]] = BudgetList
    ACTION: ClassVar[str] = "budgets:admin"

    scope: ScopeKind = "global"
    name: Whose | None = None
    requests_per_minute: Count | None = None
    requests_per_hour: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None


# Public events


class ThresholdCrossedEvent(Message, tag="budget.threshold_crossed"):
    """So much of a budget is spent; told once for each threshold and window.

    ``percent`` is None where the threshold is an amount.
    """

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.budget.threshold_crossed.{account}"

    budget_id: str
    account: str
    threshold_pico: int
    spent_pico: int
    limit_pico: int
    at: datetime
    percent: int | None = None
    name: str | None = None


class BudgetExhaustedEvent(Message, tag="budget.exhausted"):
    """A budget is spent, or a hard one has refused for the first time in its window."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.budget.exhausted.{account}"

    budget_id: str
    account: str
    spent_pico: int
    held_pico: int
    limit_pico: int
    at: datetime
    name: str | None = None


class ExhaustionForecastEvent(Message, tag="budget.exhaustion_forecast"):
    """If spending goes on as it has, a budget is spent before its window ends; told once."""

    SUBJECT: ClassVar[str | None] = "cb.{tenant}.events.budget.exhaustion_forecast.{account}"

    budget_id: str
    account: str
    spent_pico: int
    limit_pico: int
    exhausted_at: datetime
    at: datetime
    name: str | None = None
