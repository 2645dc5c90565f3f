"""Laws of the execution: whatever is commanded in whatever order, its history is legal."""

from functools import reduce

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agents.adapters.streams import Streams
from actors.agents.core.decisions import decide
from actors.agents.core.effects import effects
from actors.agents.core.entity import EXECUTION
from actors.agents.core.execution import due, evolve, has_ended
from actors.agents.core.outward import record
from actors.agents.core.state import Execution
from bus.ports import StoredMessage
from bus.shard.book import ShardBook
from schemas.lifecycle import (
    Accept,
    AttemptFailed,
    AttemptStarted,
    Cancel,
    ExecutionCommand,
    ExecutionEvent,
    GenerationFinished,
    Tick,
    UsageSettled,
)
from schemas.problems import Problem
from schemas.streams import TERMINAL_TYPES, ReadStream
from schemas.usage import Usage
from schemas.work import Lost
from tests.unit.agents.runs import (
    MAX_ATTEMPTS,
    TERMINALS,
    Steps,
    accept,
    accepted,
    commands,
    finish,
    played,
    steps,
)
from tests.unit.agents.samples import NOW


@settings(max_examples=50)
@given(steps)
def test_an_execution_ends_at_most_once_and_then_only_settles_usage(sequence: Steps):
    run = played(sequence)

    ends = [place for place, event in enumerate(run.events) if isinstance(event, TERMINALS)]
    after = run.events[ends[0] + 1 :] if ends else []
    assert len(ends) <= 1
    assert [event for event in after if not isinstance(event, UsageSettled)] == []
    assert has_ended(run.execution) == bool(ends)


@settings(max_examples=50)
@given(steps)
def test_an_execution_that_is_left_alone_ends_by_its_deadline(sequence: Steps):
    run = played(sequence)
    for _ in range(20):
        moment = due(run.execution)
        if moment is None:
            break
        run.take(Tick(), max(0.0, (moment - run.now).total_seconds()))

    assert has_ended(run.execution)


@settings(max_examples=50)
@given(steps)
def test_every_segment_is_allotted_once_and_they_grow(sequence: Steps):
    run = played(sequence)

    allotted: list[int] = []
    for event in run.events:
        if isinstance(event, AttemptStarted | AttemptFailed):
            notice = [] if event.notice_segment is None else [event.notice_segment]
            own = [event.segment] if isinstance(event, AttemptStarted) else []
            allotted.extend((*notice, *own))
        elif isinstance(event, TERMINALS):
            allotted.append(event.segment)
    assert allotted == list(range(1, len(allotted) + 1))


@settings(max_examples=50)
@given(steps)
def test_a_new_attempt_makes_the_segment_of_the_one_before_void(sequence: Steps):
    starts = [event for event in played(sequence).events if isinstance(event, AttemptStarted)]

    assert [event.attempt for event in starts] == list(range(1, len(starts) + 1))
    assert [event.dropped_segment for event in starts] == [
        None,
        *[event.segment for event in starts[:-1]],
    ]


@settings(max_examples=50)
@given(steps)
def test_no_more_attempts_fail_or_get_lost_than_are_allowed(sequence: Steps):
    run = played(sequence)

    spent = sum(
        event.counts if isinstance(event, AttemptStarted) else isinstance(event, AttemptFailed)
        for event in run.events
    )
    assert spent == run.current.failures
    assert spent <= MAX_ATTEMPTS


@settings(max_examples=50)
@given(steps)
def test_each_attempt_is_one_work_item_of_its_own(sequence: Steps):
    run = played(sequence)

    starts = [event for event in run.events if isinstance(event, AttemptStarted)]
    assert run.work == [f"execution.acme.e1.1.{event.attempt}" for event in starts]
    assert len(effects(run.execution)) == (run.execution.phase == "generating")


@settings(max_examples=50)
@given(steps)
def test_replaying_the_events_gives_the_same_state(sequence: Steps):
    run = played(sequence)

    replayed = reduce(evolve, run.events, None)

    assert replayed == run.state
    assert run.execution.revision == len(run.events)


@settings(max_examples=50)
@given(steps)
def test_the_state_survives_a_snapshot(sequence: Steps):
    state = played(sequence).execution

    assert msgspec.json.decode(msgspec.json.encode(state), type=Execution) == state


@settings(max_examples=50)
@given(steps)
def test_an_ended_execution_comes_back_from_rest_as_it_was(sequence: Steps):
    run = played([*sequence, (Cancel(reason="the end"), 0.0)])
    before, after = ShardBook(EXECUTION), ShardBook(EXECUTION)
    before.slot(("acme", "e1")).state = run.execution

    after.wake(before.at_rest(("acme", "e1")))

    restored = after.state(("acme", "e1"))
    assert restored == run.execution
    assert decide(restored, accept(), NOW) == decide(run.state, accept(), NOW)
    assert effects(restored) == ()
    assert due(restored) is None


@settings(max_examples=50)
@given(steps)
def test_the_end_read_from_a_record_is_the_one_that_was_published(sequence: Steps):
    run = played([*sequence, (Cancel(reason="the end"), 0.0)])
    [end] = [each.body for each in run.published if isinstance(each.body, TERMINAL_TYPES)]

    page = Streams(_expired).from_record(record(run.execution), ReadStream(execution_id="e1"))

    assert page.events == [end]


def test_usage_reported_after_the_end_does_not_change_the_end_read_from_the_record():
    run = accepted()
    run.take(Lost(work="1", attempt=1, begun=True))
    run.take(finish(2, output=7))
    run.take(finish(1, output=7))
    [end] = [each.body for each in run.published if isinstance(each.body, TERMINAL_TYPES)]
    stored = record(run.execution)

    page = Streams(_expired).from_record(stored, ReadStream(execution_id="e1"))

    assert (stored.usage, stored.usage_at_end) == (Usage(output=14), Usage(output=7))
    assert page.events == [end]


async def _expired(stream: str, subject: str, *, start: int = 1, limit: int) -> list[StoredMessage]:
    raise AssertionError(f"{stream} {subject} {start} {limit}")


@settings(max_examples=50)
@given(steps)
def test_usage_is_counted_once_an_attempt(sequence: Steps):
    run = played(sequence)

    counted = [place for event in run.events for place in _settled(event)]
    assert len(counted) == len(set(counted))
    total = run.execution.usage.output if run.execution.usage else 0
    assert total == sum(_usage_of(event) for event in run.events)


def _usage_of(event: ExecutionEvent) -> int:
    if isinstance(event, GenerationFinished):
        return event.answer.usage.output
    if isinstance(event, UsageSettled | AttemptFailed) and event.usage is not None:
        return event.usage.output
    return 0


def _settled(event: ExecutionEvent) -> list[int]:
    if isinstance(event, GenerationFinished | UsageSettled):
        return [event.attempt]
    return [event.attempt] if isinstance(event, AttemptFailed) and event.usage is not None else []


@settings(max_examples=50)
@given(steps)
def test_the_end_is_published_once_after_all_else(sequence: Steps):
    run = played(sequence)

    ends = [p for p in run.published if isinstance(p.body, TERMINAL_TYPES)]
    assert len(ends) == has_ended(run.execution)
    assert all(p.stored for p in ends)


@given(st.lists(commands, max_size=5))
def test_nothing_happens_to_an_execution_that_was_never_accepted(sequence: list[ExecutionCommand]):
    for command in sequence:
        if not isinstance(command, Accept):
            decision = decide(None, command, NOW)
            assert decision.events == ()
            assert isinstance(decision.reply, Problem)
            assert decision.reply.code == "not_found"
