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
    Lent,
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
    accounts = touched(event)
    return [
        Posting(account, side, amount)
        for account, move in zip(accounts, moves(event, accounts), strict=True)
        for side, amount in zip(Move._fields, move, strict=True)
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


def moves(event: AccountEvent, accounts: Sequence[str]) -> Sequence[Move]:
    """Return what an event adds to the sides of each of the accounts it touches."""
    own, lent = _moves(event)
    if lent is None:
        return (own,) * len(accounts)
    return [lent if is_escrow(account) else own for account in accounts]


def _moves(event: AccountEvent) -> tuple[Move, Move | None]:
    """Return what moves, and what does of the platform's money where that is another amount."""
    match event:
        case Reserved() | Extended():
            lent = event.lent_pico
            return _held(event.amount_pico), None if lent is None else _held(lent)
        case Charged():
            # Every bill comes here twice: names of fields would cost more than the sums.
            own = _ended(event.held_pico, event.cost_pico - event.booked_pico)
            return own, event.lent and _lent(event.lent)
        case Voided():
            return _ended(event.held_pico, -event.booked_pico), event.lent and _lent(event.lent)
        case Lapsed():
            return _ended(event.held_pico, event.booked_pico), event.lent and _lent(event.lent)
        case _:
            return _move(event), None


def _lent(lent: Lent) -> Move:
    return _ended(lent.held_pico, lent.cost_pico - lent.booked_pico)


def _move(event: AccountEvent) -> Move:
    match event:
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


def _held(amount: int) -> Move:
    return Move(-amount, amount)


def _ended(held: int, spent: int) -> Move:
    return Move(held - spent, -held, spent)


def _taken_away(block: BlockClosed) -> Move:
    unused = block.amount_pico - block.spent_pico
    return Move(available=-unused, spent=-block.spent_pico, funding=block.amount_pico)
