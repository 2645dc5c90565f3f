"""What the owner of an execution decides on each command. Repeats are harmless."""

from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from actors.agents.core.execution import evolve, has_ended, spent_by
from actors.agents.core.folding import folded
from actors.agents.core.keeping import is_gone
from actors.agents.core.outward import record, stream_of
from actors.agents.core.prompts import lacking
from actors.agents.core.state import FIRST_STEP, Execution, end_of
from actors.agents.core.tool_rounds import (
    answered,
    by_person,
    called_alone,
    on_child,
    on_work,
)
from actors.agents.core.tool_rounds import tick as tick_tools
from actors.agents.core.tool_state import is_call
from schemas.attempts import (
    Attempt,
    Rules,
    WorkFailed,
    WorkStarted,
    again,
    claim,
    fail,
    may_fail_again,
    replace,
)
from schemas.beginnings import HasBegun
from schemas.bills import AccountAnswered, Bill
from schemas.callbacks import (
    CallbackAnswered,
    CalledBack,
    Ended,
    Inquire,
    Pending,
    WaitAnswered,
)
from schemas.decision import Decision, refuse
from schemas.executions import ExecutionHandle, ExecutionStatus
from schemas.lifecycle import (
    NOTHING_SENT,
    Accept,
    Accepted,
    AttemptFailed,
    AttemptStarted,
    Cancel,
    Decide,
    Delete,
    ExecutionCancelled,
    ExecutionCommand,
    ExecutionCompleted,
    ExecutionDeleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    FailGeneration,
    FinishGeneration,
    Forgotten,
    GenerationFinished,
    Look,
    Looked,
    Origin,
    Tick,
    UsageSettled,
)
from schemas.problems import Problem
from schemas.spend import HoldVoided, ReserveAsked, book, refuse_reserve, tick
from schemas.tools import FinishTool
from schemas.usage import Usage
from schemas.work import Claim, Lost, Settled, Stopped, WorkFailure

LONG_WAIT = timedelta(seconds=5)
"""A wait for money that is told on the stream, however many there were before it."""

CLOCK_ERROR = timedelta(seconds=1)
"""So long before it is over by its owner's clock an execution's time may be over by a worker's."""


def decide(state: Execution | None, command: ExecutionCommand, now: datetime) -> Decision:
    """Decide on one command; ``now`` is the owner's journalled clock."""
    if isinstance(command, Accept):
        return _accept(state, command, now)
    if state is None:
        return refuse(_unknown())
    match command:
        case FinishGeneration():
            return _finish(state, command, now)
        case Claim() | Lost() | WorkFailure() | Stopped() | FinishTool() | HasBegun():
            return _on_work(state, command, now)
        case Ended() | WaitAnswered():
            return on_child(state, command, now)
        case AccountAnswered():
            return _account_answered(state, command, now)
        case CallbackAnswered():
            return Decision((CalledBack(problem=command.problem),) if state.end else ())
        case Inquire():
            return Decision(reply=end_of(state) if state.phase == "ended" else Pending())
        case Cancel() | Delete() | Look() | Decide():
            return _by_user(state, command, now)
        case Tick():
            return _tick(state, now)
        case _:
            assert_never(command)


def _by_user(state: Execution, command: Cancel | Delete | Look | Decide, now: datetime) -> Decision:
    """Decide on what a user asks of an execution, as long as there is one for users."""
    if is_gone(state, now):
        return refuse(_unknown())
    match command:
        case Cancel():
            return _cancel(state, command, now)
        case Decide():
            return by_person(state, command, now, _handle)
        case Delete():
            return _delete(state, now)
        case Look():
            return Decision(reply=Looked(record=record(state), prompt=lacking(state)))


def _on_work(
    state: Execution,
    command: Claim | Lost | FailGeneration | FinishTool | HasBegun | WorkFailure | Stopped,
    now: datetime,
) -> Decision:
    """Decide on what a worker or the bus says of an attempt that brought no answer."""
    if isinstance(command, Claim):
        return claim(state.attempts, command)
    if is_call(command.work):
        return on_work(state, command, now)
    match command:
        case Lost() | Stopped():
            return _replace(state, command, now)
        case FailGeneration():
            return _fail(state, command, now)
        case WorkFailure():
            return _fail(state, _told(command, now), now)
        case FinishTool() | HasBegun():
            return Decision(reply=Settled(accepted=False))


def _accept(state: Execution | None, command: Accept, now: datetime) -> Decision:
    if state is not None and is_gone(state, now):
        return refuse(_conflict(state, "was there before and is forgotten"))
    if state is not None:
        same = state.origin.digest == command.origin.digest
        refusal = _conflict(state, "exists with another request")
        return Decision(reply=_handle(state)) if same else refuse(refusal)
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
        reply_to=command.reply_to,
        prompt=command.prompt,
        tools=command.tools,
    )
    handle = _handle_of(command.origin, "PENDING")
    if command.origin.kind == "tool":
        called = called_alone(evolve(None, accepted), now)
        return Decision((accepted, *called), handle)
    return Decision((accepted, begin(accepted)), handle)


def begin(accepted: Accepted) -> ReserveAsked | AttemptStarted:
    """Start the first step of an accepted execution, or ask for leave to."""
    if accepted.spending is not None:
        return ReserveAsked(work=FIRST_STEP, attempt=1, asked=1, at=accepted.at)
    return AttemptStarted(work=FIRST_STEP, attempt=1, segment=1, at=accepted.at)


def _account_answered(state: Execution, command: AccountAnswered, now: datetime) -> Decision:
    """Start the attempt that was waited for, put it off, or close a bill."""
    bill = state.spend.asked(command)
    if bill is None:
        return Decision()
    if command.what != "reserve":
        return Decision((book(bill, command.problem, now),))
    if command.problem is not None:
        return _refused(state, bill, command.problem, now)
    reason = (state.why or "restarted") if state.segment else None
    plain = WorkStarted(work=bill.work, attempt=bill.attempt, at=now, reason=reason)
    return Decision((_started(state, plain, place=state.place, held=True),))


def _refused(state: Execution, bill: Bill, problem: Problem, now: datetime) -> Decision:
    """Wait until the hold may be granted, or end."""
    refused = refuse_reserve(state.spend, bill, problem, now, state.deadline)
    if refused.retry_at is None:
        return Decision((refused, _failed(state, _with_cure(state, problem), now)))
    # An account may be asked many times a second: only the first wait and long ones are told.
    if bill.asked == 1 or refused.retry_at - now >= LONG_WAIT:
        refused = msgspec.structs.replace(refused, notice_segment=state.next_segment)
    return Decision((refused,))


def _with_cure(state: Execution, problem: Problem) -> Problem:
    """Say of a refused reservation whether it is that large for want of a bound."""
    spending = state.spend.spending
    if problem.code != "budget_exceeded" or spending is None or spending.assumed_tokens is None:
        return problem
    message = f"{problem.message}; set max_tokens ({spending.assumed_tokens:,} assumed)"
    return msgspec.structs.replace(problem, message=message)


def _replace(state: Execution, command: Lost | Stopped, now: datetime) -> Decision:
    """Make another attempt of one that nobody has any more, or end the execution."""
    decided = replace(state.attempts, command, now, _rules(state))
    is_report = isinstance(command, Stopped)
    reply = Settled(accepted=bool(decided.events)) if is_report else decided.reply
    match decided.events:
        case (WorkStarted() as anew,):
            return Decision((_next_attempt(state, anew),), reply)
        case (WorkFailed() as lost,):
            failed = AttemptFailed(
                work=lost.work, attempt=lost.attempt, problem=lost.problem, at=now
            )
            return Decision((failed, _failed(state, lost.problem, now)), reply)
        case _:
            return Decision(reply=reply)


def _finish(state: Execution, command: FinishGeneration, now: datetime) -> Decision:
    if not state.attempts.is_current(command.work, command.attempt):
        spent = spent_by(command.answer, command.detours)
        return _settle_late(state, command, spent, now)
    finished = GenerationFinished(
        work=command.work,
        attempt=command.attempt,
        answer=command.answer,
        deltas=command.deltas,
        started_at=command.started_at,
        at=now,
        place=command.place,
        detours=command.detours,
        findings=command.findings,
        charges=command.charges,
        prompt=command.prompt,
    )
    return Decision((finished, *_concluded(state, finished, now)), Settled(accepted=True))


def _concluded(
    state: Execution, finished: GenerationFinished, now: datetime
) -> tuple[ExecutionEvent, ...]:
    """End the execution with the answer of its step, unless that calls tools."""
    if state.tools is not None and finished.answer.tool_calls:
        return answered(evolve(state, finished), finished.answer, now)
    return (ExecutionCompleted(segment=state.next_segment, at=now),)


def _told(command: WorkFailure, now: datetime) -> FailGeneration:
    """Return the report of a worker that could not even begin to generate, or broke."""
    return FailGeneration(
        work=command.work,
        attempt=command.attempt,
        problem=command.problem,
        sent=command.sent,
        deltas=NOTHING_SENT,
        started_at=now,
    )


def _fail(state: Execution, command: FailGeneration, now: datetime) -> Decision:
    if not state.attempts.is_current(command.work, command.attempt):
        return _settle_late(state, command, command.usage, now)
    plain = fail(state.attempts, command, now, _rules(state))
    elsewhere = command.next_place is not None and _may_fail_again(state)
    retry_at = None if command.final and not plain.avoid else plain.retry_at
    waits = retry_at is not None and retry_at > now and not elsewhere
    failed = AttemptFailed(
        work=command.work,
        attempt=command.attempt,
        problem=command.problem,
        at=now,
        usage=command.usage,
        retry_at=now if elsewhere else retry_at,
        detours=command.detours,
        findings=command.findings,
        charges=command.charges,
        started_at=command.started_at,
        notice_segment=state.next_segment if waits else None,
        avoid=plain.avoid,
    )
    place = command.next_place if elsewhere else None
    return Decision((failed, *_after_failure(state, failed, place)), Settled(accepted=True))


def _after_failure(
    state: Execution, failed: AttemptFailed, place: int | None
) -> tuple[ExecutionEvent, ...]:
    """Go on at another place at once, wait for the next attempt, or end.

    A worker may find before the owner's timer rings that the execution's time is over.
    """
    if failed.retry_at is not None and place is None:
        return ()
    if failed.problem.code == "timeout" and state.deadline - failed.at <= CLOCK_ERROR:
        return (ExecutionTimedOut(segment=state.next_segment, at=failed.at),)
    if place is None:
        return (_failed(state, failed.problem, failed.at),)
    anew = WorkStarted(
        work=failed.work, attempt=failed.attempt + 1, at=failed.at, reason=failed.problem.code
    )
    return (msgspec.structs.replace(_next_attempt(state, anew), place=place),)


def _may_fail_again(state: Execution) -> bool:
    current = state.current
    return current is not None and may_fail_again(current, _rules(state))


def _settle_late(
    state: Execution,
    command: FinishGeneration | FailGeneration,
    usage: Usage | None,
    now: datetime,
) -> Decision:
    """Refuse the result of an attempt that counts no more, but count what it spent: once."""
    work, attempt = command.work, command.attempt
    if usage is None or not state.attempts.may_settle(work, attempt):
        return _release(state, command, now)
    late = UsageSettled(
        work=work,
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
    work, attempt = command.work, command.attempt
    bill = state.spend.of(work, attempt)
    if bill is None or bill.phase != "held" or command.charges is None:
        return Decision(reply=Settled(accepted=False))
    return Decision((HoldVoided(work=work, attempt=attempt, at=now),), Settled(accepted=False))


def _cancel(state: Execution, command: Cancel, now: datetime) -> Decision:
    if state.phase == "ended":
        return Decision(reply=_handle(state))
    cancelled = ExecutionCancelled(segment=state.next_segment, at=now, reason=command.reason)
    return Decision((cancelled,), _handle(evolve(state, cancelled)))


def _delete(state: Execution, now: datetime) -> Decision:
    if not has_ended(state):
        message = "it has not ended: cancel it first, or ask again when it is paid"
        return refuse(Problem(code="conflict", message=message, field="execution_id"))
    forgotten = Forgotten(agent_id=state.origin.agent_id, session=state.origin.session)
    return Decision((ExecutionDeleted(at=now),), forgotten)


def _tick(state: Execution, now: datetime) -> Decision:
    billed = tuple(tick(state.spend, state.ended_at, now))
    return Decision((*billed, *_timed(state, now).events))


def _timed(state: Execution, now: datetime) -> Decision:
    if state.phase == "ended":
        return Decision()
    waits = state.tools is not None and bool(state.tools.asking)
    if now >= state.deadline and not waits:
        return Decision((ExecutionTimedOut(segment=state.next_segment, at=now),))
    if state.tools is not None and (called := tick_tools(state, now)):
        return Decision(called)
    current = state.current
    if current is None or current.retry_at is None or now < current.retry_at:
        return Decision()
    if current.phase == "planned":
        return Decision((_asked_again(state, current, now),))
    reason = state.problem.code if state.problem else "failed"
    anew = again(state.attempts, now, reason)
    return Decision(tuple(_next_attempt(state, each) for each in anew))


def _asked_again(state: Execution, current: Attempt, now: datetime) -> ReserveAsked:
    """Ask once more for the hold of the same attempt."""
    bill = state.spend.of(state.step, current.attempt)
    return ReserveAsked(
        work=state.step,
        attempt=current.attempt,
        asked=1 if bill is None else bill.asked + 1,
        at=now,
        reason=state.why,
        place=state.place,
    )


def _next_attempt(state: Execution, anew: WorkStarted) -> AttemptStarted | ReserveAsked:
    """Start another attempt, or ask for leave to."""
    if state.spend.spending is None:
        return _started(state, anew)
    return ReserveAsked(
        work=anew.work,
        attempt=anew.attempt,
        asked=1,
        at=anew.at,
        reason=anew.reason,
        counts=anew.counts,
    )


def _started(
    state: Execution, plain: WorkStarted, *, place: int = 0, held: bool = False
) -> AttemptStarted:
    """Give an attempt its segment, and make that of the attempt before void."""
    first = state.next_segment if state.segment == 0 else state.next_segment + 1
    return AttemptStarted(
        work=plain.work,
        attempt=plain.attempt,
        segment=first,
        at=plain.at,
        reason=plain.reason,
        dropped_segment=state.segment or None,
        notice_segment=state.next_segment if state.segment else None,
        counts=plain.counts,
        place=place,
        held=held,
    )


def failing(state: Execution, problem: Problem, now: datetime) -> tuple[ExecutionFailed, ...]:
    """Return the event that ends an execution of which nothing more can be read."""
    return () if state.phase == "ended" else (_failed(state, problem, now),)


def _failed(state: Execution, problem: Problem, now: datetime) -> ExecutionFailed:
    return ExecutionFailed(segment=state.next_segment, at=now, problem=problem)


def _rules(state: Execution) -> Rules:
    origin = state.origin
    return Rules(most=origin.max_attempts, deadline=state.deadline, seed=origin.execution_id)


def _handle(state: Execution) -> ExecutionHandle:
    return _handle_of(state.origin, state.status)


def _handle_of(origin: Origin, status: ExecutionStatus) -> ExecutionHandle:
    return ExecutionHandle(
        execution_id=origin.execution_id, stream=stream_of(origin), status=status
    )


def _unknown() -> Problem:
    return Problem(code="not_found", message="there is no such execution", field="execution_id")


def _conflict(state: Execution, why: str) -> Problem:
    message = f"execution {state.origin.execution_id} {why}"
    return Problem(code="conflict", message=message, field="id")
