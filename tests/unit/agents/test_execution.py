"""Laws of the execution: whatever is commanded in whatever order, its history is legal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agents.adapters.streams import Streams
from actors.agents.core.decisions import decide
from actors.agents.core.execution import Execution, due, evolve, has_ended
from actors.agents.core.outward import announce, effects, record, redispatch, restore
from actors.agents.core.retry import STANDARD
from bus.ports import Stored
from schemas.decision import Decision, Publish
from schemas.executions import ExecutionHandle
from schemas.lifecycle import (
    Accept,
    AttemptClaimed,
    AttemptFailed,
    AttemptStarted,
    Cancel,
    Claim,
    Deltas,
    ExecutionCancelled,
    ExecutionCommand,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    FailGeneration,
    FinishGeneration,
    GenerationFinished,
    Granted,
    Look,
    Origin,
    Redispatch,
    Settled,
    Superseded,
    Tick,
    UsageSettled,
)
from schemas.llm import Answer, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.streams import TERMINAL_TYPES, ReadStream
from schemas.usage import Usage
from tests.unit.agents.samples import NOW, later

TIMEOUT = 60.0
MAX_ATTEMPTS = 3
TERMINALS = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)
DELTAS = Deltas(count=0, sha256="")
OVERLOADED = Problem(code="provider_overloaded", message="come back later", retryable=True)
REFUSED = Problem(code="unauthorized", message="no")


def accept(digest: str = "one", max_attempts: int = MAX_ATTEMPTS) -> Accept:
    origin = Origin(
        tenant="acme",
        execution_id="e1",
        agent_id="reviewer",
        agent_version=1,
        task="Read this.",
        digest=digest,
        max_attempts=max_attempts,
        session="s1",
    )
    request = GenerateRequest(provider=Scripted(responses=["Yes."]), messages=[])
    return Accept(origin=origin, request=request, timeout_seconds=TIMEOUT)


def finish(attempt: int, output: int = 1) -> FinishGeneration:
    answer = Answer(
        text=f"answer {attempt}",
        finish_reason="stop",
        usage=Usage(output=output),
        reasoning="well",
        tool_calls=[ToolCall(id="c1", name="look", arguments="{}")],
        model_served="m-1",
        cached=attempt == 2,
    )
    return FinishGeneration(step=1, attempt=attempt, answer=answer, deltas=DELTAS, started_at=NOW)


def fail(
    attempt: int,
    problem: Problem = OVERLOADED,
    usage: Usage | None = None,
    next_place: int | None = None,
) -> FailGeneration:
    return FailGeneration(
        step=1,
        attempt=attempt,
        problem=problem,
        deltas=DELTAS,
        started_at=NOW,
        usage=usage,
        next_place=next_place,
    )


@dataclass
class Run:
    """One execution and all that happened to it."""

    state: Execution | None = None
    events: list[ExecutionEvent] = field(default_factory=list[ExecutionEvent])
    published: list[Publish] = field(default_factory=list[Publish])
    work: list[str] = field(default_factory=list[str])
    now: datetime = NOW

    def take(self, command: ExecutionCommand, seconds: float = 0.0) -> Decision:
        self.now += timedelta(seconds=seconds)
        decision = decide(self.state, command, self.now)
        for event in decision.events:
            before, self.state = self.state, evolve(self.state, event)
            self.events.append(event)
            self.published.extend(announce(before, event, self.state))
        if self.state is not None:
            self.work.extend(w.id for w in effects(self.state) if w.id not in self.work[-1:])
        return decision

    @property
    def execution(self) -> Execution:
        assert self.state is not None
        return self.state


def accepted(max_attempts: int = MAX_ATTEMPTS) -> Run:
    run = Run()
    run.take(accept(max_attempts=max_attempts))
    return run


usages = st.none() | st.builds(Usage, output=st.integers(0, 50))
problems = st.sampled_from(
    (OVERLOADED, REFUSED, msgspec.structs.replace(OVERLOADED, retry_after=5.0))
)
attempts = st.integers(1, 6)
commands: st.SearchStrategy[ExecutionCommand] = st.one_of(
    st.builds(accept, st.sampled_from(("one", "other"))),
    st.builds(Claim, step=st.just(1), attempt=attempts, lost=st.booleans()),
    st.builds(finish, attempts, st.integers(0, 50)),
    st.builds(fail, attempts, problems, usages, st.none() | st.integers(0, 2)),
    st.builds(Redispatch, step=st.just(1), attempt=attempts),
    st.builds(Cancel, reason=st.sampled_from(("", "enough"))),
    st.just(Tick()),
    st.just(Look()),
)
Steps = list[tuple[ExecutionCommand, float]]
steps: st.SearchStrategy[Steps] = st.lists(st.tuples(commands, st.floats(0, 25)), max_size=25)


def played(sequence: Sequence[tuple[ExecutionCommand, float]]) -> Run:
    run = accepted()
    for command, seconds in sequence:
        run.take(command, seconds)
    return run


# Laws


@settings(max_examples=50, deadline=None)
@given(steps)
def test_an_execution_ends_at_most_once_and_then_only_settles_usage(sequence: Steps):
    run = played(sequence)

    ends = [place for place, event in enumerate(run.events) if isinstance(event, TERMINALS)]
    after = run.events[ends[0] + 1 :] if ends else []
    assert len(ends) <= 1
    assert [event for event in after if not isinstance(event, UsageSettled)] == []
    assert has_ended(run.execution) == bool(ends)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_an_execution_that_is_left_alone_ends_by_its_deadline(sequence: Steps):
    run = played(sequence)
    for _ in range(20):
        moment = due(run.execution)
        if moment is None:
            break
        run.take(Tick(), max(0.0, (moment - run.now).total_seconds()))

    assert has_ended(run.execution)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_every_segment_is_allotted_once_and_they_grow(sequence: Steps):
    run = played(sequence)

    allotted: list[int] = []
    for event in run.events:
        if isinstance(event, AttemptStarted):
            notice = [] if event.notice_segment is None else [event.notice_segment]
            allotted.extend((*notice, event.segment))
        elif isinstance(event, TERMINALS):
            allotted.append(event.segment)
    assert allotted == list(range(1, len(allotted) + 1))


@settings(max_examples=50, deadline=None)
@given(steps)
def test_a_new_attempt_makes_the_segment_of_the_one_before_void(sequence: Steps):
    starts = [event for event in played(sequence).events if isinstance(event, AttemptStarted)]

    assert [event.attempt for event in starts] == list(range(1, len(starts) + 1))
    assert [event.dropped_segment for event in starts] == [
        None,
        *[event.segment for event in starts[:-1]],
    ]


@settings(max_examples=50, deadline=None)
@given(steps)
def test_no_more_attempts_fail_or_get_lost_than_are_allowed(sequence: Steps):
    run = played(sequence)

    spent = sum(
        event.counts if isinstance(event, AttemptStarted) else isinstance(event, AttemptFailed)
        for event in run.events
    )
    assert spent == run.execution.failures
    assert spent <= MAX_ATTEMPTS


@settings(max_examples=50, deadline=None)
@given(steps)
def test_each_attempt_is_one_work_item_of_its_own(sequence: Steps):
    run = played(sequence)

    starts = [event for event in run.events if isinstance(event, AttemptStarted)]
    assert run.work == [f"acme.e1.1.{event.attempt}" for event in starts]
    assert len(effects(run.execution)) == (run.execution.phase == "generating")


@settings(max_examples=50, deadline=None)
@given(steps)
def test_replaying_the_events_gives_the_same_state(sequence: Steps):
    run = played(sequence)

    replayed = reduce(evolve, run.events, None)

    assert replayed == run.state
    assert run.execution.revision == len(run.events)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_the_state_survives_a_snapshot(sequence: Steps):
    state = played(sequence).execution

    assert msgspec.json.decode(msgspec.json.encode(state), type=Execution) == state


@settings(max_examples=50, deadline=None)
@given(steps)
def test_an_ended_execution_comes_back_from_its_record_as_it_was(sequence: Steps):
    run = played([*sequence, (Cancel(reason="the end"), 0.0)])

    restored = restore("acme", record(run.execution))

    assert restored is not None
    assert record(restored) == record(run.execution)
    assert decide(restored, accept(), NOW) == decide(run.state, accept(), NOW)
    assert effects(restored) == ()
    assert due(restored) is None


@settings(max_examples=50, deadline=None)
@given(steps)
def test_the_end_read_from_a_record_is_the_one_that_was_published(sequence: Steps):
    run = played([*sequence, (Cancel(reason="the end"), 0.0)])
    [end] = [each.body for each in run.published if isinstance(each.body, TERMINAL_TYPES)]

    page = Streams(_expired).from_record(record(run.execution), ReadStream(execution_id="e1"))

    assert page.events == [end]


def test_usage_reported_after_the_end_does_not_change_the_end_read_from_the_record():
    run = accepted()
    run.take(Claim(step=1, attempt=1, lost=True))
    run.take(finish(2, output=7))
    run.take(finish(1, output=7))
    [end] = [each.body for each in run.published if isinstance(each.body, TERMINAL_TYPES)]
    stored = record(run.execution)

    page = Streams(_expired).from_record(stored, ReadStream(execution_id="e1"))

    assert (stored.usage, stored.usage_at_end) == (Usage(output=14), Usage(output=7))
    assert page.events == [end]


async def _expired(stream: str, subject: str, *, start: int = 1, limit: int) -> list[Stored]:
    raise AssertionError(f"{stream} {subject} {start} {limit}")


@settings(max_examples=50, deadline=None)
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


@settings(max_examples=50, deadline=None)
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


# Acceptance


def test_acceptance_begins_the_first_attempt_at_once():
    run = Run()

    decision = run.take(accept())

    assert decision.events[1:] == (AttemptStarted(step=1, attempt=1, segment=1, at=NOW),)
    assert run.execution.deadline == later(TIMEOUT)
    assert decision.reply == ExecutionHandle(
        execution_id="e1", stream="cb.acme.stream.e1", status="PENDING"
    )


def test_the_same_acceptance_twice_gives_the_same_execution():
    run = accepted()

    again = run.take(accept(), 5.0)

    assert again == Decision(
        reply=ExecutionHandle(execution_id="e1", stream="cb.acme.stream.e1", status="RUNNING")
    )


def test_another_request_under_the_same_id_is_a_conflict():
    decision = accepted().take(accept("other"))

    assert decision.events == ()
    assert isinstance(decision.reply, Problem)
    assert (decision.reply.code, decision.reply.field) == ("conflict", "id")


def test_an_event_before_acceptance_is_refused():
    with pytest.raises(ValueError, match="before acceptance"):
        evolve(None, ExecutionCompleted(segment=1, at=NOW))


# Claims


def test_an_item_that_waited_long_is_granted_to_one_worker():
    run = accepted()

    first = run.take(Claim(step=1, attempt=1, lost=False))
    second = run.take(Claim(step=1, attempt=1, lost=False))

    assert first == Decision((AttemptClaimed(step=1, attempt=1),), Granted())
    assert second == Decision(reply=Superseded(reason="another worker has begun it"))


def test_a_lost_worker_spends_an_attempt_and_redispatch_does_not():
    run = accepted()

    run.take(Claim(step=1, attempt=1, lost=True))
    after_loss = run.execution.failures
    run.take(redispatch(effects(run.execution)[0]))

    assert (after_loss, run.execution.failures, run.execution.attempt) == (1, 1, 3)


def test_when_workers_were_lost_too_often_the_execution_fails():
    run = accepted()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        run.take(Claim(step=1, attempt=attempt, lost=True))

    assert run.execution.status == "FAILED"
    assert run.execution.failures == MAX_ATTEMPTS
    assert isinstance(run.events[-1], ExecutionFailed)


# Results


def test_the_result_of_a_superseded_attempt_is_refused_and_its_usage_counts():
    run = accepted()
    run.take(Claim(step=1, attempt=1, lost=True))

    decision = run.take(finish(1, output=7))

    late = UsageSettled(step=1, attempt=1, usage=Usage(output=7))
    assert decision == Decision((late,), Settled(accepted=False))
    assert run.take(finish(1, output=7)) == Decision(reply=Settled(accepted=False))
    assert run.execution.usage == Usage(output=7)


def test_an_attempt_that_was_never_handed_out_settles_nothing():
    assert accepted().take(finish(9)) == Decision(reply=Settled(accepted=False))


def test_the_answer_ends_the_execution():
    run = accepted()

    decision = run.take(finish(1), 2.0)

    assert decision.reply == Settled(accepted=True)
    assert decision.events[1:] == (ExecutionCompleted(segment=2, at=later(2.0)),)
    assert (run.execution.status, record(run.execution).output) == ("COMPLETED", "answer 1")


# Failures and retries


@pytest.mark.parametrize("failures", [0, 1, 2, 5, 10])
def test_retries_wait_longer_each_time_within_bounds(failures: int):
    run = accepted(max_attempts=20)
    run.state = msgspec.structs.replace(run.execution, failures=failures, deadline=later(1000))

    run.take(fail(1))

    longest = min(STANDARD.first * 2**failures, STANDARD.longest)
    assert run.execution.retry_at is not None
    assert 0.75 * longest <= (run.execution.retry_at - NOW).total_seconds() <= longest


def test_a_provider_that_says_when_to_come_back_is_heeded():
    run = accepted()

    run.take(fail(1, msgspec.structs.replace(OVERLOADED, retry_after=12.0)))

    assert run.execution.retry_at == later(12.0)


@pytest.mark.parametrize("retry_after", [TIMEOUT, 1e6, 1e300])
def test_a_retry_past_the_deadline_is_no_retry(retry_after: float):
    run = accepted()

    run.take(fail(1, msgspec.structs.replace(OVERLOADED, retry_after=retry_after)))

    assert run.execution.status == "FAILED"


def test_a_failure_that_cannot_pass_ends_the_execution_at_once():
    run = accepted()

    run.take(fail(1, REFUSED))

    assert (run.execution.status, record(run.execution).error) == ("FAILED", REFUSED)


def test_the_retry_begins_when_it_is_due_and_not_before():
    run = accepted()
    run.take(fail(1, msgspec.structs.replace(OVERLOADED, retry_after=5.0)))

    early = run.take(Tick(), 4.9)
    in_time = run.take(Tick(), 0.1)

    assert early == Decision()
    assert [type(event) for event in in_time.events] == [AttemptStarted]
    assert (run.execution.attempt, run.execution.failures) == (2, 1)


# Time and cancellation


def test_an_execution_is_timed_out_at_its_deadline_and_not_before():
    run = accepted()

    early = run.take(Tick(), TIMEOUT - 0.001)
    run.take(Tick(), 0.001)

    assert early == Decision()
    assert run.events[-1] == ExecutionTimedOut(segment=2, at=later(TIMEOUT))
    assert record(run.execution).error == Problem(
        code="timeout", message="the execution did not end within 60 seconds"
    )


def test_cancelling_twice_ends_it_once():
    run = accepted()

    first = run.take(Cancel(reason="enough"))
    second = run.take(Cancel(reason="again"))

    assert first.reply == second.reply
    assert second.events == ()
    assert record(run.execution).error == Problem(code="cancelled", message="enough")
