"""Whoever follows an execution sees that it waits, why, and until when."""

from datetime import timedelta

import msgspec

from actors.agents.core.outward import record
from schemas.lifecycle import Tick
from schemas.streams import StreamMessage, Thinking
from schemas.work import Lost
from tests.unit.agents.runs import OVERLOADED, REFUSED, Run, accepted, fail, finish

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
