"""The state of one execution and how its events change it.

The phases and what leads from one to the next::

    accepted ──▶ reserving ──held──▶ generating ──answer──▶ ended (completed)
                  ▲      │            ▲      │
                  │      │ refused,   │      │ attempt failed, another is left
                  │      ▼ may wait   │      ▼
                 backing_off ────────attempt started
    any phase ──▶ ended (failed | cancelled | timed out)

Without budgets and limits nothing is reserved. What every attempt has cost is told the account when
it has ended, which the execution does not wait for. What belongs between an answer and the end
(tool calls, a next step) has its place in ``decisions.conclude``.
"""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from actors.agents.core.dues import (
    Due,
    Hold,
    after,
    bill,
    both,
    by_model,
    release,
    spent_by,
    summed,
    waits_until,
)
from actors.agents.core.folding import unfolded
from schemas.attempts import Attempt, Attempts, WorkClaimed
from schemas.base import Internal
from schemas.bodies import Reference
from schemas.callbacks import CalledBack, Ended
from schemas.executions import RECORD_SUBJECT, ExecutionStatus, LogEntry, ModelCost
from schemas.ledger import Charge, Settle
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    NO_POLICY,
    Accepted,
    AttemptFailed,
    AttemptStarted,
    ChangeEvent,
    DueAskedAgain,
    DueMet,
    DueRefused,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    HoldReleased,
    Origin,
    ReserveAsked,
    ReserveRefused,
    Spending,
    UsageSettled,
)
from schemas.llm import Answer, GenerateRequest
from schemas.policy import Detour, Policy
from schemas.problems import Problem
from schemas.safety import Finding
from schemas.usage import Usage
from schemas.work import ReplyTo

Phase = Literal["accepted", "reserving", "generating", "backing_off", "ended"]

FIRST_STEP = "1"

MAX_LOG_ENTRIES = MAX_DETOURS = 100


class Asked(Internal):
    """The type of provider and the model that the answer came from."""

    provider: str
    model: str


class Execution(Internal):
    """One accepted execution. ``revision`` counts its events; ``segment`` is the current attempt's.

    ``step`` names the present step, of whose attempts ``attempts`` knows. ``place`` is the
    alternative that the current attempt begins with, or that has answered. ``reserves`` counts how
    often leave was asked for the current attempt, ``why`` says why it is made. A large request is
    in ``prompt``, and with it a long task, also after the end. ``decided_at``
    is when, by which the account knows the attempt; where leave was not asked, that of the attempt.
    ``end`` is what ``reply_to`` is told, until it has answered.
    """

    origin: Origin
    accepted_at: datetime
    deadline: datetime
    step: str
    status: ExecutionStatus = "PENDING"
    revision: int = 0
    request: GenerateRequest | None = None
    policy: Policy = NO_POLICY
    place: int = 0
    attempts: Attempts = Attempts()
    segment: int = 0
    next_segment: int = 1
    started_at: datetime | None = None
    ended_at: datetime | None = None
    answer: Answer | None = None
    usage: Usage | None = None
    usage_at_end: Usage | None = None
    problem: Problem | None = None
    reason: str | None = None
    logs: tuple[LogEntry, ...] = ()
    asked: Asked | None = None
    detours: tuple[Detour, ...] = ()
    findings: tuple[Finding, ...] = ()
    spending: Spending | None = None
    reserves: int = 0
    why: str | None = None
    decided_at: datetime | None = None
    holds: tuple[Hold, ...] = ()
    dues: tuple[Due, ...] = ()
    cost: int | None = None
    cost_at_end: int | None = None
    costs: tuple[ModelCost, ...] = ()
    reply_to: ReplyTo | None = None
    end: Ended | None = None
    prompt: Reference | None = None

    @property
    def current(self) -> Attempt | None:
        """The newest attempt of the present step; None before the first."""
        return self.attempts.of(self.step)

    @property
    def phase(self) -> Phase:
        """Where the execution stands."""
        if self.ended_at is not None:
            return "ended"
        current = self.current
        if current is None:
            return "accepted"
        if current.phase == "running":
            return "generating"
        is_asking = current.phase == "planned" and current.retry_at is None
        return "reserving" if is_asking else "backing_off"


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
    if applied is state:
        return msgspec.structs.replace(state, revision=state.revision + 1)
    # Nobody else has it yet, and another copy would cost as much as to apply the event.
    msgspec.structs.force_setattr(applied, "revision", state.revision + 1)
    return applied


def due(state: Execution) -> datetime | None:
    """Return when the execution must be looked at next without a command."""
    moments = [each.retry_at for each in state.dues if each.retry_at is not None]
    if state.ended_at is not None:
        until = waits_until(state.dues, state.ended_at)
        moments += [until] if until else []
    else:
        retry_at = state.attempts.due()
        moments += [state.deadline, retry_at] if retry_at else [state.deadline]
    return min(moments, default=None)


def has_ended(state: Execution) -> bool:
    """Say whether nothing but late usage can change the execution any more."""
    return state.ended_at is not None and all(each.retry_at is None for each in state.dues)


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
        case HoldReleased():
            return _charged(state, event, [], event.at)
        case DueMet() | DueRefused() | DueAskedAgain():
            return msgspec.structs.replace(state, dues=after(state.dues, event))
        case CalledBack():
            return msgspec.structs.replace(state, reply_to=None, end=None)
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            return with_callback(_concluded(state, event))
        case _:
            assert_never(event)


def _accepted(event: Accepted) -> Execution:
    return Execution(
        origin=unfolded(event.origin, event.request, event.task_at),
        request=event.request,
        policy=event.policy,
        prompt=event.prompt,
        spending=event.spending,
        accepted_at=event.at,
        deadline=event.deadline,
        step=FIRST_STEP,
        revision=1,
        logs=(LogEntry(at=event.at, message="accepted"),),
        reply_to=event.reply_to,
    )


def _reserve_asked(state: Execution, event: ReserveAsked) -> Execution:
    return msgspec.structs.replace(
        state,
        step=event.work,
        attempts=state.attempts.apply(event),
        decided_at=event.at,
        reserves=event.asked,
        why=event.reason,
        place=event.place,
        logs=_log(state, event.at, f"attempt {event.attempt} asks for leave to spend"),
    )


def _reserve_refused(state: Execution, event: ReserveRefused) -> Execution:
    return msgspec.structs.replace(
        state,
        status="WAITING",
        attempts=state.attempts.apply(event),
        problem=event.problem,
        logs=_log(state, event.at, f"attempt {event.attempt} refused: {event.problem.code}"),
    )


def _attempt_started(state: Execution, event: AttemptStarted) -> Execution:
    why = f": {event.reason}" if event.reason else ""
    decided_at = state.decided_at if event.held else None
    held = Hold(step=event.work, attempt=event.attempt, decided_at=decided_at or event.at)
    return msgspec.structs.replace(
        state,
        status="RUNNING",
        step=event.work,
        attempts=state.attempts.apply(event),
        segment=event.segment,
        next_segment=event.segment + 1,
        place=event.place,
        decided_at=decided_at,
        reserves=0,
        why=None,
        problem=None if event.held else state.problem,
        holds=(*state.holds, held) if event.held else state.holds,
        logs=_log(state, event.at, f"attempt {event.attempt} started{why}"),
    )


def _attempt_failed(state: Execution, event: AttemptFailed) -> Execution:
    attempts = state.attempts.apply(event)
    if event.usage is not None:
        attempts = attempts.settle(event.work, event.attempt)
    return msgspec.structs.replace(
        _charged(state, event, event.charges, event.started_at or event.at),
        status="WAITING",
        attempts=attempts,
        usage=both(state.usage, event.usage),
        problem=event.problem,
        detours=_detours(state, event.detours),
        findings=_findings(state, event.findings),
        logs=_log(state, event.at, f"attempt {event.attempt} failed: {event.problem.code}"),
    )


def _generation_finished(state: Execution, event: GenerationFinished) -> Execution:
    spent = spent_by(event.answer, event.detours)
    return msgspec.structs.replace(
        _charged(state, event, event.charges, event.started_at, always=True),
        attempts=state.attempts.apply(event),
        answer=event.answer,
        usage=both(state.usage, spent),
        place=event.place,
        asked=_asked(state, event.place),
        detours=_detours(state, event.detours),
        findings=_findings(state, event.findings),
        started_at=state.started_at or event.started_at,
        problem=None,
    )


def _usage_settled(state: Execution, event: UsageSettled) -> Execution:
    settled = msgspec.structs.replace(
        _charged(
            state, event, event.charges, event.started_at or state.accepted_at, event.decided_at
        ),
        attempts=state.attempts.settle(event.work, event.attempt),
        usage=both(state.usage, event.usage),
        detours=_detours(state, event.detours),
    )
    if state.ended_at is None or state.usage_at_end is not None:
        return settled
    # More is known than the end has told: the end is never told otherwise.
    return msgspec.structs.replace(
        settled, usage_at_end=state.usage or Usage(), cost_at_end=state.cost
    )


# What is due to the account


def _hold(state: Execution, step: str, attempt: int, decided_at: datetime | None = None) -> Hold:
    """Return by what the account knows an attempt, whether money is held for it or not."""
    for hold in state.holds:
        if (hold.step, hold.attempt) == (step, attempt):
            return hold
    current = state.attempts.of(step)
    if decided_at is None and current is not None and current.attempt == attempt:
        decided_at = state.decided_at or current.at
    return Hold(step=step, attempt=attempt, decided_at=decided_at or state.accepted_at)


def _charged(
    state: Execution,
    event: AttemptFailed | GenerationFinished | UsageSettled | HoldReleased,
    charges: list[Charge] | None,
    at: datetime,
    decided_at: datetime | None = None,
    *,
    always: bool = False,
) -> Execution:
    """Count what an attempt has cost, and owe the account to be told; None is not known.

    One that has spent nothing is only told where money is held for it, or ``always``.
    """
    if charges is None:
        return state
    hold = _hold(state, event.work, event.attempt, decided_at)
    owed = None
    if charges or always:
        owed = bill(state.origin, hold, charges, at)
    elif hold in state.holds:
        owed = release(state.origin, hold)
    if owed is not None and state.spending is not None and not always:
        owed = msgspec.structs.replace(owed, urgent=True)
    return msgspec.structs.replace(
        state,
        dues=state.dues if owed is None else (*state.dues, owed),
        holds=tuple(each for each in state.holds if each != hold),
        cost=summed(state.cost, charges) if charges or always else state.cost,
        costs=by_model(state.costs, charges),
    )


def _given_up(state: Execution) -> Execution:
    """Let go of what an attempt that never began has asked for, be it held, refused or open."""
    current = state.current
    if not state.reserves or current is None:
        return state
    due = release(state.origin, _hold(state, state.step, current.attempt))
    return msgspec.structs.replace(state, dues=(*state.dues, due))


def _dues_of_success(state: Execution) -> tuple[Due, ...]:
    """Say in the bill of the attempt that has answered that it was a success."""
    answered = state.current.attempt if state.current else 0
    return tuple(
        msgspec.structs.replace(due, command=msgspec.structs.replace(due.command, completed=True))
        if isinstance(due.command, Settle) and due.command.reference.attempt == answered
        else due
        for due in state.dues
    )


# The end


def _concluded(
    state: Execution,
    event: ExecutionCompleted | ExecutionFailed | ExecutionCancelled | ExecutionTimedOut,
) -> Execution:
    if isinstance(event, ExecutionCompleted):
        return _completed(state, event)
    return _broken_off(_given_up(state), event)


def _completed(state: Execution, event: ExecutionCompleted) -> Execution:
    ended = _ended(state, "COMPLETED", event.at, event.segment)
    if not state.dues:
        return ended
    return msgspec.structs.replace(ended, dues=_dues_of_success(state))


def _ended(state: Execution, status: ExecutionStatus, at: datetime, segment: int) -> Execution:
    return msgspec.structs.replace(
        state,
        status=status,
        attempts=state.attempts.drop(),
        request=None,
        policy=NO_POLICY,
        spending=None,
        reserves=0,
        ended_at=at,
        segment=segment,
        next_segment=segment + 1,
        logs=_log(state, at, status.lower()),
    )


def _broken_off(
    state: Execution, event: ExecutionFailed | ExecutionCancelled | ExecutionTimedOut
) -> Execution:
    match event:
        case ExecutionFailed():
            ended = _ended(state, "FAILED", event.at, event.segment)
            return msgspec.structs.replace(ended, problem=event.problem)
        case ExecutionCancelled():
            ended = _ended(state, "CANCELLED", event.at, event.segment)
            return msgspec.structs.replace(ended, reason=event.reason)
        case ExecutionTimedOut():
            ended = _ended(state, "TIMED_OUT", event.at, event.segment)
            return msgspec.structs.replace(ended, problem=_timeout_problem(state))


def with_callback(state: Execution) -> Execution:
    """Return an ended execution with the end that it tells who waits for it, if anybody does."""
    return state if state.reply_to is None else msgspec.structs.replace(state, end=end_of(state))


def end_of(state: Execution) -> Ended:
    """Return the end of an execution that has ended, as who waits for it is told."""
    origin = state.origin
    return Ended(
        of=ReplyTo(entity=EXECUTION_ENTITY, tenant=origin.tenant, key=origin.execution_id),
        status=state.status,
        at=state.ended_at or state.accepted_at,
        record=RECORD_SUBJECT.format(tenant=origin.tenant, execution_id=origin.execution_id),
        usage=state.usage,
        cost=state.cost,
        problem=error_of(state),
    )


def error_of(state: Execution) -> Problem | None:
    """Return why an ended execution brought no answer; None if it did."""
    if state.status == "CANCELLED":
        return Problem(code="cancelled", message=state.reason or "cancelled")
    return state.problem


def _timeout_problem(state: Execution) -> Problem:
    seconds = (state.deadline - state.accepted_at).total_seconds()
    return Problem(code="timeout", message=f"the execution did not end within {seconds:g} seconds")


def _asked(state: Execution, place: int) -> Asked | None:
    if state.request is None:
        return None
    fallbacks = state.policy.fallbacks
    provider = fallbacks[place - 1].provider if place else state.request.provider
    return Asked(provider=str(provider.__struct_config__.tag), model=provider.model)


def _detours(state: Execution, more: list[Detour]) -> tuple[Detour, ...]:
    return (*state.detours, *more)[-MAX_DETOURS:] if more else state.detours


def _findings(state: Execution, more: list[Finding]) -> tuple[Finding, ...]:
    """Add up what attempts have found: one finding for each rule and place.

    Every attempt searches the same input again, so that is counted once.
    """
    if not more:
        return state.findings
    found = {(one.rule, one.place): one for one in state.findings}
    for one in more:
        known = found.get((one.rule, one.place))
        before = known.count if known else 0
        count = one.count + before if one.place == "output" else max(one.count, before)
        found[one.rule, one.place] = msgspec.structs.replace(one, count=count)
    return tuple(found.values())


def _log(state: Execution, at: datetime, message: str) -> tuple[LogEntry, ...]:
    return (*state.logs, LogEntry(at=at, message=message))[-MAX_LOG_ENTRIES:]
