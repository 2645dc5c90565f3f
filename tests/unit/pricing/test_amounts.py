"""Amounts at the edge of 64 bits: one has a bound, sums have none, and nothing fails in between."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pricing.adapters.account import zone
from actors.pricing.core.decisions import LedgerRules, decide
from actors.pricing.core.ledger import Ledger, evolve
from bus.codec import decode, encode
from schemas.budgets import Budget, BudgetList
from schemas.decision import Decision
from schemas.ledger import (
    MOST_COUNTED,
    MOST_PICO,
    AccountCommand,
    AccountEvent,
    Adjust,
    Charge,
    Charged,
    Extend,
    LookAtBudgets,
    Party,
    PutBudget,
    Reference,
    Reserve,
    Settle,
    TopUp,
)
from schemas.problems import Problem
from schemas.usage import Usage
from tests.charges import database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULES = LedgerRules(zones=zone)
EDGE = st.sampled_from([1, 10**18, MOST_PICO - 1, MOST_PICO])
_EVENT: Any = AccountEvent


class Owner:
    """An account, and all that has happened to it."""

    def __init__(self, *, limit: int = 10**18, hard: bool = False) -> None:
        self.ledger = Ledger(tenant="acme")
        self.events: list[AccountEvent] = []
        budget = Budget(id="cap", limit_pico=limit, window="total", hard=hard)
        self.take(PutBudget(budget=budget))

    def take(self, command: AccountCommand) -> Decision:
        decision = decide(RULES, self.ledger, command, NOW)
        self.events.extend(decision.events)
        self.ledger = reduce(evolve, decision.events, self.ledger)
        return decision


def reference(number: int) -> Reference:
    return Reference(execution_id=f"x{number}", step=1, attempt=1, at=NOW)


def settle(number: int, cost: int, **more: Any) -> Settle:
    charge = Charge(provider="p", model="m", usage=Usage(input=1), cost_pico=cost)
    charge = msgspec.structs.replace(charge, **more)
    return Settle(reference=reference(number), party=Party(), charges=[charge], at=NOW)


def reserve(number: int, amount: int, tokens: int = 1) -> Reserve:
    until = NOW + timedelta(hours=1)
    return Reserve(
        reference=reference(number),
        party=Party(),
        amount_pico=amount,
        tokens=tokens,
        lease_until=until,
    )


def reported(events: Sequence[AccountEvent]) -> int:
    with database(events) as rows:
        parts = "SELECT sum(cost / 1000000), sum(cost % 1000000) FROM call"
        millions, rest = rows.execute(parts).fetchone()
    rows.close()
    return millions * 1_000_000 + rest


@given(st.lists(EDGE, min_size=1, max_size=12), st.lists(EDGE, max_size=4))
def test_sums_beyond_64_bits_are_exact_wherever_they_are_told(spent: list[int], held: list[int]):
    owner = Owner()

    for number, cost in enumerate(spent):
        owner.take(settle(number, cost))
    for number, amount in enumerate(held, start=len(spent)):
        owner.take(reserve(number, amount))
    told = owner.take(LookAtBudgets()).reply

    assert isinstance(told, BudgetList)
    read = decode(BudgetList, encode(told))
    assert read == told
    cap = next(one for one in read.budgets if one.budget.id == "cap")
    (balance,) = cap.balances
    assert (balance.spent_pico, balance.held_pico) == (sum(spent), sum(held))
    assert balance.available_pico == 10**18 - sum(spent) - sum(held)
    assert decode(Ledger, encode(owner.ledger)) == owner.ledger
    assert [decode(_EVENT, encode(event)) for event in owner.events] == owner.events
    assert reported(owner.events) == sum(spent)


def test_a_hard_budget_grows_beyond_64_bits_and_still_refuses_what_it_does_not_cover():
    owner = Owner(hard=True)
    for number in range(20):
        amount = 10**18
        owner.take(TopUp(id=f"t{number}", budget_id="cap", amount_pico=amount, at=NOW))
    owner.take(Adjust(id="a", budget_id="cap", amount_pico=10**18, at=NOW, reason="r"))

    for number in range(2):
        assert not isinstance(owner.take(reserve(number, MOST_PICO)).reply, Problem)
    refused = owner.take(reserve(2, MOST_PICO)).reply

    assert isinstance(refused, Problem)
    assert refused.code == "budget_exceeded"
    assert refused.details["held_pico"] == 2 * MOST_PICO
    assert decode(Problem, encode(refused)) == refused


@pytest.mark.parametrize(
    "command",
    [
        settle(1, MOST_PICO + 1),
        settle(1, 0, reported_pico=MOST_PICO + 1),
        settle(1, 0, usage=Usage(output=MOST_COUNTED + 1)),
        reserve(1, MOST_PICO + 1),
        reserve(1, 1, tokens=MOST_PICO + 1),
    ],
    ids=["cost", "reported", "tokens", "held", "held tokens"],
)
def test_one_amount_above_the_bound_is_refused_before_anything_is_stored(command: Any):
    owner = Owner()

    decision = owner.take(command)

    assert decision.events == ()
    assert isinstance(decision.reply, Problem)
    assert decision.reply.code == "validation"


def test_a_hold_does_not_grow_above_the_bound():
    owner = Owner()
    owner.take(reserve(1, MOST_PICO))

    more = owner.take(Extend(reference=reference(1), slice=1, amount_pico=1))

    assert more.events == ()
    assert isinstance(more.reply, Problem)
    assert more.reply.code == "validation"


def test_a_journal_with_an_amount_above_the_bound_is_reported_as_unpriced():
    known = Owner()
    known.take(settle(1, 7))
    (charged,) = [event for event in known.events if isinstance(event, Charged)]
    older = msgspec.structs.replace(charged, charges=settle(1, 2**70).charges)

    with database([charged, older]) as rows:
        found = rows.execute("SELECT cost, unpriced IS NULL FROM call").fetchall()
    rows.close()

    assert found == [(7, 1), (None, 0)]
