"""The state of one execution and how its events change it.

The phases and what leads from one to the next::

    accepted ──▶ generating ──answer──▶ ended (completed)
                  ▲      │
          attempt │      │ attempt failed, another is left
          started │      ▼
                 backing_off
    any phase ──▶ ended (failed | cancelled | timed out)

What belongs between acceptance and the first step (a reservation of money) has its place in
``decisions.begin``, what belongs between an answer and the end (tool calls, a next step) in
``decisions.conclude``.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import add
from typing import Literal, assert_never

import msgspec

from schemas.base import Internal
from schemas.executions import ExecutionStatus, LogEntry
from schemas.lifecycle import (
    NO_POLICY,
    Accepted,
    AttemptClaimed,
    AttemptFailed,
    AttemptStarted,
    ChangeEvent,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    Origin,
    UsageSettled,
)
from schemas.llm import Answer, GenerateRequest
from schemas.policy import Detour, Policy
from schemas.problems import Problem
from schemas.safety import Finding
from schemas.usage import Usage

Phase = Literal["generating", "backing_off", "ended"]

MAX_LOG_ENTRIES = 100
MAX_DETOURS = 100


class Asked(Internal):
    """The type of provider and the model that the answer came from."""

    provider: str
    model: str


class Execution(Internal):
    """One accepted execution. ``revision`` counts its events; ``segment`` is the current attempt's.

    ``deadline`` and ``retry_at`` are the moments at which it must be looked at without a command.
    ``settled`` names the attempts, as (step, attempt), whose usage is counted. ``place`` is the
    alternative that the current attempt begins with, or that has answered.
    """

    origin: Origin
    accepted_at: datetime
    deadline: datetime
    phase: Phase = "generating"
    status: ExecutionStatus = "PENDING"
    revision: int = 0
    request: GenerateRequest | None = None
    policy: Policy = NO_POLICY
    place: int = 0
    step: int = 1
    attempt: int = 0
    attempt_at: datetime | None = None
    claimed: bool = False
    failures: int = 0
    segment: int = 0
    next_segment: int = 1
    retry_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    answer: Answer | None = None
    usage: Usage | None = None
    usage_at_end: Usage | None = None
    settled: tuple[tuple[int, int], ...] = ()
    problem: Problem | None = None
    reason: str | None = None
    logs: tuple[LogEntry, ...] = ()
    asked: Asked | None = None
    detours: tuple[Detour, ...] = ()
    findings: tuple[Finding, ...] = ()


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
    return msgspec.structs.replace(_apply(state, event), revision=state.revision + 1)


def due(state: Execution) -> datetime | None:
    """Return when the execution must be looked at next without a command."""
    if state.phase == "ended":
        return None
    return min(state.deadline, state.retry_at) if state.retry_at else state.deadline


def spent_by(answer: Answer, detours: Iterable[Detour]) -> Usage:
    """Return what an attempt has used: its answer, and the calls that failed before it."""
    return reduce(add, (each.usage for each in detours if each.usage), answer.usage)


def has_ended(state: Execution) -> bool:
    """Say whether nothing but late usage can change the execution any more."""
    return state.phase == "ended"


def _apply(state: Execution, event: ChangeEvent) -> Execution:
    match event:
        case AttemptStarted():
            return _attempt_started(state, event)
        case AttemptClaimed():
            return msgspec.structs.replace(state, claimed=True)
        case AttemptFailed():
            return _attempt_failed(state, event)
        case GenerationFinished():
            return _generation_finished(state, event)
        case UsageSettled():
            return msgspec.structs.replace(
                state,
                usage=_add(state.usage, event.usage),
                usage_at_end=_usage_at_end(state),
                settled=_settled(state, event.step, event.attempt, event.usage),
                detours=_detours(state, event.detours),
            )
        case ExecutionCompleted():
            return _ended(state, "COMPLETED", event.at, event.segment)
        case ExecutionFailed():
            ended = _ended(state, "FAILED", event.at, event.segment)
            return msgspec.structs.replace(ended, problem=event.problem)
        case ExecutionCancelled():
            ended = _ended(state, "CANCELLED", event.at, event.segment)
            return msgspec.structs.replace(ended, reason=event.reason)
        case ExecutionTimedOut():
            ended = _ended(state, "TIMED_OUT", event.at, event.segment)
            return msgspec.structs.replace(ended, problem=_timeout_problem(state))
        case _:
            assert_never(event)


def _accepted(event: Accepted) -> Execution:
    return Execution(
        origin=event.origin,
        request=event.request,
        policy=event.policy,
        accepted_at=event.at,
        deadline=event.deadline,
        revision=1,
        logs=(LogEntry(at=event.at, message="accepted"),),
    )


def _attempt_started(state: Execution, event: AttemptStarted) -> Execution:
    why = f": {event.reason}" if event.reason else ""
    return msgspec.structs.replace(
        state,
        phase="generating",
        status="RUNNING",
        step=event.step,
        attempt=event.attempt,
        attempt_at=event.at,
        claimed=False,
        failures=state.failures + event.counts,
        segment=event.segment,
        next_segment=event.segment + 1,
        place=event.place,
        retry_at=None,
        logs=_log(state, event.at, f"attempt {event.attempt} started{why}"),
    )


def _attempt_failed(state: Execution, event: AttemptFailed) -> Execution:
    return msgspec.structs.replace(
        state,
        phase="backing_off",
        status="WAITING",
        failures=state.failures + 1,
        retry_at=event.retry_at,
        usage=_add(state.usage, event.usage),
        settled=_settled(state, event.step, event.attempt, event.usage),
        problem=event.problem,
        detours=_detours(state, event.detours),
        findings=_findings(state, event.findings),
        logs=_log(state, event.at, f"attempt {event.attempt} failed: {event.problem.code}"),
    )


def _generation_finished(state: Execution, event: GenerationFinished) -> Execution:
    spent = spent_by(event.answer, event.detours)
    return msgspec.structs.replace(
        state,
        answer=event.answer,
        usage=_add(state.usage, spent),
        settled=_settled(state, event.step, event.attempt, spent),
        place=event.place,
        asked=_asked(state, event.place),
        detours=_detours(state, event.detours),
        findings=_findings(state, event.findings),
        started_at=state.started_at or event.started_at,
        problem=None,
    )


def _ended(state: Execution, status: ExecutionStatus, at: datetime, segment: int) -> Execution:
    return msgspec.structs.replace(
        state,
        phase="ended",
        status=status,
        request=None,
        policy=NO_POLICY,
        retry_at=None,
        ended_at=at,
        segment=segment,
        next_segment=segment + 1,
        logs=_log(state, at, status.lower()),
    )


def _timeout_problem(state: Execution) -> Problem:
    seconds = (state.deadline - state.accepted_at).total_seconds()
    return Problem(code="timeout", message=f"the execution did not end within {seconds:g} seconds")


def _add(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one is not None and other is not None else one or other


def _usage_at_end(state: Execution) -> Usage | None:
    """Return what the end has told, once more is known: the end is never told otherwise."""
    if state.phase != "ended":
        return None
    return state.usage_at_end or state.usage or Usage()


def _settled(
    state: Execution, step: int, attempt: int, usage: Usage | None
) -> tuple[tuple[int, int], ...]:
    return state.settled if usage is None else (*state.settled, (step, attempt))


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
    found = {(one.rule, one.place): one for one in state.findings}
    for one in more:
        known = found.get((one.rule, one.place))
        before = known.count if known else 0
        count = one.count + before if one.place == "output" else max(one.count, before)
        found[one.rule, one.place] = msgspec.structs.replace(one, count=count)
    return tuple(found.values())


def _log(state: Execution, at: datetime, message: str) -> tuple[LogEntry, ...]:
    return (*state.logs, LogEntry(at=at, message=message))[-MAX_LOG_ENTRIES:]
