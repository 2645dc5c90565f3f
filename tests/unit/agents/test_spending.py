"""What an execution asks of the account of its tenant: leave to spend, and that it was spent."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from actors.agents.core.effects import effects
from actors.agents.core.execution import due, has_ended
from actors.agents.core.outward import record
from bus.codec import decode, encode
from schemas.bills import GRACE, Spending, answered
from schemas.decision import Ask
from schemas.events import BillRefusedEvent
from schemas.executions import ModelCost
from schemas.journal import CommandEnvelope
from schemas.ledger import Booked, Charge, MoneyHeld, Party, Reference, Reserve, Settle, Void
from schemas.letters import DeadLetter
from schemas.lifecycle import (
    Accept,
    Cancel,
    ExecutionCommand,
    FailGeneration,
    FinishGeneration,
    Tick,
)
from schemas.problems import Problem
from schemas.spend import PATIENCE, PAUSES
from schemas.streams import Completed
from schemas.usage import Usage
from schemas.work import Lost, WorkItem
from tests.unit.agents import runs
from tests.unit.agents.runs import NOW, OVERLOADED, TIMEOUT, Run, asks

HELD = MoneyHeld(held_pico=900)
NO_MONEY = Problem(code="budget_exceeded", message="the budget is spent", retry_after=5.0)
RAISED = Problem(code="internal", message="it raised")
SPENDING = Spending(amount_pico=900, tokens=50)
PARTY = Party(agent_id="reviewer", session="s1")


def charge(cost: int | None, model: str = "m-1") -> Charge:
    return Charge(provider="scripted", model=model, usage=Usage(output=1), cost_pico=cost)


def accept(*, spending: Spending | None = SPENDING) -> Accept:
    return msgspec.structs.replace(runs.accept(), spending=spending)


def finish(attempt: int, *charges: Charge) -> FinishGeneration:
    return msgspec.structs.replace(runs.finish(attempt), charges=list(charges))


def fail(attempt: int, *charges: Charge, next_place: int | None = None) -> FailGeneration:
    usage = Usage(output=1) if charges else None
    failed = runs.fail(attempt, OVERLOADED, usage, next_place)
    return msgspec.structs.replace(failed, charges=list(charges))


def begun(spending: Spending | None = SPENDING) -> Run:
    run = Run()
    run.take(accept(spending=spending))
    return run


def granted(spending: Spending = SPENDING) -> Run:
    run = begun(spending)
    answer(run, HELD)
    return run


def answer(run: Run, body: msgspec.Struct, seconds: float = 0.0) -> None:
    """Answer the oldest question that is open."""
    ask = asks(run.execution)[0]
    run.take(answered(ask, encode(body)), seconds)


def asked(run: Run) -> list[Any]:
    return [ask.command for ask in asks(run.execution)]


def reference(attempt: int = 1, seconds: float = 0.0) -> Reference:
    at = NOW + timedelta(seconds=seconds)
    return Reference(execution_id="e1", step=1, attempt=attempt, at=at)


def settle(*charges: Charge, attempt: int = 1, completed: bool = False) -> Settle:
    return Settle(
        reference=reference(attempt),
        party=PARTY,
        charges=list(charges),
        at=NOW,
        completed=completed,
    )


def test_without_budgets_nothing_is_reserved_and_what_was_spent_is_booked():
    run = begun(None)
    assert asked(run) == []

    run.take(finish(1, charge(7)))

    assert asked(run) == [settle(charge(7), completed=True)]
    assert run.execution.status == "COMPLETED"
    answer(run, Booked())
    assert effects(run.execution) == ()


def test_an_attempt_begins_when_the_money_for_it_is_held():
    run = begun()
    wanted = Reserve(
        reference=reference(),
        party=PARTY,
        amount_pico=900,
        tokens=50,
        lease_until=NOW + timedelta(seconds=TIMEOUT) + GRACE,
    )
    assert asked(run) == [wanted]
    assert (run.execution.status, run.work) == ("PENDING", ["e1.1.1.reserve.1"])

    answer(run, HELD)

    (work,) = effects(run.execution)
    assert isinstance(work, WorkItem)
    assert (work.body.attempt, work.body.segment, work.body.decided_at) == (1, 1, NOW)


def test_an_execution_that_is_refused_ends_with_the_reason_and_lets_go():
    run = begun()

    answer(run, NO_MONEY)

    assert (run.execution.status, record(run.execution).error) == ("FAILED", NO_MONEY)
    assert asked(run) == [Void(reference=reference())]


def test_one_that_waits_asks_again_when_it_may_be_granted():
    run = begun(msgspec.structs.replace(SPENDING, waits=True))

    answer(run, NO_MONEY)
    assert (run.execution.status, asked(run)) == ("WAITING", [])
    run.take(Tick(), 5.0)
    (ask,) = asks(run.execution)
    assert (ask.id, ask.command.reference) == ("e1.1.1.reserve.2", reference(seconds=5.0))
    answer(run, HELD)

    assert run.execution.status == "RUNNING"


def test_one_that_waits_does_not_wait_beyond_its_time():
    run = begun(msgspec.structs.replace(SPENDING, waits=True))

    answer(run, msgspec.structs.replace(NO_MONEY, retry_after=TIMEOUT))

    assert run.execution.status == "FAILED"


def test_who_is_cancelled_before_the_answer_lets_go_and_a_late_grant_changes_nothing():
    run = begun()
    (reserve,) = asks(run.execution)

    run.take(Cancel(reason="enough"))
    assert asked(run) == [Void(reference=reference())]
    late = run.take(answered(reserve, encode(HELD)))

    assert late.events == ()
    assert run.execution.status == "CANCELLED"


def test_a_time_that_is_over_while_waiting_for_leave_lets_go():
    run = begun()

    run.take(Tick(), TIMEOUT)

    assert run.execution.status == "TIMED_OUT"
    assert asked(run) == [Void(reference=reference())]


def test_a_failed_attempt_is_booked_and_the_next_one_reserves_anew():
    run = granted()

    run.take(fail(1, charge(3)))
    assert asked(run) == [settle(charge(3))]
    answer(run, Booked())
    run.take(Tick(), 1.0)
    (again,) = asks(run.execution)
    assert (again.id, again.command.reference) == ("e1.1.2.reserve.1", reference(2, 1.0))
    answer(run, HELD)

    (work,) = effects(run.execution)
    assert isinstance(work, WorkItem)
    assert (work.body.attempt, work.body.segment) == (2, 4)


def test_another_place_is_tried_under_a_hold_of_its_own():
    run = granted()

    run.take(fail(1, charge(3), next_place=1))
    assert [type(command) for command in asked(run)] == [Settle, Reserve]
    run.take(answered(asks(run.execution)[1], encode(HELD)))

    work = effects(run.execution)[0]
    assert isinstance(work, WorkItem)
    assert (work.body.attempt, work.body.place) == (2, 1)


def test_an_attempt_that_has_spent_nothing_lets_go_of_its_hold():
    run = granted()

    run.take(fail(1))

    assert asked(run) == [Void(reference=reference())]


def test_what_a_superseded_attempt_has_spent_is_booked_late_once_and_under_its_own_moment():
    run = granted()
    run.take(Lost(work="1", attempt=1, begun=True), 2.0)

    late = msgspec.structs.replace(finish(1, charge(4)), decided_at=NOW)
    run.take(late)
    run.take(late)

    bills = [command for command in asked(run) if isinstance(command, Settle)]
    assert [(each.reference, each.charges) for each in bills] == [(reference(), [charge(4)])]
    assert run.execution.spend.cost == 4


def test_a_superseded_attempt_that_has_spent_nothing_lets_go_once():
    run = granted()
    run.take(Cancel(reason="enough"))
    assert asked(run) == []

    run.take(fail(1))
    run.take(fail(1))

    assert asked(run) == [Void(reference=reference())]


def test_what_cannot_be_booked_is_asked_again_and_booked_at_last():
    run = begun(None)
    run.take(finish(1, charge(7)))
    names = {each.id for each in asks(run.execution)}
    for pause in PAUSES:
        answer(run, RAISED)
        assert asked(run) == []
        assert not has_ended(run.execution)
        run.take(Tick(), pause.total_seconds())
        names.add(asks(run.execution)[0].id)
    answer(run, Booked())

    assert len(names) == len(PAUSES) + 1
    assert asked(run) == []
    assert has_ended(run.execution)
    assert due(run.execution) is None


def test_a_bill_that_is_given_up_is_told_to_everybody_and_laid_aside():
    run = begun(None)
    run.take(finish(1, charge(7)))
    for pause in PAUSES:
        answer(run, RAISED)
        run.take(Tick(), pause.total_seconds())
    bill = asked(run)[0]
    answer(run, RAISED)

    event, letter = (each.body for each in run.published[-2:])
    assert isinstance(event, BillRefusedEvent)
    assert (event.execution_id, event.cost_pico, event.error) == ("e1", 7, RAISED)
    assert isinstance(letter, DeadLetter)
    assert decode(Settle, decode(CommandEnvelope, letter.body.encode()).body) == bill
    assert asked(run) == []
    assert has_ended(run.execution)


def test_a_bill_that_may_be_booked_already_is_given_up_at_once():
    run = begun(None)
    run.take(finish(1, charge(7)))
    answer(run, Problem(code="conflict", message="older than is remembered"))
    assert asked(run) == []
    assert due(run.execution) is None


def handed_over(run: Run) -> list[CommandEnvelope]:
    return [
        each.body
        for each in run.published
        if each.subject == "_cb.bill.acme" and isinstance(each.body, CommandEnvelope)
    ]


def test_a_bill_that_no_account_answers_is_handed_over_and_lets_go_of_the_execution():
    run = begun(None)
    run.take(finish(1, charge(7)))
    bill = asked(run)[0]
    assert due(run.execution) == run.now + PATIENCE
    run.take(Tick(), PATIENCE.total_seconds() - 1)
    assert asked(run) == [bill]

    run.take(Tick(), 1)
    run.take(Tick(), 1)

    (envelope,) = handed_over(run)
    assert (envelope.id, envelope.tenant, decode(Settle, envelope.body)) == (
        "e1.1.1.settle.1",
        "acme",
        bill,
    )
    assert asked(run) == []
    assert due(run.execution) is None
    assert has_ended(run.execution)


def test_a_bill_that_was_refused_is_not_handed_over():
    run = begun(None)
    run.take(finish(1, charge(7)))
    answer(run, RAISED)
    run.take(Tick(), PATIENCE.total_seconds())

    assert handed_over(run) == []
    assert len(asked(run)) == 1


def test_an_execution_costs_what_all_its_calls_cost():
    run = granted()
    run.take(fail(1, charge(3, "a")))
    run.take(Tick(), 1.0)
    ask = next(ask for ask in asks(run.execution) if isinstance(ask.command, Reserve))
    run.take(answered(ask, encode(HELD)))

    run.take(finish(2, charge(None, "a"), charge(5, "b")))

    stored = record(run.execution)
    assert stored.cost == 8
    assert stored.costs == [
        ModelCost(provider="scripted", model="a", calls=2, tokens=2, cost=3, unpriced=1),
        ModelCost(provider="scripted", model="b", calls=1, tokens=1, cost=5),
    ]
    (end,) = (one.body for one in run.published if isinstance(one.body, Completed))
    assert end.cost == 8


def test_what_has_no_price_costs_nothing_known_and_an_answer_of_before_costs_nothing():
    unpriced, free = begun(None), begun(None)

    unpriced.take(finish(1, charge(None)))
    free.take(finish(1))

    assert (unpriced.execution.spend.cost, free.execution.spend.cost) == (None, 0)


def test_what_is_booked_after_the_end_does_not_change_how_the_end_reads():
    run = begun(None)
    run.take(Lost(work="1", attempt=1, begun=True))
    run.take(finish(2, charge(5)))

    run.take(finish(1, charge(4)))

    stored = record(run.execution)
    assert (stored.cost, stored.cost_at_end) == (9, 5)
    assert [each.attempt for each in stored.settled] == [2, 1]


costs = st.none() | st.integers(0, 9)
reported = st.lists(costs, max_size=2)
turns: st.SearchStrategy[list[tuple[str, int, list[int | None]]]] = st.lists(
    st.tuples(
        st.sampled_from(("held", "refused", "finish", "fail", "lost", "cancel", "tick")),
        st.integers(1, 4),
        reported,
    ),
    max_size=20,
)


@given(turns, st.booleans())
@example([("held", 1, []), ("fail", 1, []), ("finish", 1, [7])], False)
def test_every_charge_is_billed_once_and_every_hold_ends_once(
    sequence: Sequence[tuple[str, int, list[int | None]]], waits: bool
):
    """An attempt that is said to have spent nothing may yet be billed, should it tell more."""
    run = begun(msgspec.structs.replace(SPENDING, waits=waits))
    seen: dict[str, Ask] = {}
    for what, attempt, prices in sequence:
        for ask in asks(run.execution):
            seen[ask.id] = ask
        _befall(run, what, attempt, [charge(cost) for cost in prices])
    for ask in asks(run.execution):
        seen[ask.id] = ask

    bills = {each.id for each in asks(run.execution) if not isinstance(each.command, Reserve)}
    run.take(Cancel(reason="enough"))
    run.take(Tick(), PATIENCE.total_seconds())
    passed_on = [envelope.id for envelope in handed_over(run)]
    assert len(set(passed_on)) == len(passed_on)
    assert bills <= set(passed_on)
    assert asked(run) == []

    commands = [ask.command for ask in seen.values()]
    settled = [each for each in commands if isinstance(each, Settle)]
    billed = [one.cost_pico for each in settled for one in each.charges]
    for ends in (settled, [each for each in commands if isinstance(each, Void)]):
        attempts = [each.reference.attempt for each in ends]
        assert sorted(set(attempts)) == sorted(attempts)
    assert sum(cost or 0 for cost in billed) == (run.execution.spend.cost or 0)


def _befall(run: Run, what: str, attempt: int, charges: list[Charge]) -> None:
    reserve = next((ask for ask in asks(run.execution) if isinstance(ask.command, Reserve)), None)
    told: dict[str, ExecutionCommand] = {
        "finish": finish(attempt, *charges),
        "fail": fail(attempt, *charges),
        "lost": Lost(work="1", attempt=attempt, begun=True),
        "cancel": Cancel(reason="enough"),
        "tick": Tick(),
    }
    if what in told and (what not in ("finish", "fail") or f"acme.e1.1.{attempt}" in run.work):
        run.take(told[what], 5.0)
    elif reserve is not None:
        run.take(answered(reserve, encode(HELD if what == "held" else NO_MONEY)))
