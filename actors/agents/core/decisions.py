"""What the owner of an execution decides on each command. Repeats are harmless."""

import zlib
from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from actors.agents.core.dues import is_unanswered, next_try, waits_until
from actors.agents.core.execution import Execution, evolve, spent_by
from actors.agents.core.folding import folded
from actors.agents.core.outward import record, stream_subject
from schemas.decision import Decision, refuse
from schemas.executions import ExecutionHandle
from schemas.lifecycle import (
    Accept,
    Accepted,
    AttemptClaimed,
    AttemptFailed,
    AttemptStarted,
    Cancel,
    Claim,
    DueAnswered,
    DueAskedAgain,
    DueMet,
    DueRefused,
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
    HoldReleased,
    Look,
    Redispatch,
    ReserveAnswered,
    ReserveAsked,
    ReserveRefused,
    Settled,
    Superseded,
    Tick,
    UsageSettled,
)
from schemas.problems import Problem
from schemas.retry import delay
from schemas.usage import Usage

LEAST_WAIT_SECONDS = 0.1
"""An account that is asked again must have had the time to change its mind."""

CLOCK_ERROR = timedelta(seconds=1)
"""So long before it is over by its owner's clock an execution's time may be over by a worker's."""


def decide(state: Execution | None, command: ExecutionCommand, now: datetime) -> Decision:
    """Decide on one command; ``now`` is the owner's journalled clock."""
    if isinstance(command, Accept):
        return _accept(state, command, now)
    if state is None:
        return refuse(_unknown())
    match command:
        case Claim():
            return _claim(state, command, now)
        case FinishGeneration():
            return _finish(state, command, now)
        case FailGeneration():
            return _fail(state, command, now)
        case ReserveAnswered():
            return _reserve_answered(state, command, now)
        case DueAnswered():
            return _due_answered(state, command, now)
        case Redispatch():
            return _redispatch(state, command, now)
        case Cancel():
            return _cancel(state, command, now)
        case Look():
            return Decision(reply=record(state))
        case Tick():
            return _tick(state, now)
        case _:
            assert_never(command)


def _accept(state: Execution | None, command: Accept, now: datetime) -> Decision:
    if state is not None:
        same = state.origin.digest == command.origin.digest
        return Decision(reply=_handle(state)) if same else refuse(_conflict(state))
    deadline = now + timedelta(seconds=command.timeout_seconds)
    origin, task_at = folded(command.origin, command.request)
    accepted = Accepted(
        origin=origin,
        request=command.request,
        at=now,
        deadline=deadline,
        policy=command.policy,
        spending=command.spending,
        task_at=task_at,
    )
    born = evolve(None, accepted)
    return Decision((accepted, *begin(born, now)), _handle(born))


def begin(state: Execution, now: datetime) -> tuple[ExecutionEvent, ...]:
    """Start the first step of an accepted execution, or ask for leave to."""
    if state.spending is not None:
        return (ReserveAsked(step=state.step, attempt=1, asked=1, at=now),)
    return (AttemptStarted(step=state.step, attempt=1, segment=state.next_segment, at=now),)


def _reserve_answered(state: Execution, command: ReserveAnswered, now: datetime) -> Decision:
    asked = (state.step, state.attempt, state.reserves)
    if state.phase != "reserving" or asked != (command.step, command.attempt, command.asked):
        return Decision()
    if command.problem is not None:
        return _refused(state, command.problem, now)
    if state.segment == 0:
        started = AttemptStarted(
            step=state.step, attempt=state.attempt, segment=state.next_segment, at=now
        )
    else:
        started = _another(state, state.attempt, now, state.why or "restarted", counts=0)
    return Decision((msgspec.structs.replace(started, place=state.place, held=True),))


def _refused(state: Execution, problem: Problem, now: datetime) -> Decision:
    """Wait until leave may be granted, where the execution waits and has the time; or end.

    One that is neither granted nor refused (``unavailable``) is waited for by all.
    """
    retry_at = None
    waits = problem.code == "unavailable" or (state.spending is not None and state.spending.waits)
    if waits and problem.retry_after is not None:
        retry_at = now + timedelta(seconds=max(problem.retry_after, LEAST_WAIT_SECONDS))
    if retry_at is not None and retry_at >= state.deadline:
        retry_at = None
    refused = ReserveRefused(
        step=state.step, attempt=state.attempt, problem=problem, at=now, retry_at=retry_at
    )
    return Decision((refused,) if retry_at else (refused, _failed(state, problem, now)))


def _due_answered(state: Execution, command: DueAnswered, now: datetime) -> Decision:
    """Close what was due; what the account could not book is asked again some times."""
    due = next((each for each in state.dues if each.ask == command.ask), None)
    if due is None or due.retry_at is not None:
        return Decision()
    if command.problem is None:
        return Decision((DueMet(ask=due.ask),))
    retry_at = next_try(due, command.problem, now)
    return Decision((DueRefused(ask=due.ask, problem=command.problem, at=now, retry_at=retry_at),))


def _claim(state: Execution, command: Claim, now: datetime) -> Decision:
    if not _is_current(state, command.step, command.attempt):
        return Decision(reply=Superseded(reason=state.status))
    if command.lost:
        return _replace_lost(state, now)
    if state.claimed:
        return Decision(reply=Superseded(reason="another worker has begun it"))
    return Decision((AttemptClaimed(step=command.step, attempt=command.attempt),), Granted())


def _replace_lost(state: Execution, now: datetime) -> Decision:
    if state.failures + 1 >= state.origin.max_attempts:
        failed = AttemptFailed(
            step=state.step, attempt=state.attempt, problem=_worker_lost(), at=now
        )
        return Decision(
            (failed, _failed(state, _worker_lost(), now)), Superseded(reason="attempts are spent")
        )
    again = _next_attempt(state, now, "its worker fell silent", counts=1)
    return Decision((again,), Superseded(reason="replaced by a new attempt"))


def _finish(state: Execution, command: FinishGeneration, now: datetime) -> Decision:
    if not _is_current(state, command.step, command.attempt):
        spent = spent_by(command.answer, command.detours)
        return _settle_late(state, command, spent, now)
    finished = GenerationFinished(
        step=command.step,
        attempt=command.attempt,
        answer=command.answer,
        deltas=command.deltas,
        started_at=command.started_at,
        at=now,
        place=command.place,
        detours=command.detours,
        findings=command.findings,
        charges=command.charges,
    )
    return Decision((finished, *conclude(state, now)), Settled(accepted=True))


def conclude(state: Execution, now: datetime) -> tuple[ExecutionEvent, ...]:
    """End the execution with the answer of its step."""
    return (ExecutionCompleted(segment=state.next_segment, at=now),)


def _fail(state: Execution, command: FailGeneration, now: datetime) -> Decision:
    if not _is_current(state, command.step, command.attempt):
        return _settle_late(state, command, command.usage, now)
    elsewhere = command.next_place is not None and _may_fail_again(state)
    retry_at = None if elsewhere else _retry_at(state, command.problem, now)
    failed = AttemptFailed(
        step=command.step,
        attempt=command.attempt,
        problem=command.problem,
        at=now,
        usage=command.usage,
        retry_at=retry_at,
        detours=command.detours,
        findings=command.findings,
        charges=command.charges,
        started_at=command.started_at,
    )
    return Decision((failed, *_after_failure(state, command, failed)), Settled(accepted=True))


def _after_failure(
    state: Execution, command: FailGeneration, failed: AttemptFailed
) -> tuple[ExecutionEvent, ...]:
    """Go on elsewhere at once, wait for the next attempt, or end.

    A worker may find before the owner's timer rings that the execution's time is over.
    """
    if failed.retry_at is not None:
        return ()
    if command.problem.code == "timeout" and state.deadline - failed.at <= CLOCK_ERROR:
        return (ExecutionTimedOut(segment=state.next_segment, at=failed.at),)
    if command.next_place is None or not _may_fail_again(state):
        return (_failed(state, command.problem, failed.at),)
    again = _next_attempt(state, failed.at, command.problem.code, counts=0)
    return (msgspec.structs.replace(again, place=command.next_place),)


def _may_fail_again(state: Execution) -> bool:
    return state.failures + 1 < state.origin.max_attempts


def _settle_late(
    state: Execution,
    command: FinishGeneration | FailGeneration,
    usage: Usage | None,
    now: datetime,
) -> Decision:
    """Refuse the result of an attempt that counts no more, but count what it spent: once."""
    step, attempt = command.step, command.attempt
    known = (step, attempt) in state.settled or (step, attempt) > (state.step, state.attempt)
    if usage is None or known:
        return _release(state, command, now)
    late = UsageSettled(
        step=step,
        attempt=attempt,
        usage=usage,
        detours=command.detours,
        charges=command.charges,
        decided_at=command.decided_at,
        started_at=command.started_at,
    )
    return Decision((late,), Settled(accepted=False))


def _release(
    state: Execution, command: FinishGeneration | FailGeneration, now: datetime
) -> Decision:
    """Let go of what is held for an attempt that has spent nothing."""
    step, attempt = command.step, command.attempt
    is_held = any((hold.step, hold.attempt) == (step, attempt) for hold in state.holds)
    if not is_held or command.charges is None:
        return Decision(reply=Settled(accepted=False))
    return Decision((HoldReleased(step=step, attempt=attempt, at=now),), Settled(accepted=False))


def _redispatch(state: Execution, command: Redispatch, now: datetime) -> Decision:
    if not _is_current(state, command.step, command.attempt):
        return Decision(reply=Superseded(reason=state.status))
    again = _next_attempt(state, now, "the bus lost its work item", counts=0)
    return Decision((again,), Superseded(reason="replaced by a new attempt"))


def _cancel(state: Execution, command: Cancel, now: datetime) -> Decision:
    if state.phase == "ended":
        return Decision(reply=_handle(state))
    cancelled = ExecutionCancelled(segment=state.next_segment, at=now, reason=command.reason)
    return Decision((cancelled,), _handle(evolve(state, cancelled)))


def _tick(state: Execution, now: datetime) -> Decision:
    again = tuple(
        DueAskedAgain(ask=due.ask)
        for due in state.dues
        if due.retry_at is not None and due.retry_at <= now
    )
    return Decision((*again, *_timed(state, now).events))


def _timed(state: Execution, now: datetime) -> Decision:
    if state.phase == "ended":
        return Decision(_handed_over(state, now))
    if now >= state.deadline:
        return Decision((ExecutionTimedOut(segment=state.next_segment, at=now),))
    if state.retry_at is not None and now >= state.retry_at:
        reason = state.problem.code if state.problem else "failed"
        if state.reserves:
            return Decision((_asked_again(state, now),))
        return Decision((_next_attempt(state, now, reason, counts=0),))
    return Decision()


def _handed_over(state: Execution, now: datetime) -> tuple[DueMet, ...]:
    """Hand over the bills of an ended execution that have waited for long enough."""
    until = waits_until(state.dues, state.ended_at)
    if until is None or now < until:
        return ()
    return tuple(DueMet(ask=due.ask, handed_over=True) for due in state.dues if is_unanswered(due))


def _asked_again(state: Execution, now: datetime) -> ReserveAsked:
    """Ask once more for leave to make the same attempt."""
    return ReserveAsked(
        step=state.step,
        attempt=state.attempt,
        asked=state.reserves + 1,
        at=now,
        reason=state.why,
        place=state.place,
    )


def _next_attempt(
    state: Execution, now: datetime, reason: str, counts: int
) -> AttemptStarted | ReserveAsked:
    """Start another attempt, or ask for leave to."""
    attempt = state.attempt + 1
    if state.spending is None:
        return _another(state, attempt, now, reason, counts)
    return ReserveAsked(
        step=state.step, attempt=attempt, asked=1, at=now, reason=reason, counts=counts
    )


def _another(
    state: Execution, attempt: int, now: datetime, reason: str, counts: int
) -> AttemptStarted:
    return AttemptStarted(
        step=state.step,
        attempt=attempt,
        segment=state.next_segment + 1,
        at=now,
        reason=reason,
        dropped_segment=state.segment,
        notice_segment=state.next_segment,
        counts=counts,
    )


def failing(state: Execution, problem: Problem, now: datetime) -> tuple[ExecutionFailed, ...]:
    """Return the event that ends an execution of which nothing more can be read."""
    return () if state.phase == "ended" else (_failed(state, problem, now),)


def _failed(state: Execution, problem: Problem, now: datetime) -> ExecutionFailed:
    return ExecutionFailed(segment=state.next_segment, at=now, problem=problem)


def _retry_at(state: Execution, problem: Problem, now: datetime) -> datetime | None:
    if not _may_fail_again(state):
        return None
    seconds = delay(problem, failures=state.failures, jitter=_jitter(state))
    if seconds is None or seconds >= (state.deadline - now).total_seconds():
        return None
    return now + timedelta(seconds=seconds)


def _jitter(state: Execution) -> float:
    """Return a number from 0 to 1 that is the same for the same attempt."""
    return (zlib.crc32(f"{state.origin.execution_id}.{state.attempt}".encode()) % 256) / 256


def _is_current(state: Execution, step: int, attempt: int) -> bool:
    return state.phase == "generating" and (state.step, state.attempt) == (step, attempt)


def _handle(state: Execution) -> ExecutionHandle:
    return ExecutionHandle(
        execution_id=state.origin.execution_id, stream=stream_subject(state), status=state.status
    )


def _unknown() -> Problem:
    return Problem(code="not_found", message="there is no such execution", field="execution_id")


def _conflict(state: Execution) -> Problem:
    return Problem(
        code="conflict",
        message=f"execution {state.origin.execution_id} exists with another request",
        field="id",
    )


def _worker_lost() -> Problem:
    return Problem(
        code="provider_error",
        message="the workers that generated the answer were lost again and again",
    )
