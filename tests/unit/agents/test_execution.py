"""The execution, command by command."""

import msgspec
import pytest

from actors.agents.core.execution import evolve
from actors.agents.core.outward import record
from schemas.attempts import Attempts, WorkClaimed
from schemas.decision import Decision
from schemas.executions import ExecutionHandle
from schemas.fleet import StopWork
from schemas.lifecycle import (
    AttemptStarted,
    Cancel,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionTimedOut,
    Tick,
    UsageSettled,
)
from schemas.problems import Problem
from schemas.retry import STANDARD
from schemas.usage import Usage
from schemas.work import Claim, Granted, Lost, Settled, Superseded
from tests.unit.agents.runs import (
    MAX_ATTEMPTS,
    OVERLOADED,
    REFUSED,
    TIMEOUT,
    Run,
    accept,
    accepted,
    fail,
    finish,
)
from tests.unit.agents.samples import NOW, later

# Acceptance


def test_acceptance_begins_the_first_attempt_at_once():
    run = Run()

    decision = run.take(accept())

    assert decision.events[1:] == (AttemptStarted(work="1", attempt=1, segment=1, at=NOW),)
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

    first = run.take(Claim(work="1", attempt=1))
    second = run.take(Claim(work="1", attempt=1))

    assert first == Decision((WorkClaimed(work="1", attempt=1),), Granted())
    assert second == Decision(reply=Superseded(reason="another worker has begun it"))


def test_a_lost_worker_spends_an_attempt_and_redispatch_does_not():
    run = accepted()

    run.take(Lost(work="1", attempt=1, begun=True))
    after_loss = run.current.failures
    run.take(Lost(work="1", attempt=2))

    assert (after_loss, run.current.failures, run.current.attempt) == (1, 1, 3)


def test_whoever_has_an_attempt_that_another_replaces_is_told_to_stop():
    run = accepted()

    run.take(Lost(work="1", attempt=1, begun=True))
    run.take(Lost(work="1", attempt=2))
    run.take(fail(3, OVERLOADED))
    run.take(Tick(), 60.0)

    stopped = [each.body for each in run.published if isinstance(each.body, StopWork)]
    assert stopped == [StopWork(item=f"execution.acme.e1.1.{attempt}") for attempt in (1, 2)]


def test_when_workers_were_lost_too_often_the_execution_fails():
    run = accepted()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        run.take(Lost(work="1", attempt=attempt, begun=True))

    assert run.execution.status == "FAILED"
    assert run.current.failures == MAX_ATTEMPTS
    assert isinstance(run.events[-1], ExecutionFailed)


# Results


def test_the_result_of_a_superseded_attempt_is_refused_and_its_usage_counts():
    run = accepted()
    run.take(Lost(work="1", attempt=1, begun=True))

    decision = run.take(finish(1, output=7))

    late = UsageSettled(work="1", attempt=1, usage=Usage(output=7), started_at=NOW)
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
    known = msgspec.structs.replace(run.current, failures=failures)
    attempts = Attempts(works=({"1": known},))
    run.state = msgspec.structs.replace(run.execution, attempts=attempts, deadline=later(1000))

    run.take(fail(1))

    longest = min(STANDARD.first * 2**failures, STANDARD.longest)
    assert run.current.retry_at is not None
    assert 0.75 * longest <= (run.current.retry_at - NOW).total_seconds() <= longest


def test_a_provider_that_says_when_to_come_back_is_heeded():
    run = accepted()

    run.take(fail(1, msgspec.structs.replace(OVERLOADED, retry_after=12.0)))

    assert run.current.retry_at == later(12.0)


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
    assert (run.current.attempt, run.current.failures) == (2, 1)


# Time and cancellation


@pytest.mark.parametrize(("left", "ends"), [(0.5, ExecutionTimedOut), (5.0, ExecutionFailed)])
def test_an_execution_whose_worker_finds_its_time_over_is_timed_out(
    left: float, ends: type[ExecutionTimedOut | ExecutionFailed]
):
    run = accepted()
    silent = Problem(code="timeout", message="no answer")

    decision = run.take(fail(1, silent), TIMEOUT - left)

    assert type(decision.events[-1]) is ends


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
