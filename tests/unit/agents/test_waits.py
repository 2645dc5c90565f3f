"""Whoever follows an execution sees that it waits, why, and until when."""

from datetime import timedelta

import msgspec

from actors.agents.core.effects import answered
from actors.agents.core.outward import record
from bus.codec import encode
from schemas.bills import Spending
from schemas.lifecycle import Tick
from schemas.problems import Problem
from schemas.streams import StreamMessage, Thinking
from schemas.work import Lost
from tests.unit.agents.runs import OVERLOADED, REFUSED, Run, accept, accepted, asks, fail, finish

NO_MONEY = Problem(code="budget_exceeded", message="the budget is spent", retry_after=1.0)
LATER = msgspec.structs.replace(OVERLOADED, code="rate_limited", retry_after=20.0)


def waits(run: Run) -> list[Thinking]:
    return [one.body for one in run.published if isinstance(one.body, Thinking)]


def test_a_wait_for_the_next_attempt_is_told_on_the_stream_and_in_the_record():
    run = accepted()
    run.take(fail(1, LATER))

    (told,) = waits(run)
    assert (told.status, told.until) == (
        "rate_limited: again in 20 s",
        run.now + timedelta(seconds=20),
    )
    assert (told.segment, told.sequence, told.step, told.attempt) == (2, 0, 1, 1)
    kept = record(run.execution)
    assert kept.logs[-1].message == "attempt 1 failed: rate_limited: again in 20 s"
    assert kept.segment == 2


def test_what_ends_the_execution_or_is_repeated_at_once_is_no_wait():
    refused, elsewhere, lost = accepted(), accepted(), accepted()
    refused.take(fail(1, REFUSED))
    elsewhere.take(fail(1, OVERLOADED, next_place=1))
    lost.take(Lost(work="1", attempt=1, begun=True))

    assert [waits(run) for run in (refused, elsewhere, lost)] == [[], [], []]


def test_what_follows_a_wait_has_segments_of_its_own():
    run = accepted()
    run.take(fail(1, LATER))
    run.take(Tick(), 20.0)
    run.take(finish(2))

    segments = [one.body.segment for one in run.published if isinstance(one.body, StreamMessage)]
    assert segments == [2, 3, 5]


def test_a_refusal_of_money_for_an_assumed_length_says_what_bounds_it():
    spending = Spending(amount_pico=900, tokens=8200, assumed_tokens=8192)
    bounded = msgspec.structs.replace(spending, assumed_tokens=None)

    told = [refused(one).message for one in (spending, bounded)]

    assert told == ["the budget is spent; set max_tokens (8,192 assumed)", "the budget is spent"]


def refused(spending: Spending) -> Problem:
    run = asking(spending)
    assert run.execution.problem is not None
    return run.execution.problem


def test_a_wait_for_money_is_told_once_and_again_only_if_it_is_long():
    run = asking(Spending(amount_pico=900, tokens=1, waits=True), NO_MONEY)
    first = len(waits(run))
    run.take(Tick(), 1.0)
    deny(run, NO_MONEY)
    second = len(waits(run))
    run.take(Tick(), 1.0)
    deny(run, msgspec.structs.replace(NO_MONEY, retry_after=30.0))

    assert (first, second, len(waits(run))) == (1, 1, 2)
    assert waits(run)[0].status == "budget_exceeded: again in 1 s"


def asking(spending: Spending, problem: Problem | None = None) -> Run:
    """Return an execution whose reservation was refused."""
    run = Run()
    run.take(msgspec.structs.replace(accept(), spending=spending))
    deny(run, problem or NO_MONEY)
    return run


def deny(run: Run, problem: Problem) -> None:
    (ask,) = asks(run.execution)
    run.take(answered(ask, encode(problem)))
