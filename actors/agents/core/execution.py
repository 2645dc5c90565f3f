"""How the events of an execution change its state, which ``core.state`` describes. Pure."""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import add
from typing import assert_never

import msgspec

from actors.agents.core.folding import unfolded
from actors.agents.core.state import (
    FIRST_STEP,
    NOTHING_SPENT,
    Asked,
    Execution,
    with_callback,
)
from actors.agents.core.sums import added, found
from actors.agents.core.tool_state import ToolRounds, alone, answer_of
from actors.agents.core.tool_waits import attempted, waiting
from schemas.attempts import Attempts, OutcomeLearned, WorkClaimed
from schemas.bills import grown
from schemas.bodies import BodyReference
from schemas.callbacks import (
    CalledBack,
    WaitChange,
    WaitLooked,
    WaitOver,
    WaitPending,
    WaitStopped,
)
from schemas.executions import ExecutionStatus, LogEntry
from schemas.lifecycle import (
    NO_POLICY,
    Accepted,
    AttemptFailed,
    AttemptStarted,
    ChangeEvent,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionDeleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    ToolBegan,
    ToolDecided,
    ToolEvent,
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolsCalled,
    ToolStarted,
    UsageSettled,
)
from schemas.llm import Answer, GenerateRequest, ToolRequest
from schemas.policy import Detour
from schemas.problems import Problem
from schemas.spend import (
    BillBooked,
    BillRefused,
    BillRetried,
    HoldVoided,
    ReserveAsked,
    ReserveRefused,
    Spend,
)
from schemas.usage import Usage

TerminalEvent = ExecutionCompleted | ExecutionFailed | ExecutionCancelled | ExecutionTimedOut

MAX_LOG_ENTRIES = 100


def evolve(state: Execution | None, event: ExecutionEvent) -> Execution:
    """Apply one journalled event. The first is ``Accepted``, and only the first.

    Raises:
        ValueError: an event precedes acceptance.
    """
    if isinstance(event, Accepted):
        return _accepted(event)
    if state is None:
        message = f"{type(event).__name__} before acceptance"
        raise ValueError(message)
    applied = _apply(state, event)
    if applied.deleted_at is not None:
        applied = _tombstone(applied)
    if applied is state:
        return msgspec.structs.replace(state, revision=state.revision + 1)
    # Nobody else has it yet, and another copy would cost as much as to apply the event.
    msgspec.structs.force_setattr(applied, "revision", state.revision + 1)
    return applied


def due(state: Execution) -> datetime | None:
    """Return when the execution must be looked at next without a command."""
    billed = state.spend.due(state.ended_at)
    if state.ended_at is not None:
        return billed
    looks = state.waits.due() if state.waits.times else None
    moments = (state.attempts.due(), billed, looks, *_own_due(state))
    return min((each for each in moments if each is not None), default=None)


def _own_due(state: Execution) -> tuple[datetime | None, ...]:
    """Return the deadline, which waits while a person is asked, and when calls are due."""
    rounds = state.tools
    if rounds is None or not rounds.calls:
        return (state.deadline,)
    called = rounds.due(state.deadline)
    return (called,) if rounds.asking else (state.deadline, called)


def spent_by(answer: Answer, detours: Iterable[Detour]) -> Usage:
    """Return what an attempt has used: its answer, and the calls that failed before it."""
    return reduce(add, (each.usage for each in detours if each.usage), answer.usage)


def has_ended(state: Execution) -> bool:
    """Say whether nothing but late usage can change the execution any more."""
    return state.ended_at is not None and state.spend.rests


def _apply(state: Execution, event: ChangeEvent) -> Execution:
    match event:
        case ReserveAsked():
            return _reserve_asked(state, event)
        case ReserveRefused():
            return _reserve_refused(state, event)
        case AttemptStarted():
            return _attempt_started(state, event)
        case WorkClaimed():
            return msgspec.structs.replace(state, attempts=state.attempts.apply(event))
        case AttemptFailed():
            return _attempt_failed(state, event)
        case GenerationFinished():
            return _generation_finished(state, event)
        case UsageSettled():
            return _usage_settled(state, event)
        case HoldVoided() | BillBooked() | BillRefused() | BillRetried():
            return msgspec.structs.replace(state, spend=state.spend.apply(event))
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            return with_callback(_concluded(state, event))
        case _:
            return _apply_other(state, event)


def _apply_other(
    state: Execution, event: ToolEvent | WaitChange | CalledBack | ExecutionDeleted
) -> Execution:
    match event:
        case CalledBack():
            return msgspec.structs.replace(state, reply_to=None, end=None)
        case ExecutionDeleted():
            return msgspec.structs.replace(state, deleted_at=event.at)
        case WaitPending() | WaitLooked() | WaitStopped() | WaitOver():
            return msgspec.structs.replace(state, waits=state.waits.apply(event))
        case (
            ToolsCalled()
            | ToolStarted()
            | ToolBegan()
            | ToolFinished()
            | ToolFailed()
            | ToolRefused()
            | ToolDecided()
            | OutcomeLearned()
        ):
            return _tools_changed(state, event)
        case _:
            assert_never(event)


def _accepted(event: Accepted) -> Execution:
    request = event.request
    return Execution(
        answer=alone(request) if isinstance(request, ToolRequest) else None,
        origin=unfolded(event.origin, event.request, event.task_at),
        request=event.request,
        policy=event.policy,
        prompt=event.prompt,
        spend=NOTHING_SPENT if event.spending is None else Spend(spending=event.spending),
        accepted_at=event.at,
        deadline=event.deadline,
        step=FIRST_STEP,
        revision=1,
        logs=(LogEntry(at=event.at, message="accepted"),),
        reply_to=event.reply_to,
        tools=None if event.tools is None else ToolRounds(plan=event.tools),
    )


def _stepped(state: Execution, step: str) -> Execution:
    """Return the state in which an attempt at a step is decided: the step before it is closed."""
    if state.tools is None or step == state.step:
        return state
    rounds, spend = state.tools.closed(state.answer), state.spend
    if spend.spending is not None:
        spending = grown(spend.spending, rounds.size - state.tools.size)
        spend = msgspec.structs.replace(spend, spending=spending)
    return msgspec.structs.replace(state, tools=rounds, spend=spend, segment=0)


def _reserve_asked(state: Execution, event: ReserveAsked) -> Execution:
    state = _stepped(state, event.work)
    return msgspec.structs.replace(
        state,
        step=event.work,
        attempts=state.attempts.apply(event),
        spend=state.spend.apply(event),
        why=event.reason,
        place=event.place,
        logs=_log(state, event.at, f"attempt {event.attempt} asks for leave to spend"),
    )


def _reserve_refused(state: Execution, event: ReserveRefused) -> Execution:
    return msgspec.structs.replace(
        state,
        status="WAITING",
        attempts=state.attempts.apply(event),
        spend=state.spend.apply(event),
        problem=event.problem,
        next_segment=_noted(state, event),
        logs=_log(state, event.at, f"attempt {event.attempt} refused: {waits(event)}"),
    )


def _attempt_started(state: Execution, event: AttemptStarted) -> Execution:
    state, why = _stepped(state, event.work), f": {event.reason}" if event.reason else ""
    return msgspec.structs.replace(
        state,
        status="RUNNING",
        step=event.work,
        attempts=state.attempts.apply(event),
        segment=event.segment,
        next_segment=event.segment + 1,
        place=event.place,
        why=None,
        problem=None if event.held else state.problem,
        spend=state.spend.hold(event.work, event.attempt) if event.held else state.spend,
        logs=_log(state, event.at, f"attempt {event.attempt} started{why}"),
    )


def _attempt_failed(state: Execution, event: AttemptFailed) -> Execution:
    attempts = state.attempts.apply(event)
    if event.usage is not None:
        attempts = attempts.settle(event.work, event.attempt)
    return msgspec.structs.replace(
        state,
        status="WAITING",
        attempts=attempts,
        spend=state.spend.close(
            event.work,
            event.attempt,
            event.charges,
            at=event.started_at or event.at,
            decided_at=_decided_at(state, event.work),
        ),
        usage=_add(state.usage, event.usage),
        problem=event.problem,
        detours=added(state.detours, event.detours),
        findings=found(state.findings, event.findings),
        next_segment=_noted(state, event),
        logs=_log(state, event.at, f"attempt {event.attempt} failed: {waits(event)}"),
    )


def waits(event: AttemptFailed | ReserveRefused) -> str:
    """Say why an attempt failed, and for how long the next one is waited for, if it is."""
    code = event.problem.code
    if event.retry_at is None or event.retry_at <= event.at:
        return code
    return f"{code}: again in {round((event.retry_at - event.at).total_seconds(), 1):g} s"


def _noted(state: Execution, event: AttemptFailed | ReserveRefused) -> int:
    """Return the next segment after an event that may take one to say that it waits."""
    return state.next_segment if event.notice_segment is None else event.notice_segment + 1


def _generation_finished(state: Execution, event: GenerationFinished) -> Execution:
    spent = spent_by(event.answer, event.detours)
    if event.prompt is not None:
        state = _restored(state, event.prompt)
    return msgspec.structs.replace(
        state,
        attempts=state.attempts.apply(event),
        spend=_settled(state, event),
        answer=event.answer,
        usage=_add(state.usage, spent),
        place=event.place,
        asked=_asked(state, event.place),
        detours=added(state.detours, event.detours),
        findings=found(state.findings, event.findings),
        started_at=state.started_at or event.started_at,
        problem=None,
    )


def _restored(state: Execution, prompt: BodyReference) -> Execution:
    """Return the state whose conversation, with the answer that has come, was stored anew."""
    request, rounds = state.request, state.tools
    if isinstance(request, GenerateRequest):
        request = GenerateRequest(provider=request.provider, messages=[], batch=request.batch)
    if rounds is not None:
        rounds = msgspec.structs.replace(rounds, turns=(), stored=True, parted=True)
    return msgspec.structs.replace(state, prompt=prompt, request=request, tools=rounds)


def _tools_changed(state: Execution, event: ToolEvent) -> Execution:
    if state.tools is None:
        return state
    rounds, spend = state.tools.apply(event, state.answer), state.spend
    attempts = attempted(state.attempts, event)
    if isinstance(event, ToolFinished) and event.charges:
        spend = spend.settle(
            event.work,
            event.attempt,
            event.charges,
            at=event.started_at,
            decided_at=_decided_at(state, event.work),
        )
    waited = rounds.waited(event)
    started = event.at if isinstance(event, ToolStarted) else None
    status = "WAITING" if rounds.asking else "RUNNING"
    return msgspec.structs.replace(
        state,
        status=status if state.ended_at is None else state.status,
        tools=rounds,
        attempts=attempts,
        spend=spend,
        waits=waiting(state, event),
        started_at=state.started_at or started,
        deadline=state.deadline + waited if waited else state.deadline,
        next_segment=rounds.next_segment(event) or state.next_segment,
    )


def _usage_settled(state: Execution, event: UsageSettled) -> Execution:
    settled = msgspec.structs.replace(
        state,
        attempts=state.attempts.settle(event.work, event.attempt),
        spend=state.spend.close(
            event.work,
            event.attempt,
            event.charges,
            at=event.started_at or state.accepted_at,
            decided_at=event.decided_at or state.accepted_at,
        ),
        usage=_add(state.usage, event.usage),
        detours=added(state.detours, event.detours),
    )
    if state.ended_at is None or state.usage_at_end is not None:
        return settled
    # More is known than the end has told: the end is never told otherwise.
    return msgspec.structs.replace(
        settled, usage_at_end=state.usage or Usage(), cost_at_end=state.spend.cost
    )


def _settled(state: Execution, event: GenerationFinished) -> Spend:
    """Settle what an answer has cost, also where that is nothing; not where no price is known."""
    if event.charges is None:
        return state.spend
    return state.spend.settle(
        event.work,
        event.attempt,
        event.charges,
        at=event.started_at,
        decided_at=_decided_at(state, event.work),
    )


def _decided_at(state: Execution, work: str) -> datetime:
    """Return when the current attempt was decided, if nothing was reserved for it."""
    current = state.attempts.of(work)
    return state.accepted_at if current is None else current.at


# The end


def _concluded(state: Execution, event: TerminalEvent) -> Execution:
    if isinstance(event, ExecutionCompleted):
        return _completed(state, event)
    return _broken_off(state, event)


def _ended_tools(state: Execution, at: datetime, attempts: Attempts) -> ToolRounds | None:
    if state.tools is None:
        return None
    return state.tools.dropped(at, attempts, alone=state.origin.kind == "tool")


def _completed(state: Execution, event: ExecutionCompleted) -> Execution:
    current, rounds = state.current, state.tools
    if state.origin.kind == "tool" and rounds is not None and rounds.calls[0].result is not None:
        state = msgspec.structs.replace(state, answer=answer_of(rounds.calls[0].result))
    return _ended(state, "COMPLETED", event, (state.step, current.attempt) if current else None)


def _ended(
    state: Execution,
    status: ExecutionStatus,
    event: TerminalEvent,
    completed_by: tuple[str, int] | None = None,
) -> Execution:
    attempts = state.attempts.drop()
    return msgspec.structs.replace(
        state,
        status=status,
        attempts=attempts,
        tools=_ended_tools(state, event.at, attempts),
        waits=state.waits.stopped(event.at) if state.waits.known else state.waits,
        request=None,
        policy=NO_POLICY,
        spend=state.spend.end(completed_by),
        ended_at=event.at,
        segment=event.segment,
        next_segment=event.segment + 1,
        logs=_log(state, event.at, status.lower()),
    )


def _broken_off(
    state: Execution, event: ExecutionFailed | ExecutionCancelled | ExecutionTimedOut
) -> Execution:
    match event:
        case ExecutionFailed():
            ended = _ended(state, "FAILED", event)
            return msgspec.structs.replace(ended, problem=event.problem)
        case ExecutionCancelled():
            ended = _ended(state, "CANCELLED", event)
            return msgspec.structs.replace(ended, reason=event.reason)
        case ExecutionTimedOut():
            ended = _ended(state, "TIMED_OUT", event)
            return msgspec.structs.replace(ended, problem=_timeout_problem(state))


def _tombstone(state: Execution) -> Execution:
    """Return what remains of a deleted execution, also of what is told of it afterwards."""
    origin = msgspec.structs.replace(state.origin, task="", digest="", choices=[], labels={})
    return msgspec.structs.replace(
        state,
        origin=origin,
        answer=None,
        problem=None,
        reason=None,
        logs=(),
        asked=None,
        detours=(),
        findings=(),
        tools=None,
    )


def _timeout_problem(state: Execution) -> Problem:
    seconds = (state.deadline - state.accepted_at).total_seconds()
    return Problem(code="timeout", message=f"the execution did not end within {seconds:g} seconds")


def _add(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one is not None and other is not None else one or other


def _asked(state: Execution, place: int) -> Asked | None:
    if state.request is None or isinstance(state.request, ToolRequest):
        return None
    fallbacks = state.policy.fallbacks
    provider = fallbacks[place - 1].provider if place else state.request.provider
    return Asked(provider=str(provider.__struct_config__.tag), model=provider.model)


def _log(state: Execution, at: datetime, message: str) -> tuple[LogEntry, ...]:
    return (*state.logs, LogEntry(at=at, message=message))[-MAX_LOG_ENTRIES:]
