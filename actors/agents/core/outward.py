"""What an execution tells the world: its publications, its record."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from actors.agents.core.execution import waits
from actors.agents.core.keeping import expires_at
from actors.agents.core.payer import payer
from actors.agents.core.prompts import grown_prompt, lacking
from actors.agents.core.state import Execution, error_of
from actors.agents.core.tool_events import kept_turns, tools_told
from actors.agents.core.tool_state import is_call
from actors.agents.core.work_items import call_item, open_items
from schemas import pages, spend
from schemas.bills import number_of
from schemas.conversations import CONVERSATION_SUBJECT, ConversationTurn
from schemas.decision import Left, Publish
from schemas.events import (
    ExecutionAcceptedEvent,
    ExecutionCancelledEvent,
    ExecutionCompletedEvent,
    ExecutionEndedEvent,
    ExecutionFailedEvent,
    ExecutionTimedOutEvent,
    SafetyBlockedEvent,
    SafetyEvent,
    SafetyFlaggedEvent,
    SafetyRedactedEvent,
)
from schemas.executions import RECORD_SUBJECT, AttemptName, ExecutionRecord, ExecutionStatus
from schemas.fleet import STOP_WORK_SUBJECT, StopWork
from schemas.lifecycle import (
    Accepted,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    Origin,
    ToolFailed,
)
from schemas.problems import Problem
from schemas.safety import SafetyOutcome
from schemas.spend import BillBooked, BillRefused, ReserveAsked, ReserveRefused
from schemas.streams import (
    STREAM_SUBJECT,
    AttemptRestarted,
    Cancelled,
    Completed,
    Failed,
    StreamEvent,
    Thinking,
)
from schemas.usage import Usage

_MILLISECOND = timedelta(milliseconds=1)

_UNHEARD = ("timeout", "outcome_unknown")
"""How an attempt at a call fails of which nothing is heard: its worker may still be at it."""

KEPT = timedelta(days=90)
TOMBSTONE = timedelta(days=30)
"""Longer than a submitted command waits, and than a journal keeps its history: by then nothing is
left that could bring a deleted execution back."""

_PUBLIC_EVENTS: dict[ExecutionStatus, type[ExecutionEndedEvent]] = {
    "COMPLETED": ExecutionCompletedEvent,
    "FAILED": ExecutionFailedEvent,
    "CANCELLED": ExecutionCancelledEvent,
    "TIMED_OUT": ExecutionTimedOutEvent,
}

_SAFETY_EVENTS: dict[SafetyOutcome, type[SafetyEvent]] = {
    "blocked": SafetyBlockedEvent,
    "redacted": SafetyRedactedEvent,
    "flagged": SafetyFlaggedEvent,
}


def announce(
    before: Execution | None, event: ExecutionEvent, after: Execution
) -> Iterator[Publish]:
    """Yield what everyone may know of an event, in the order in which it is to be sent.

    A conversation turn goes before the end of the stream, so that who has seen the end finds it.
    A new owner publishes by replaying commits, so the result must be the same to the byte.
    """
    match event:
        case Accepted():
            yield _public(after, _accepted_event(after))
        case AttemptStarted() | ReserveAsked():
            yield from _stop(before)
            if isinstance(event, AttemptStarted) and event.notice_segment is not None:
                yield _stream(after, _restarted(after, event, event.notice_segment))
        case AttemptFailed() | GenerationFinished() | ReserveRefused():
            if not isinstance(event, ReserveRefused) and event.findings:
                yield from _safety(after, event)
            if not isinstance(event, GenerationFinished) and event.notice_segment is not None:
                yield _stream(after, _waiting(after, event, event.notice_segment))
        case BillBooked(handed_over=True) | BillRefused(retry_at=None) if before is not None:
            yield from spend.announce(before.spend, event, payer(before))
        case ExecutionCompleted():
            yield from _conversation(before, after)
            yield _stream(after, _completed(after))
        case ExecutionFailed() | ExecutionTimedOut() | ExecutionCancelled():
            yield from _stop(before)
            yield _stream(after, _broken_off(after))
        case _:
            if isinstance(event, ToolFailed) and event.problem.code in _UNHEARD:
                yield _stopped(call_item(after, event.work, event.attempt))
            yield from (_stream(after, told) for told in tools_told(event, after))
    if after.ended_at is not None and before is not None and before.ended_at is None:
        yield _public(after, _ended_event(after))


def record(state: Execution) -> ExecutionRecord:
    """Return the execution as it is stored and shown."""
    origin, answer = state.origin, state.answer
    return ExecutionRecord(
        kind=origin.kind,
        execution_id=origin.execution_id,
        agent_id=origin.agent_id,
        agent_version=origin.agent_version,
        status=state.status,
        task=origin.task,
        revision=state.revision,
        digest=origin.digest,
        stream=stream_subject(state),
        created_at=state.accepted_at,
        deadline=state.deadline,
        max_attempts=origin.max_attempts,
        started_at=state.started_at,
        completed_at=state.ended_at,
        duration_ms=_duration_ms(state) if state.ended_at else None,
        output=_text(state),
        reasoning=(answer.reasoning or None) if answer else None,
        tool_calls=answer.tool_calls if answer else [],
        finish_reason=answer.finish_reason if answer else None,
        model_served=answer.model_served if answer else None,
        usage=state.usage,
        usage_at_end=state.usage_at_end,
        tokens_used=_tokens_used(state),
        cost=state.spend.cost,
        cost_at_end=state.cost_at_end,
        costs=list(state.spend.costs),
        settled=_settled(state),
        error=error_of(state) if state.phase == "ended" else None,
        attempts=_count(state),
        user=origin.user,
        project=origin.project,
        session=origin.session,
        segment=state.next_segment - 1,
        logs=list(state.logs),
        provider=state.asked.provider if state.asked else None,
        model=state.asked.model if state.asked else None,
        cached=answer.cached if answer else False,
        choices=origin.choices,
        detours=list(state.detours),
        findings=list(state.findings),
        warnings=answer.warnings if answer else [],
        text=_plain_text(state),
        vectors=answer.vectors if answer else None,
        labels=origin.labels,
        expires_at=expires_at(state),
        tools=list(state.tools.all_made) if state.tools else [],
        result=state.tools.result if state.tools else None,
    )


def stream_subject(state: Execution) -> str:
    """Return the subject of the execution's live events."""
    return stream_of(state.origin)


def stream_of(origin: Origin) -> str:
    """Return the subject of the live events of an execution."""
    return STREAM_SUBJECT.format(tenant=origin.tenant, execution_id=origin.execution_id)


def kept_record(state: Execution) -> Publish | None:
    """Return the record to be stored; a tombstone has none."""
    return stored_record(state) if state.deleted_at is None else None


def stored_record(state: Execution) -> Publish:
    """Return the execution's record as it is published, so that it is stored."""
    subject = _fill(RECORD_SUBJECT, state)
    ttl = state.origin.kept
    return Publish(subject=subject, body=record(state), lacks=lacking(state), ttl=ttl)


def retention(state: Execution, now: datetime) -> timedelta:
    """Return for how long the state of an ended execution is kept from now on."""
    if state.deleted_at is not None:
        return TOMBSTONE
    return (expires_at(state) or (state.ended_at or now) + KEPT) - now


def left(state: Execution) -> tuple[Left, ...]:
    """Return what a deleted execution has published, to be removed; nothing of another one."""
    if state.deleted_at is None:
        return ()
    origin = state.origin
    return traces(origin.tenant, origin.execution_id, origin.agent_id, origin.session)


def traces(
    tenant: str, execution_id: str, agent_id: str | None, session: str | None
) -> tuple[Left, ...]:
    """Return where an execution can be read beside its owner: record, stream, turn of a session."""
    names = {"tenant": tenant, "execution_id": execution_id}
    own = (
        Left(RECORD_SUBJECT.format(**names)),
        Left(STREAM_SUBJECT.format(**names)),
    )
    if agent_id is None or session is None:
        return own
    subject = CONVERSATION_SUBJECT.format(tenant=tenant, agent_id=agent_id, session=session)
    return (*own, Left(subject, partial(_is_turn, execution_id)))


def _is_turn(execution_id: str, stored: bytes) -> bool:
    # As our encoder writes it: in a text the quotes would be escaped.
    return f'"execution_id":"{execution_id}"'.encode() in stored


def _fill(template: str, state: Execution) -> str:
    origin = state.origin
    return template.format(
        tenant=origin.tenant,
        execution_id=origin.execution_id,
        agent_id=origin.agent_id,
        session=origin.session,
    )


def _count(state: Execution) -> int:
    current = state.current
    return current.attempt if current else 0


def _settled(state: Execution) -> list[AttemptName]:
    return [
        AttemptName(step=number_of(step), attempt=attempt)
        for step, known in pages.items(state.attempts.works)
        if not is_call(step)
        for attempt in known.settled
    ]


def _stream(state: Execution, body: StreamEvent) -> Publish:
    return Publish(subject=stream_subject(state), body=body)


def _public(
    state: Execution,
    body: ExecutionAcceptedEvent | ExecutionEndedEvent | SafetyEvent,
) -> Publish:
    return Publish(subject=_fill(body.SUBJECT or "", state), body=body)


def _stop(before: Execution | None) -> Iterator[Publish]:
    """Tell the worker of an attempt that was under way that nobody waits for it any more.

    One that stood still finds this when it goes on, before it has asked anybody for an answer.
    """
    yield from map(_stopped, open_items(before) if before is not None else ())


def _stopped(item: str) -> Publish:
    return Publish(subject=STOP_WORK_SUBJECT, body=StopWork(item=item), stored=False)


def _restarted(state: Execution, event: AttemptStarted, segment: int) -> AttemptRestarted:
    return AttemptRestarted(
        execution_id=state.origin.execution_id,
        segment=segment,
        sequence=0,
        at=event.at,
        step=number_of(event.work),
        attempt=event.attempt,
        dropped_segment=event.dropped_segment or 0,
        reason=event.reason or "restarted",
    )


def _waiting(state: Execution, event: AttemptFailed | ReserveRefused, segment: int) -> Thinking:
    return Thinking(
        execution_id=state.origin.execution_id,
        segment=segment,
        sequence=0,
        at=event.at,
        step=number_of(event.work),
        attempt=event.attempt,
        status=waits(event),
        until=event.retry_at,
    )


def _completed(state: Execution) -> Completed:
    answer = state.answer
    return Completed(
        execution_id=state.origin.execution_id,
        segment=state.segment,
        sequence=0,
        at=state.ended_at or state.accepted_at,
        final_response=answer.text if answer else "",
        finish_reason=answer.finish_reason if answer else "other",
        usage=state.usage or Usage(),
        cost=state.spend.cost,
        reasoning=answer.reasoning if answer else "",
        tool_calls=answer.tool_calls if answer else [],
        model_served=answer.model_served if answer else None,
        cached=answer.cached if answer else False,
        text=_plain_text(state),
        warnings=answer.warnings if answer else [],
    )


def _text(state: Execution) -> str | None:
    """Return the text of the answer; vectors have none."""
    answer = state.answer
    return answer.text if answer is not None and answer.vectors is None else None


def _plain_text(state: Execution) -> str | None:
    """Return the answer of a plain generation, which is asked for and told as a ``text``."""
    return _text(state) if state.origin.agent_id is None else None


def _broken_off(state: Execution) -> Failed | Cancelled:
    place: dict[str, Any] = {
        "execution_id": state.origin.execution_id,
        "segment": state.segment,
        "sequence": 0,
        "at": state.ended_at,
    }
    if state.status == "CANCELLED":
        return Cancelled(**place, reason=state.reason or "cancelled")
    problem = error_of(state) or Problem(code="internal", message="it ended without a reason")
    return Failed(**place, error=problem)


def _conversation(before: Execution | None, state: Execution) -> Iterator[Publish]:
    origin, answer = state.origin, state.answer
    if origin.session is None or origin.agent_id is None or answer is None:
        return
    turn = ConversationTurn(
        execution_id=origin.execution_id,
        agent_id=origin.agent_id,
        session=origin.session,
        at=state.ended_at or state.accepted_at,
        user=origin.task,
        assistant=answer.text,
        messages=kept_turns(before),
    )
    subject = _fill(CONVERSATION_SUBJECT, state)
    lacks = lacking(state) or grown_prompt(before)
    yield Publish(subject=subject, body=turn, lacks=lacks, ttl=origin.kept)


def _safety(state: Execution, event: AttemptFailed | GenerationFinished) -> Iterator[Publish]:
    """Tell of each outcome that the attempt's findings have, what was found."""
    for outcome, kind in _SAFETY_EVENTS.items():
        found = [finding for finding in event.findings if finding.outcome == outcome]
        if found:
            body = kind(
                execution_id=state.origin.execution_id,
                agent_id=state.origin.agent_id,
                at=event.at,
                attempt=event.attempt,
                findings=found,
            )
            yield _public(state, body)


def _accepted_event(state: Execution) -> ExecutionAcceptedEvent:
    return ExecutionAcceptedEvent(
        kind=state.origin.kind,
        execution_id=state.origin.execution_id,
        agent_id=state.origin.agent_id,
        at=state.accepted_at,
        session=state.origin.session,
        traceparent=state.origin.trace,
    )


def _ended_event(state: Execution) -> ExecutionEndedEvent:
    return _PUBLIC_EVENTS[state.status](
        kind=state.origin.kind,
        execution_id=state.origin.execution_id,
        agent_id=state.origin.agent_id,
        at=state.ended_at or state.accepted_at,
        duration_ms=_duration_ms(state),
        attempts=_count(state),
        usage=state.usage,
        tokens_used=_tokens_used(state),
        cost=state.spend.cost,
        costs=list(state.spend.costs),
        error=error_of(state),
        traceparent=state.origin.trace,
    )


def _tokens_used(state: Execution) -> int | None:
    return state.usage.total if state.usage else None


def _duration_ms(state: Execution) -> int:
    return round(((state.ended_at or state.accepted_at) - state.accepted_at) / _MILLISECOND)
