"""The account of a tenant in seeded histories of faults, and the faults planted in it."""

from datetime import datetime
from typing import Any

import pytest

from actors.pricing.core import decisions, ledger
from actors.pricing.core.budgets import Cover
from actors.pricing.core.closed import Closed, ClosedMemory
from actors.pricing.core.ledger import Ledger
from bus.kv import Bucket
from bus.kv.terms import key_of
from schemas import pages
from schemas.decision import Decision
from schemas.ledger import AlertRaised, Booked, Void
from schemas.terms import Terms
from tests.simulation.history import LEDGER, failures
from tests.simulation.planted import Planted

SEEDS = 100
PART = 10
"""So many seeds are one test, which keeps one core busy."""
VOID = decisions._void
REMEMBER = ledger.remember


def forget_bills(memory: ClosedMemory, key: str, how: Closed, at: datetime) -> ClosedMemory:
    return memory if how.how == "settled" else REMEMBER(memory, key, how, at)


def leave_no_tombstone(state: Ledger, command: Void, now: datetime) -> Decision:
    is_held = pages.get(state.holds, ledger.key_of(command.reference)) is not None
    return VOID(state, command, now) if is_held else Decision(reply=Booked())


def count_no_holds(one: Cover) -> int:
    return one.budget.limit_pico - one.account.spent


def tell_again(state: Ledger, event: AlertRaised) -> Ledger:
    del event
    return state


async def write_anyhow(bucket: Bucket[Terms], terms: Terms) -> int:
    """Store terms whatever stands."""
    entry = await bucket.get(key_of(terms.tenant))
    await bucket.put(key_of(terms.tenant), terms, expected=entry.revision if entry else 0)
    return terms.revision


def find_nothing(*_: Any) -> list[Any]:
    return []


CORE = "actors.pricing.core"
PLANTED = (
    Planted("bills are forgotten", f"{CORE}.ledger.remember", forget_bills, 10),
    Planted("no tombstones", f"{CORE}.decisions._void", leave_no_tombstone, 20),
    Planted("holds do not count", f"{CORE}.budgets.Cover.free", property(count_no_holds), 120, 70),
    Planted("alerts are told again", f"{CORE}.ledger._told", tell_again, 10, 2),
    Planted("leases do not end", f"{CORE}.decisions.lapsed", find_nothing, 20, 3),
    Planted("old terms are written over new ones", "bus.kv.terms.keep", write_anyhow, 40, 2),
    Planted("terms are told and not stored", f"{CORE}.terms.asks", find_nothing, 5),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_its_owner_the_ledger_is_right(first: int):
    seeds = range(first, first + PART)
    broken = {each.seed: each.broken for each in failures(seeds, LEDGER)}

    assert broken == {}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_in_the_ledger_is_found(planted: Planted):
    assert planted.found(LEDGER)
