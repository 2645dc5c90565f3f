"""How much of a bill is booked: hosts that got no secret of the operator are not believed. Pure.

What the operator's secrets have bought is real money, so it is booked in full, also beyond its
hold. What a foreign host tells counts against the tenant's own budgets, and no further than money
was held for it, plus one chunk: else a server of the tenant's could pass a hard budget, or fill the
books with nonsense. The law of ``tests/unit/pricing/test_disputes.py``: the foreign charges of an
attempt are never booked above its hold and a chunk.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from actors.pricing.core.closed import Closed
from actors.pricing.core.escrow import is_escrow
from actors.pricing.core.ledger import Hold, bound_of
from schemas.ledger import Charge, Lent

MOST_UNHELD_PICO = 100 * 10**12
"""What foreign hosts may say of an attempt for which nothing was held: a hundred dollars."""


class Booking(NamedTuple):
    """The charges of an attempt as they are booked.

    ``cost_pico`` sums them, ``operators_pico`` those that are the operator's spend. ``unpriced``
    counts those without a price.
    """

    charges: list[Charge]
    cost_pico: int
    operators_pico: int
    disputed_pico: int
    tokens: int = 0
    unpriced: int = 0


def bound(hold: Hold | None, closed: Closed | None) -> int:
    """Return what foreign hosts may say of an attempt at most."""
    if hold is not None:
        return bound_of(hold)
    if closed is not None and closed.bound_pico is not None:
        return closed.bound_pico
    return MOST_UNHELD_PICO


def booking(told: Sequence[Charge], hold: Hold | None, closed: Closed | None) -> Booking:
    """Return what is booked of the bill of an attempt that was held, or is over."""
    cost = tokens = unpriced = 0
    strangers = False
    for charge in told:
        cost += charge.cost_pico or 0
        tokens += charge.usage.total
        unpriced += charge.cost_pico is None
        strangers = strangers or charge.foreign
    if not strangers:
        return Booking(list(told), cost, cost, 0, tokens, unpriced)
    found = bounded(told, bound(hold, closed))
    return found._replace(tokens=tokens, unpriced=unpriced)


def bounded(told: Sequence[Charge], most: int) -> Booking:
    """Book of what foreign hosts have told no more than ``most``; the rest is disputed."""
    operators = sum(each.cost_pico or 0 for each in told if not each.foreign)
    left = max(most - max(operators, 0), 0)
    charges: list[Charge] = []
    disputed = 0
    for each in told:
        booked = _bounded(each, left)
        if each.foreign:
            left -= booked.cost_pico or 0
        disputed += booked.disputed_pico
        charges.append(booked)
    cost = sum(each.cost_pico or 0 for each in charges)
    return Booking(charges, cost, operators, disputed)


def _bounded(charge: Charge, left: int) -> Charge:
    # A negative price would give money back on the word of a stranger.
    cost = max(charge.cost_pico or 0, 0)
    booked = min(cost, left)
    if not charge.foreign or booked == charge.cost_pico or charge.cost_pico is None:
        return charge
    return msgspec.structs.replace(charge, cost_pico=booked, disputed_pico=cost - booked)


def lent_of(
    accounts: Sequence[str], hold: Hold | None, closed: Closed | None, cost: int, elsewhere: int
) -> Lent | None:
    """Return what an end moves of the platform's money; None where none was lent, or it is alike.

    ``cost`` is what the operator's secrets have bought, ``elsewhere`` what other accounts pay.
    """
    if not any(map(is_escrow, accounts)):
        return None
    like = Lent(
        held_pico=hold.amount_pico if hold is not None else 0,
        booked_pico=closed.booked_pico if closed is not None else 0,
        cost_pico=elsewhere,
    )
    lent = Lent(
        held_pico=hold.lent_pico if hold is not None else 0,
        booked_pico=closed.lent_pico if closed is not None else 0,
        cost_pico=cost,
    )
    return None if lent == like else lent
