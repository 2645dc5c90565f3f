"""Money on its way: what executions ask of the account of their tenant, and what it answers.

Amounts are whole pico-dollars (a millionth of a millionth of a dollar). Each tenant has one account
entity, in which all its budgets and limits are decided together.
"""

from datetime import datetime

from schemas.base import Internal, Value
from schemas.ids import ExecutionId
from schemas.usage import Usage

ACCOUNT_ENTITY = "account"
ACCOUNT_KEY = "ledger"
"""The key of a tenant's only account: its shard depends on the tenant alone."""


class Reference(Value):
    """What money is held or spent for. Every kind of entry exists at most once for each of it."""

    execution_id: ExecutionId
    step: int
    attempt: int


class Party(Value, omit_defaults=True):
    """On whose behalf it is spent: the scopes whose budgets hold, and the groups of reports."""

    user: str | None = None
    project: str | None = None
    agent_id: str | None = None
    workflow_id: str | None = None
    session: str | None = None


class Charge(Value, omit_defaults=True):
    """The price of one provider call, with all it takes to compute it again.

    ``cost_pico`` is None where the call is unpriced, and then ``unpriced`` says why. ``row`` names
    the line of the rate book ``book_id``. ``place`` is the alternative that was called, 0 for the
    agent's own provider. ``reported_pico`` is what the provider itself says it cost. ``secret`` is
    the name of the key it was called with.
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


# Commands


class Reserve(Internal, tag="reserve"):
    """Hold money, and count a request against the limits, before a provider is called.

    ``amount_pico`` and ``tokens`` are upper bounds. The hold ends by itself at ``lease_until``.
    """

    reference: Reference
    party: Party
    amount_pico: int
    tokens: int
    lease_until: datetime


class Extend(Internal, tag="extend"):
    """Hold more for a stream that goes on: ``slice`` counts from 1, so that repeats are known."""

    reference: Reference
    slice: int
    amount_pico: int


class Settle(Internal, tag="settle"):
    """Book what an attempt has cost and let go of the rest of its hold, if there is one.

    ``at`` is when it was spent. Whatever has been spent is booked, also above a budget and late.
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


# Answers


class Held(Internal, tag="held"):
    """The money is held: ``held_pico`` in all for this reference."""

    held_pico: int


class Booked(Internal, tag="booked"):
    """The entry stands, now or since an earlier time."""


# Events


class Charged(Internal, tag="charged"):
    """An attempt was paid for. ``cost_pico`` sums the priced charges.

    ``released_pico`` is what its hold had beyond that. ``late`` is set where the hold had ended,
    ``completed`` where the execution has completed with this attempt.
    """

    reference: Reference
    party: Party
    charges: list[Charge]
    cost_pico: int
    at: datetime
    released_pico: int = 0
    late: bool = False
    completed: bool = False
