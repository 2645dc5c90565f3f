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

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import add
from typing import Literal, assert_never

import msgspec

from actors.agents.core.folding import unfolded
from schemas.attempts import Attempt, Attempts, WorkClaimed
from schemas.base import Internal
from schemas.bodies import BodyReference
from schemas.callbacks import CalledBack, Ended
from schemas.executions import RECORD_SUBJECT, ExecutionStatus, LogEntry
from schemas.lifecycle import (
    EXECUTION_ENTITY,
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
    Origin,
    UsageSettled,
)
from schemas.llm import Answer, ModelRequest
from schemas.policy import Detour, Policy
from schemas.problems import Problem
from schemas.safety import Finding
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
from schemas.work import ReplyTo

Phase = Literal["accepted", "reserving", "generating", "backing_off", "ended"]

FIRST_STEP = "1"
NOTHING_SPENT = Spend()

TerminalEvent = ExecutionCompleted | ExecutionFailed | ExecutionCancelled | ExecutionTimedOut

MAX_LOG_ENTRIES = MAX_DETOURS = 100


class Asked(Internal):
    """The type of provider and the model that the answer came from."""

    provider: str
    model: str


class Execution(Internal):
    """One accepted execution. ``revision`` counts its events; ``segment`` is the current attempt's.

    ``step`` names the present step, of whose attempts ``attempts`` knows. ``place`` is the
    alternative that the current attempt begins with, or that has answered. ``why`` says why an
    attempt is made that waits for its hold. ``spend`` has the bills of all attempts. A large
    request is in ``prompt``, and with it a long task, also after the end. ``end`` is what
    ``reply_to`` is told, until it has answered. Of one that is deleted there is a tombstone, at
    ``deleted_at``: who has asked, when, and what is paid for it.
    """

    origin: Origin
    accepted_at: datetime
    deadline: datetime
    step: str
    status: ExecutionStatus = "PENDING"
    revision: int = 0
    request: ModelRequest | None = None
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
    spend: Spend = NOTHING_SPENT
    why: str | None = None
    cost_at_end: int | None = None
    reply_to: ReplyTo | None = None
    end: Ended | None = None
    prompt: BodyReference | None = None
    deleted_at: datetime | None = None

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
    moments = (state.deadline, state.attempts.due(), billed)
    return min(each for each in moments if each is not None)


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
        case CalledBack():
            return msgspec.structs.replace(state, reply_to=None, end=None)
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            return with_callback(_concluded(state, event))
        case ExecutionDeleted():
            return msgspec.structs.replace(state, deleted_at=event.at)
        case _:
            assert_never(event)


def _accepted(event: Accepted) -> Execution:
    return Execution(
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
    )


def _reserve_asked(state: Execution, event: ReserveAsked) -> Execution:
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
    why = f": {event.reason}" if event.reason else ""
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
        detours=_detours(state, event.detours),
        findings=_findings(state, event.findings),
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
    return msgspec.structs.replace(
        state,
        attempts=state.attempts.apply(event),
        spend=_settled(state, event),
        answer=event.answer,
        usage=_add(state.usage, spent),
        place=event.place,
        asked=_asked(state, event.place),
        detours=_detours(state, event.detours),
        findings=_findings(state, event.findings),
        started_at=state.started_at or event.started_at,
        problem=None,
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
        detours=_detours(state, event.detours),
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


def _completed(state: Execution, event: ExecutionCompleted) -> Execution:
    current = state.current
    return _ended(state, "COMPLETED", event, (state.step, current.attempt) if current else None)


def _ended(
    state: Execution,
    status: ExecutionStatus,
    event: TerminalEvent,
    completed_by: tuple[str, int] | None = None,
) -> Execution:
    return msgspec.structs.replace(
        state,
        status=status,
        attempts=state.attempts.drop(),
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
    )


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
        cost=state.spend.cost,
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


def _add(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one is not None and other is not None else one or other


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
