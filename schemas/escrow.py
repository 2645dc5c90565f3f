"""Money of the platform on loan: blocks of it that the accounts of tenants hold and spend from.

The platform's own account, which no tenant can be, holds the budgets over all tenants. A tenant's
account has it hold a block, pays from that in one turn of its own, and tells it afterwards what
was spent. Amounts are whole pico-dollars.
"""

from datetime import datetime

from schemas.base import Internal
from schemas.problems import Problem

# Commands


class BlockAnswered(Internal, tag="block_answered"):
    """The platform holds a block for this tenant, or refuses one.

    It pays for what begins before ``until``, the end of the platform's window.
    """

    number: int
    held_pico: int = 0
    until: datetime | None = None
    problem: Problem | None = None


class ReturnAnswered(Internal, tag="return_answered"):
    """The platform has booked what was spent of a block, or taken back what was not."""

    ask: str
    problem: Problem | None = None


class Recall(Internal, tag="recall"):
    """Give back what nothing is held of: somebody else has need of it."""


class RecallAnswered(Internal, tag="recall_answered"):
    """A tenant's account has answered to a recall."""

    tenant: str


EscrowCommand = BlockAnswered | ReturnAnswered | Recall | RecallAnswered

# Events of a tenant's account. ``account`` is that of what a span of blocks has paid.


class BlockAsked(Internal, tag="block_asked"):
    """A block is wanted of the platform: ``amount_pico``, and not less than ``least_pico``.

    ``since`` is the moment whose windows pay for it, that of the first block of its account.
    """

    number: int
    account: str
    amount_pico: int
    least_pico: int
    since: datetime
    at: datetime


class BlockGranted(Internal, tag="block_granted"):
    """A block is there to be spent from."""

    number: int
    account: str
    amount_pico: int
    at: datetime


class BlockRefused(Internal, tag="block_refused"):
    """The platform has no block to give; the question is taken back."""

    number: int
    problem: Problem
    at: datetime


class BlockReturned(Internal, tag="block_returned"):
    """A part of a block is given back; ``slice`` counts such parts."""

    number: int
    account: str
    slice: int
    amount_pico: int
    at: datetime


class BlockClosed(Internal, tag="block_closed"):
    """A block is over: ``spent_pico`` of it was spent, the rest is given back.

    One of no ``amount_pico`` was never held: it tells what has become known late.
    """

    number: int
    account: str
    amount_pico: int
    spent_pico: int
    at: datetime


class ReturnMet(Internal, tag="return_met"):
    """The platform has answered to what was given back."""

    ask: str
    problem: Problem | None = None


# Events of the platform's account


class Recalled(Internal, tag="recalled"):
    """These tenants are asked to give back what nothing is held of."""

    tenants: list[str]
    at: datetime


class RecallMet(Internal, tag="recall_met"):
    """A tenant has answered to a recall."""

    tenant: str


EscrowEvent = (
    BlockAsked
    | BlockGranted
    | BlockRefused
    | BlockReturned
    | BlockClosed
    | ReturnMet
    | Recalled
    | RecallMet
)
