"""Laws of the machine that reserves, settles and voids, beside an account that loses nothing.

The account is the real one. Between it and the entity, asks and answers are lost, repeated and
overtake each other; a state is stored and read back at any time.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.pricing.core.closed import recall
from actors.pricing.core.ledger import key_of
from bus.codec import decode, encode
from schemas import pages
from schemas.bills import GRACE, AccountAnswered, Payer, Spending, answered
from schemas.decision import Ask
from schemas.journal import CommandEnvelope
from schemas.ledger import Charge, Charged, Lapse, Party, Settle, Void, Voided
from schemas.letters import DeadLetter
from schemas.problems import Problem
from schemas.spend import (
    PATIENCE,
    BillBooked,
    BillRefused,
    HoldVoided,
    ReserveAsked,
    Spend,
    announce,
    book,
    refuse_reserve,
    tick,
)
from schemas.usage import Usage
from tests.unit.pricing.owner import NOON, Owner

LIMIT = 100
AMOUNT = 40
DEADLINE = NOON + timedelta(hours=1)
PAYER = Payer("acme", "e1", Party(user="ann"), DEADLINE)
RAISED = Problem(code="internal", message="it raised")

_end = Settle | Void


class Paying(RuleBasedStateMachine):
    """An entity with attempts of several works, each begun once it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = Owner()
        self.owner.budget(limit=LIMIT)
        self.spend = Spend()
        self.air: list[Ask] = []
        self.heard: list[AccountAnswered] = []
        self.told: dict[tuple[str, int], list[int | None]] = {}
        self.running: set[tuple[str, int]] = set()
        self.dead_lettered: list[CommandEnvelope] = []
        self.attempts = 0
        self.ended = False

    @property
    def now(self) -> Any:
        return self.owner.now

    @initialize(waits=st.booleans(), budgeted=st.booleans())
    def begins(self, *, waits: bool, budgeted: bool) -> None:
        spending = Spending(amount_pico=AMOUNT, tokens=1, waits=waits)
        self.spend = Spend(spending=spending if budgeted else None)

    # What the entity does

    @precondition(lambda self: not self.ended and self.attempts < 6)
    @rule(work=st.sampled_from(["1", "2"]))
    def begins_an_attempt(self, work: str) -> None:
        self.attempts += 1
        if self.spend.spending is None:
            self.running.add((work, self.attempts))
        else:
            event = ReserveAsked(work=work, attempt=self.attempts, asked=1, at=self.now)
            self.spend = self.spend.apply(event)

    @rule(which=st.integers(0, 9), costs=st.lists(st.none() | st.integers(0, 60), max_size=2))
    def reports_once(self, which: int, costs: list[int | None]) -> None:
        """A worker tells what an attempt has cost, whether it counts still or not."""
        waiting = sorted(self.running)
        if not waiting:
            return
        work, attempt = waiting[which % len(waiting)]
        self.running.discard((work, attempt))
        self.told[work, attempt] = costs
        charges = [_charge(cost) for cost in costs]
        self.spend = self.spend.close(work, attempt, charges, at=self.now, decided_at=NOON)
        assert self.spend.close(work, attempt, charges, at=self.now, decided_at=NOON) == self.spend

    @rule()
    def ends(self) -> None:
        if not self.ended:
            self.ended = True
            self.ended_at = self.now
            self.spend = self.spend.end()

    @rule(seconds=st.sampled_from([1, 40, 130]))
    def waits(self, seconds: int) -> None:
        self.owner.now += timedelta(seconds=seconds)
        for event in [*self._asked_again(), *tick(self.spend, self._ended_at(), self.now)]:
            if isinstance(event, BillBooked):
                self._published(event)
            self.spend = self.spend.apply(event)

    @rule()
    def lease_ends(self) -> None:
        """Whoever has not told by now what was spent has spent what was held, until it is told."""
        self.owner.ask(Lapse(), seconds=max((DEADLINE + GRACE - self.now).total_seconds(), 1.0))

    @rule()
    def is_stored_and_read(self) -> None:
        self.spend = decode(Spend, encode(self.spend))

    # What the way does

    @rule()
    def asks(self) -> None:
        self.air.extend(self.spend.asks(PAYER))

    @precondition(lambda self: self.air)
    @rule(which=st.integers(0, 9), is_lost=st.booleans(), raises=st.booleans())
    def account_answers(self, which: int, *, is_lost: bool, raises: bool) -> None:
        ask = self.air[which % len(self.air)]
        answer = RAISED if raises else self.owner.ask(ask.command)
        if not is_lost:
            self.heard.append(answered(ask, encode(answer)))

    @precondition(lambda self: self.heard)
    @rule(which=st.integers(0, 9))
    def hears(self, which: int) -> None:
        answer = self.heard[which % len(self.heard)]
        bill = self.spend.asked(answer)
        if bill is None:
            return
        if answer.what != "reserve":
            event = book(bill, answer.problem, self.now)
            self._published(event)
            self.spend = self.spend.apply(event)
        elif answer.problem is not None:
            refused = refuse_reserve(self.spend, bill, answer.problem, self.now, DEADLINE)
            self.spend = self.spend.apply(refused)
            if refused.retry_at is None:
                self.ends()
        else:
            self.spend = self.spend.hold(bill.work, bill.attempt)
            self.running.add((bill.work, bill.attempt))

    def teardown(self) -> None:
        """All comes to its end: each attempt is reported, and whatever is asked is answered."""
        while self.running:
            self.reports_once(0, [7])
        self.ends()
        for _ in range(20):
            for ask in self.spend.asks(PAYER):
                self.heard = [answered(ask, encode(self.owner.ask(ask.command)))]
                self.hears(0)
            self.waits(4000)
        assert self.spend.bills == ()
        for envelope in self.dead_lettered:
            self.owner.ask(_decoded(envelope))
        self._check_books()

    # Laws

    @invariant()
    def every_attempt_has_one_bill(self) -> None:
        names = [(bill.work, bill.attempt) for bill in self.spend.bills]
        assert len(set(names)) == len(names)

    @invariant()
    def sums_are_exact(self) -> None:
        costs = [cost for told in self.told.values() for cost in told if cost is not None]
        assert (self.spend.cost or 0) == sum(costs)
        assert sum(each.cost or 0 for each in self.spend.costs) == sum(costs)

    @invariant()
    def a_budget_is_never_held_beyond_its_limit(self) -> None:
        held = sum(hold.amount_pico for hold in pages.values(self.owner.state.holds))
        assert held <= LIMIT

    @invariant()
    def what_is_held_has_not_ended(self) -> None:
        state = self.owner.state
        keys = [key_of(hold.reference) for hold in pages.values(state.holds)]
        assert all(recall(state.closed, key) is None for key in keys)

    def _check_books(self) -> None:
        assert pages.size(self.owner.state.holds) == 0
        booked: dict[tuple[str, int], list[int]] = {}
        ends: dict[tuple[str, int], list[str]] = {}
        for event in self.owner.events:
            if isinstance(event, Charged | Voided):
                name = (str(event.reference.step), event.reference.attempt)
                ends.setdefault(name, []).append(type(event).__name__)
                if isinstance(event, Charged):
                    booked.setdefault(name, []).append(event.cost_pico)
        billed = {
            name: [sum(cost or 0 for cost in told)] for name, told in self.told.items() if told
        }
        assert booked == billed
        assert sum(account.spent for account in self.owner.accounts()) == (self.spend.cost or 0)
        assert all(len(set(told)) == len(told) == 1 for told in ends.values())

    # Helpers

    def _ended_at(self) -> Any:
        return self.ended_at if self.ended else None

    def _asked_again(self) -> Iterator[ReserveAsked]:
        for bill in self.spend.bills:
            if bill.phase == "refused":
                yield ReserveAsked(
                    work=bill.work, attempt=bill.attempt, asked=bill.asked + 1, at=self.now
                )

    def _published(self, event: BillBooked | BillRefused) -> None:
        for each in announce(self.spend, event, PAYER):
            if isinstance(each.body, CommandEnvelope):
                self.dead_lettered.append(each.body)
            elif isinstance(each.body, DeadLetter):
                self.dead_lettered.append(decode(CommandEnvelope, each.body.body.encode()))


def _charge(cost: int | None) -> Charge:
    return Charge(provider="scripted", model="m", usage=Usage(output=1), cost_pico=cost)


def _decoded(envelope: CommandEnvelope) -> Settle | Void:
    return msgspec.json.decode(envelope.body, type=_end)


TestPaying = Paying.TestCase
TestPaying.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def reserved(attempt: int = 1) -> Spend:
    event = ReserveAsked(work="1", attempt=attempt, asked=1, at=NOON)
    return Spend(spending=Spending(amount_pico=AMOUNT, tokens=1)).apply(event)


def commands(spend: Spend) -> list[type]:
    return [type(ask.command) for ask in spend.asks(PAYER)]


def test_charges_that_are_told_after_nothing_was_take_the_place_of_the_void():
    held = reserved().hold("1", 1)
    voided = held.close("1", 1, [], at=NOON, decided_at=NOON)
    assert commands(voided) == [Void]

    settled = voided.close("1", 1, [_charge(7)], at=NOON, decided_at=NOON)

    assert commands(settled) == [Settle]
    assert settled.cost == 7


def test_a_late_bill_of_an_attempt_without_a_hold_has_the_time_it_is_told():
    late = Spend().close("1", 3, [_charge(7)], at=NOON, decided_at=NOON - PATIENCE)

    (ask,) = late.asks(PAYER)
    assert ask.command.reference.at == NOON - PATIENCE


def test_where_no_price_is_known_the_hold_is_left_to_its_lease():
    held = reserved().hold("1", 1)

    assert held.close("1", 1, None, at=NOON, decided_at=NOON) == held
    assert commands(held.end()) == []


def test_a_reservation_that_the_end_overtakes_is_voided_and_its_grant_changes_nothing():
    spend = reserved()
    (ask,) = spend.asks(PAYER)

    ended = spend.end()

    assert commands(ended) == [Void]
    assert ended.asked(answered(ask, b"{}")) is None
    assert ended.hold("1", 1) == ended


def test_a_superseded_attempt_that_has_spent_nothing_voids_its_hold_by_an_event():
    held = reserved().hold("1", 1).apply(ReserveAsked(work="1", attempt=2, asked=1, at=NOON))

    voided = held.apply(HoldVoided(work="1", attempt=1, at=NOON))

    assert {(bill.attempt, bill.phase) for bill in voided.bills} == {
        (1, "voiding"),
        (2, "reserving"),
    }


def test_the_bill_of_the_attempt_that_completes_says_so_and_no_other():
    spend = Spend()
    for attempt in (1, 2):
        spend = spend.settle("1", attempt, [_charge(1)], at=NOON, decided_at=NOON)

    ended = spend.end(("1", 2))

    assert [ask.command.completed for ask in ended.asks(PAYER)] == [False, True]


@pytest.mark.parametrize("code", ["conflict", "internal"])
def test_a_refusal_is_asked_again_after_growing_pauses_unless_it_is_final(code: Any):
    (bill,) = Spend().settle("1", 1, [_charge(1)], at=NOON, decided_at=NOON).bills
    problem, waits = Problem(code=code, message="no"), list[float]()
    for asked in range(1, 9):
        event = book(msgspec.structs.replace(bill, asked=asked), problem, NOON)
        assert isinstance(event, BillRefused)
        if event.retry_at is not None:
            waits.append((event.retry_at - NOON).total_seconds())

    assert waits == ([] if code == "conflict" else [1, 5, 30, 120, 600, 3600])


def test_a_settlement_is_that_of_its_reservation_and_nothing_voids_it():
    later = NOON + PATIENCE
    settled = reserved().hold("1", 1).settle("1", 1, [_charge(1)], at=later, decided_at=later)

    (ask,) = settled.asks(PAYER)
    assert (ask.command.reference.at, ask.command.at) == (NOON, later)
    assert settled.void("1", 1) == settled
    assert settled.apply(HoldVoided(work="1", attempt=1, at=NOON)) == settled


def test_the_answer_to_an_earlier_ask_changes_nothing():
    first = reserved()
    (ask,) = first.asks(PAYER)
    again = first.apply(ReserveAsked(work="1", attempt=1, asked=2, at=NOON))
    (other,) = again.asks(PAYER)

    assert other.id != ask.id
    assert again.asked(answered(ask, encode(RAISED))) is None
    assert again.asked(answered(other, encode(RAISED))) == again.of("1", 1)


def test_what_could_not_be_booked_is_asked_again_under_another_id():
    spend = Spend().settle("1", 1, [_charge(1)], at=NOON, decided_at=NOON)
    (ask,) = spend.asks(PAYER)
    refused = spend.apply(book(spend.bills[0], RAISED, NOON))
    assert commands(refused) == []
    assert list(tick(refused, None, NOON)) == []

    (event,) = tick(refused, None, NOON + PATIENCE)
    again = refused.apply(event)

    assert [each.id == ask.id for each in again.asks(PAYER)] == [False]
    assert again.asked(answered(ask, encode(RAISED))) is None


def test_what_leaves_money_to_others_is_urgent_but_for_what_an_entity_ends_with():
    held = reserved().hold("1", 1)
    failed = held.close("1", 1, [_charge(1)], at=NOON, decided_at=NOON)
    voided = held.close("1", 1, [], at=NOON, decided_at=NOON)
    unbudgeted = Spend().settle("1", 1, [_charge(1)], at=NOON, decided_at=NOON)

    def urgent(spend: Spend) -> list[bool]:
        return [ask.urgent for ask in spend.asks(PAYER)]

    assert [*map(urgent, (reserved(), failed, failed.end(), voided))] == [[True]] * 4
    assert [*map(urgent, (failed.end(("1", 1)), reserved().end(), unbudgeted))] == [[False]] * 3
