"""Executions and the account they are paid from, in seeded histories of faults."""

from typing import Any

import msgspec
import pytest

from actors.pricing.core import decisions
from schemas.bills import Bill
from schemas.decision import Decision
from schemas.ledger import Charged
from schemas.lifecycle import Accepted, AttemptStarted
from schemas.spend import Spend
from schemas.work import Settled
from tests.simulation.history import SPENDING, failures
from tests.simulation.planted import Planted

SEEDS = 100
PART = 10
"""So many seeds are one test, which keeps one core busy."""
ASKING = Spend.asking.fget
CHARGED = decisions._charged


def begin_at_once(accepted: Accepted) -> AttemptStarted:
    return AttemptStarted(work="1", attempt=1, segment=1, at=accepted.at)


def forget_bills(spend: Spend) -> list[Bill]:
    assert ASKING is not None
    return [bill for bill in ASKING(spend) if bill.phase != "settling"]


def keep_the_hold(spend: Spend, *_: Any) -> Spend:
    began = tuple(bill for bill in spend.bills if bill.phase not in ("reserving", "refused"))
    return Spend(bills=began, cost=spend.cost, costs=spend.costs)


def count_what_lapsed_as_well(*arguments: Any) -> Charged:
    return msgspec.structs.replace(CHARGED(*arguments), booked_pico=0)


def hear_nothing(*_: Any) -> Decision:
    return Decision(reply=Settled(accepted=False))


def nothing_is_short(*_: Any) -> None:
    return None


AGENTS, PRICING = "actors.agents.core", "actors.pricing.core"
PLANTED = (
    Planted("nobody waits for leave", f"{AGENTS}.decisions.begin", begin_at_once, 10),
    Planted("bills are forgotten", "schemas.spend.Spend.asking", property(forget_bills), 10),
    Planted("holds are not let go", "schemas.spend.Spend.end", keep_the_hold, 20, 4),
    Planted("late usage is lost", f"{AGENTS}.decisions._settle_late", hear_nothing, 20, 3),
    Planted(
        "lapses and bills both count",
        f"{PRICING}.decisions._charged",
        count_what_lapsed_as_well,
        80,
        3,
    ),
    Planted("budgets are not looked at", f"{PRICING}.admission._short", nothing_is_short, 20),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_whatever_befalls_a_fleet_all_that_was_used_is_paid_for_and_once(first: int):
    seeds = range(first, first + PART)
    broken = {each.seed: each.broken for each in failures(seeds, SPENDING)}

    assert broken == {}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_fault_planted_between_executions_and_their_account_is_found(planted: Planted):
    assert planted.found(SPENDING)
