"""Money on its way: what executions ask of the account of their tenant, and what it answers.

Amounts are whole pico-dollars (a millionth of a millionth of a dollar). Each tenant has one account
entity, in which all its budgets and limits are decided together.
"""

from datetime import datetime
from operator import attrgetter
from typing import Literal

from schemas.base import Internal, Value
from schemas.budgets import Budget, Limits
from schemas.escrow import EscrowCommand, EscrowEvent
from schemas.ids import ExecutionId
from schemas.usage import COUNTS, Usage

ACCOUNT_ENTITY = "account"
ACCOUNT_KEY = "ledger"
"""The key of a tenant's only account: its shard depends on the tenant alone."""


BILL_SUBJECT = "_cb.bill.{tenant}"


_counts = attrgetter(*COUNTS)

MOST_PICO = 2**63 - 1
"""Of one amount, some nine million dollars: what every database has room for.

Sums have no bound: a number of JSON may be longer, and so may ours.
"""

MOST_COUNTED = 10**9
"""Tokens of one kind in one charge: a hundred times what any model takes."""


class Reference(Value):
    """What money is held or spent for. Every kind of entry exists at most once for each of it.

    ``at`` is when the attempt was decided, the same in all that is said of it: its windows are
    those of this moment, whatever comes when, and what is older than the ledger remembers is known
    by it. It does not tell one reference from another.
    """

    execution_id: ExecutionId
    step: int
    attempt: int
    at: datetime


class Party(Value, omit_defaults=True):
    """On whose behalf it is spent: the scopes whose budgets hold, and the groups of reports."""

    user: str | None = None
    project: str | None = None
    agent_id: str | None = None
    session: str | None = None


class Charge(Value, omit_defaults=True):
    """The price of one provider call, with all it takes to compute it again.

    ``cost_pico`` is None where the call is unpriced, and then ``unpriced`` says why. ``row`` names
    the line of the rate book ``book_id``. ``place`` is the alternative that was called, 0 for the
    agent's own provider. ``reported_pico`` is what the provider itself says it cost. ``secret`` is
    the name of the key it was called with. ``foreign`` is set where no secret of the operator went
    to the host that told the usage: it is not the operator's spend, and counts up to what was held.
    ``disputed_pico`` is what it told beyond that, which is no part of ``cost_pico``.
    """

    provider: str
    model: str
    usage: Usage
    cost_pico: int | None = None
    book_id: str | None = None
    row: str | None = None
    unpriced: str | None = None
    model_served: str | None = None
    tier: str | None = None
    region: str | None = None
    batch: bool = False
    place: int = 0
    reported_pico: int | None = None
    secret: str | None = None
    foreign: bool = False
    disputed_pico: int = 0


def can_be_booked(charge: Charge) -> bool:
    """Say whether every number of a charge is one that can be."""
    cost, reported = charge.cost_pico or 0, charge.reported_pico or 0
    return max(abs(cost), abs(reported)) <= MOST_PICO and is_plausible(charge.usage)


def is_plausible(usage: Usage) -> bool:
    """Say whether one call can have used so much."""
    return max(_counts(usage)) <= MOST_COUNTED


# Commands


class Reserve(Internal, tag="reserve"):
    """Hold money, and count a request against the limits, before a provider is called.

    ``amount_pico`` and ``tokens`` are upper bounds. The hold ends by itself at ``lease_until``.
    Who was refused may ask again; who gives up, refused or unanswered, sends ``Void``. With
    ``platform`` the money must be the platform's as well: ``lent_pico`` of it, or all of it where
    that is None. With ``least_pico`` less than the amount is held where little is left, down to
    this. ``chunk_pico`` is what may be spent before a provider that says too much is noticed: a
    bill of foreign charges is bounded by the hold and this.
    """

    reference: Reference
    party: Party
    amount_pico: int
    tokens: int
    lease_until: datetime
    platform: bool = False
    least_pico: int | None = None
    lent_pico: int | None = None
    chunk_pico: int = 0


class Extend(Internal, tag="extend"):
    """Hold more for a stream that goes on: ``slice`` counts from 1, so that repeats are known.

    A negative amount lets go of a part. ``lease_until`` moves the end of the hold, if it is set.
    ``lent_pico`` is the platform's part of the amount; None is all of it.
    """

    reference: Reference
    slice: int
    amount_pico: int
    lease_until: datetime | None = None
    lent_pico: int | None = None


class Settle(Internal, tag="settle"):
    """Book what an attempt has cost and let go of the rest of its hold, if there is one.

    ``at`` is when it was spent. What the operator's secrets have bought is booked whatever it is,
    also above a budget and late. Of what foreign hosts have told, no more is booked than the hold
    covers, and a chunk; the rest is disputed.
    ``completed`` is set where the execution has completed with this attempt.
    """

    reference: Reference
    party: Party
    charges: list[Charge]
    at: datetime
    completed: bool = False


class Void(Internal, tag="void"):
    """Let go of a hold of which nothing was spent; one that comes after it is refused."""

    reference: Reference


class Lapse(Internal, tag="lapse"):
    """A timer is due: holds whose lease has ended go."""


class PutBudget(Internal, tag="put_budget"):
    """Let a budget hold from now on. Of one that stands only the fields ``given`` change."""

    budget: Budget
    given: list[str] | None = None


class DropBudget(Internal, tag="drop_budget"):
    """Let a budget hold no more."""

    id: str


class PutLimits(Internal, tag="put_limits"):
    """Let limits hold from now on."""

    limits: Limits


class TopUp(Internal, tag="top_up"):
    """Add to what a window of a budget may spend; ``id`` is known again."""

    id: str
    budget_id: str
    amount_pico: int
    at: datetime
    name: str | None = None
    reason: str | None = None


class Adjust(Internal, tag="adjust"):
    """Correct what a window of a budget has spent; ``id`` is known again."""

    id: str
    budget_id: str
    amount_pico: int
    at: datetime
    reason: str
    name: str | None = None


class LookAtTerms(Internal, tag="look_at_terms"):
    """Whom has an execution to ask before it spends?"""


class TermsAnswered(Internal, tag="terms_answered"):
    """The bucket was ``asked`` to hold terms of one revision, and holds those of ``revision``."""

    asked: int
    revision: int


class LookAtBudgets(Internal, tag="look_at_budgets"):
    """How do the budgets stand? Of one, or of all."""

    id: str | None = None


AccountCommand = (
    Reserve
    | Extend
    | Settle
    | Void
    | Lapse
    | PutBudget
    | DropBudget
    | PutLimits
    | TopUp
    | Adjust
    | LookAtBudgets
    | LookAtTerms
    | TermsAnswered
    | EscrowCommand
)

# Answers


class MoneyHeld(Internal, tag="held"):
    """The money is held: ``held_pico`` in all for this reference.

    ``until`` is when the first of the windows ends that it is held in.
    """

    held_pico: int
    until: datetime | None = None


class Booked(Internal, tag="booked"):
    """The entry stands, now or since an earlier time."""


# Events: the journal of an account, kept for ever. ``accounts`` are keys of windows of budgets;
# what an event moves in each is told by ``postings`` of the pricing actor, and sums to zero.


class Lent(Value, omit_defaults=True):
    """What an event moves of the platform's money, where that is not what it moves elsewhere."""

    held_pico: int = 0
    booked_pico: int = 0
    cost_pico: int = 0


class WindowOpened(Internal, tag="window_opened"):
    """A window of a budget begins to be counted, with the first that concerns it.

    ``account`` is its key from now on. ``name`` is whose it is, None for the whole tenant.
    """

    account: str
    budget_id: str
    at: datetime
    start: datetime | None = None
    end: datetime | None = None
    name: str | None = None


class Reserved(Internal, tag="reserved"):
    """Money is held. ``at`` is when it was granted, ``scopes`` count it as a request.

    ``lent_pico`` is the platform's part of it, None for all.
    """

    reference: Reference
    party: Party
    amount_pico: int
    tokens: int
    lease_until: datetime
    at: datetime
    accounts: list[str] = []
    scopes: list[str] = []
    lent_pico: int | None = None
    chunk_pico: int = 0


class Extended(Internal, tag="extended"):
    """More is held for the same attempt."""

    reference: Reference
    slice: int
    amount_pico: int
    at: datetime
    accounts: list[str] = []
    lease_until: datetime | None = None
    lent_pico: int | None = None


class Charged(Internal, tag="charged"):
    """An attempt was paid for. ``cost_pico`` sums the priced charges, ``tokens`` all.

    ``held_pico`` is the hold that ends with it, ``booked_pico`` what the end of its lease had
    booked and is now replaced; ``released_pico`` is what both had beyond the cost. ``late`` is set
    where the hold had ended before, ``completed`` where the execution has completed with this
    attempt. ``unpriced`` counts charges without a price. ``at`` is when it was spent,
    ``entered_at`` when it was booked. ``disputed_pico`` is what foreign hosts have told beyond
    what is booked; each charge has its part. ``over_pico`` is what the operator's secrets have
    bought beyond the hold: it is booked, and told.
    """

    reference: Reference
    party: Party
    charges: list[Charge]
    cost_pico: int
    at: datetime
    released_pico: int = 0
    late: bool = False
    completed: bool = False
    held_pico: int = 0
    booked_pico: int = 0
    tokens: int = 0
    unpriced: int = 0
    accounts: list[str] = []
    entered_at: datetime | None = None
    disputed_pico: int = 0
    over_pico: int = 0
    lent: Lent | None = None


class Voided(Internal, tag="voided"):
    """Nothing was spent: the hold ends, and what the end of its lease had booked is given back."""

    reference: Reference
    at: datetime
    held_pico: int = 0
    booked_pico: int = 0
    accounts: list[str] = []
    lent: Lent | None = None


class Lapsed(Internal, tag="lapsed"):
    """The lease of a hold has ended and nobody has said what was spent.

    ``booked_pico`` of ``held_pico`` is booked as spent until somebody does.
    """

    reference: Reference
    party: Party
    at: datetime
    held_pico: int
    booked_pico: int = 0
    accounts: list[str] = []
    lent: Lent | None = None


class ToppedUp(Internal, tag="topped_up"):
    """A window may spend more. ``digest`` tells a repeat of the command from another of its id."""

    id: str
    account: str
    amount_pico: int
    at: datetime
    digest: str = ""
    reason: str | None = None


class Adjusted(Internal, tag="adjusted"):
    """What a window has spent was corrected by hand. ``digest`` is as in ``ToppedUp``."""

    id: str
    account: str
    amount_pico: int
    at: datetime
    digest: str = ""
    reason: str


class BudgetSet(Internal, tag="budget_set"):
    """A budget holds from now on."""

    budget: Budget
    at: datetime


class BudgetRemoved(Internal, tag="budget_removed"):
    """A budget holds no more."""

    id: str
    at: datetime


class LimitsSet(Internal, tag="limits_set"):
    """Limits hold from now on."""

    limits: Limits
    at: datetime


class DefaultsSet(Internal, tag="defaults_set"):
    """The operator's settings that an account goes by from now on, as its owner found them.

    ``limits`` hold for the tenant where it has set none, ``alert`` is a budget that only tells.
    What was closed is remembered for ``memory_days`` at least. ``books_lapsed`` says whether the
    end of a lease books what was held.
    """

    at: datetime
    memory_days: float
    books_lapsed: bool
    limits: Limits | None = None
    alert: Budget | None = None


Alert = Literal["threshold", "exhausted", "forecast"]


class AlertRaised(Internal, tag="alert_raised"):
    """A window has come to something that is told once.

    ``percent`` is that of a threshold, None for one that is an amount. ``exhausted_at`` is set in a
    forecast.
    """

    account: str
    budget_id: str
    alert: Alert
    at: datetime
    spent_pico: int
    held_pico: int
    limit_pico: int
    threshold_pico: int = 0
    percent: int | None = None
    exhausted_at: datetime | None = None


class TermsStored(Internal, tag="terms_stored"):
    """The bucket of terms holds those of ``revision``: all processes go by them or will."""

    revision: int
    at: datetime


AccountEvent = (
    WindowOpened
    | Reserved
    | Extended
    | Charged
    | Voided
    | Lapsed
    | ToppedUp
    | Adjusted
    | BudgetSet
    | BudgetRemoved
    | LimitsSet
    | DefaultsSet
    | AlertRaised
    | TermsStored
    | EscrowEvent
)
