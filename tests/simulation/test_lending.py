"""Tenants and the platform's money in seeded histories of faults, and the faults planted in it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from actors.pricing.core import blocks, escrow
from actors.pricing.core.blocks import Draw
from actors.pricing.core.escrow import Escrow
from actors.pricing.core.ledger import Ledger
from schemas.escrow import BlockClosed, BlockReturned
from schemas.ledger import AccountEvent
from tests.simulation.history import PLATFORM, failures
from tests.simulation.planted import Planted

SEEDS = 40
PART = 10
"""So many seeds are one test, which keeps one core busy."""
DRAW = blocks.draw
CLOSED = escrow._closed
RETURNED = escrow._returned


def draw_what_is_on_its_way(
    state: Ledger, wanted: int, now: datetime, account: str | None = None
) -> Draw:
    """Spend from a block that was asked for as if it were there."""
    drawn = DRAW(state, wanted, now, account)
    span = state.escrow.account
    asked = drawn.problem is not None and state.escrow.asking is not None
    return Draw((span,)) if asked and span is not None else drawn


def give_back_twice(known: Escrow, tenant: str, event: BlockReturned) -> Escrow:
    returned = RETURNED(known, tenant, event)
    last = returned.returns[-1]
    again = msgspec.structs.replace(
        last,
        ask=f"{last.ask}.again",
        command=msgspec.structs.replace(last.command, slice=event.slice + 1),
    )
    return msgspec.structs.replace(returned, returns=(*returned.returns, again))


def close_in_silence(known: Escrow, tenant: str, event: BlockClosed) -> Escrow:
    closed = CLOSED(known, tenant, event)
    return msgspec.structs.replace(closed, returns=known.returns)


def close_as_unspent(known: Escrow, tenant: str, event: BlockClosed) -> Escrow:
    return CLOSED(known, tenant, msgspec.structs.replace(event, spent_pico=0))


def give_nothing_back(*_: Any) -> Iterator[AccountEvent]:
    return iter(())


CORE = "actors.pricing.core"
PLANTED = (
    Planted(
        "a block is spent from before it is there",
        f"{CORE}.admission.draw",
        draw_what_is_on_its_way,
        20,
        3,
    ),
    Planted("a part is given back twice", f"{CORE}.escrow._returned", give_back_twice, 40),
    Planted("a block is closed in silence", f"{CORE}.escrow._closed", close_in_silence, 10),
    Planted("what was spent is not told", f"{CORE}.escrow._closed", close_as_unspent, 10),
    Planted("a recall is ignored", f"{CORE}.blocks._recalled", give_nothing_back, 30, 316),
    Planted("nothing unused is given back", f"{CORE}.blocks._unused", give_nothing_back, 20, 10),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_a_fleet_tenants_use_no_more_than_the_platform_lends(first: int):
    seeds = range(first, first + PART)
    broken = {each.seed: each.broken for each in failures(seeds, PLATFORM)}

    assert broken == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_between_tenants_and_the_platform_is_found(planted: Planted):
    assert planted.found(PLATFORM)
