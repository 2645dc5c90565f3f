"""Double entry: what every event of the ledger moves, from one side of an account to another. Pure.

An event moves the same amounts in each account it names, so the sides of every account always sum
to zero::

    available ──reserve──▶ held ──settle──▶ spent        funding ──top up──▶ available
        ▲                   │
        └───── release ─────┘

What the platform lends funds an account too, and the end of a block takes it away, spent or not.
Of an attempt that is only partly the operator's spend, ``lent`` moves in the platform's money.
"""

from collections.abc import Sequence
from typing import NamedTuple

from actors.pricing.core.escrow import is_escrow
from schemas.escrow import BlockClosed, BlockGranted, BlockReturned
from schemas.ledger import (
    AccountEvent,
    Adjusted,
    Charged,
    Extended,
    Lapsed,
    Reserved,
    ToppedUp,
    Voided,
)


class Move(NamedTuple):
    """What an event adds to each side of an account."""

    available: int = 0
    held: int = 0
    spent: int = 0
    funding: int = 0


class Posting(NamedTuple):
    """One line of the journal in double entry."""

    account: str
    side: str
    amount_pico: int


def postings(event: AccountEvent) -> list[Posting]:
    """Return the lines an event writes; in every account they sum to zero."""
    return [
        Posting(account, side, amount)
        for account in touched(event)
        for side, amount in zip(Move._fields, move(event, account), strict=True)
        if amount
    ]


def touched(event: AccountEvent) -> Sequence[str]:
    """Return the accounts an event moves money in."""
    match event:
        case Reserved() | Extended() | Charged() | Voided() | Lapsed():
            return event.accounts
        case ToppedUp() | Adjusted() | BlockGranted() | BlockReturned() | BlockClosed():
            return (event.account,)
        case _:
            return ()


def move(event: AccountEvent, account: str) -> Move:
    """Return what an event adds to each side of an account it touches."""
    lent = _lent(event) if is_escrow(account) else None
    return _move(event) if lent is None else lent


def _lent(event: AccountEvent) -> Move | None:
    """Return what moves of the platform's money, None if it is what moves elsewhere."""
    match event:
        case Reserved(lent_pico=int(lent)) | Extended(lent_pico=int(lent)):
            return Move(available=-lent, held=lent)
        case Charged() | Voided() | Lapsed():
            lent = event.lent
            return lent and _ended(lent.held_pico, lent.cost_pico - lent.booked_pico)
        case _:
            return None


def _move(event: AccountEvent) -> Move:
    match event:
        case Reserved() | Extended():
            return Move(available=-event.amount_pico, held=event.amount_pico)
        case Charged():
            return _ended(event.held_pico, event.cost_pico - event.booked_pico)
        case Voided():
            return _ended(event.held_pico, -event.booked_pico)
        case Lapsed():
            return _ended(event.held_pico, event.booked_pico)
        case ToppedUp():
            return Move(available=event.amount_pico, funding=-event.amount_pico)
        case Adjusted():
            return _ended(0, event.amount_pico)
        case BlockGranted():
            return Move(available=event.amount_pico, funding=-event.amount_pico)
        case BlockReturned():
            return Move(available=-event.amount_pico, funding=event.amount_pico)
        case BlockClosed():
            return _taken_away(event)
        case _:
            return Move()


def _ended(held: int, spent: int) -> Move:
    return Move(available=held - spent, held=-held, spent=spent)


def _taken_away(block: BlockClosed) -> Move:
    unused = block.amount_pico - block.spent_pico
    return Move(available=-unused, spent=-block.spent_pico, funding=block.amount_pico)
