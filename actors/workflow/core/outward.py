"""What an instance tells the world: its stream, facts, its turns and its record. Pure.

Each turn has a segment of the stream, which its owner writes. A new owner announces by replaying
turns, so the result must be the same to the byte.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from actors.workflow.core.messages import RunBegan, RunClosed, Turned
from actors.workflow.core.moves import action_begun, moves, net_steps
from actors.workflow.core.showing import assignee, final_data, record, stream_of
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.steps import ActionBegun, UndoBegun
from schemas.decision import Publish
from schemas.executions import ExecutionStatus
from schemas.nets import HumanAction, PublishAction
from schemas.problems import Problem
from schemas.streams import Cancelled, Completed, Failed, WorkflowTurned
from schemas.usage import Usage
from schemas.workflow_events import (
    WorkflowCancelledEvent,
    WorkflowCompletedEvent,
    WorkflowEndedEvent,
    WorkflowFact,
    WorkflowFailedEvent,
    WorkflowPausedEvent,
    WorkflowStartedEvent,
    WorkflowTimedOutEvent,
)
from schemas.workflow_runs import RUN_SUBJECT, TURN_SUBJECT, WorkflowTurn

KEPT = timedelta(days=90)

_MILLISECOND = timedelta(milliseconds=1)

_ENDS: dict[ExecutionStatus, type[WorkflowEndedEvent]] = {
    "COMPLETED": WorkflowCompletedEvent,
    "FAILED": WorkflowFailedEvent,
    "CANCELLED": WorkflowCancelledEvent,
    "TIMED_OUT": WorkflowTimedOutEvent,
}


def announce(
    before: WorkflowInstance | None, event: Turned, after: WorkflowInstance
) -> Iterator[Publish]:
    """Yield what everyone may know of a turn, in the order in which it is to be sent."""
    if isinstance(event.steps[0], RunBegan):
        yield _fact(after, WorkflowStartedEvent(**_facts(after, event.at)))
    yield _turn(after, event)
    yield from _published(event, after)
    told = moves(event, after)
    closed = any(isinstance(step, RunClosed) for step in event.steps)
    if told or closed:
        yield Publish(subject=stream_of(after), body=_turned(after, event, told))
    yield from _asked(before, event, after)
    if closed:
        yield Publish(subject=stream_of(after), body=_terminal(after))
        yield _fact(after, _ended(after))


def record_of(state: WorkflowInstance) -> Publish:
    """Return the record to be stored."""
    return Publish(subject=_subject(RUN_SUBJECT, state), body=record(state))


def retention(state: WorkflowInstance, now: datetime) -> timedelta:
    """Return for how long the state of an ended instance is kept from now on."""
    return (state.closed_at or now) + KEPT - now


def _turn(state: WorkflowInstance, event: Turned) -> Publish:
    body = WorkflowTurn(
        instance_id=state.origin.instance_id,
        turn=state.turn,
        at=event.at,
        cause=event.cause,
        steps=list(event.steps),
        glance=event.glance,
    )
    subject = _subject(TURN_SUBJECT, state, turn=state.turn)
    return Publish(subject=subject, body=body)


def _published(event: Turned, after: WorkflowInstance) -> Iterator[Publish]:
    """Yield what the net publishes on subjects of the tenant; that below ``events`` is stored."""
    for step in net_steps(event):
        action = action_begun(after.compiled, step)
        if isinstance(action, PublishAction) and isinstance(step, ActionBegun | UndoBegun):
            yield Publish(
                subject=f"cb.{after.origin.tenant}.{action.subject}",
                body=cast("msgspec.Struct", step.request or {}),
                stored=action.subject.startswith("events."),
                id=f"workflow.{after.origin.tenant}.{after.origin.instance_id}.{step.firing}",
            )


def _asked(
    before: WorkflowInstance | None, event: Turned, after: WorkflowInstance
) -> Iterator[Publish]:
    """Yield the facts that a person is waited for."""
    known = before.marking.firings if before is not None else {}
    for firing in after.marking.firings.values():
        was = known.get(firing.id)
        if was is not None and was.attempt == firing.attempt and was.is_paused == firing.is_paused:
            continue
        action = after.compiled.action_of(firing)
        asks = action if isinstance(action, HumanAction) else None
        if firing.is_paused or (asks is not None and firing.problem is None):
            body = WorkflowPausedEvent(
                **_facts(after, event.at),
                firing=firing.id,
                transition=firing.name,
                title=asks.title if asks is not None else "",
                assignee=assignee(asks, firing) if asks is not None else None,
                error=firing.problem,
            )
            yield _fact(after, body)


def _turned(state: WorkflowInstance, event: Turned, told: list[Any]) -> WorkflowTurned:
    return WorkflowTurned(
        execution_id=state.origin.instance_id,
        segment=state.segment - 1,
        sequence=0,
        at=event.at,
        turn=state.turn,
        moves=told,
    )


def _terminal(state: WorkflowInstance) -> Completed | Failed | Cancelled:
    place: dict[str, Any] = {
        "execution_id": state.origin.instance_id,
        "segment": state.segment - 1,
        "sequence": 1,
        "at": state.closed_at,
    }
    if state.status == "COMPLETED":
        return Completed(
            **place,
            final_response=msgspec.json.encode(final_data(state)).decode(),
            finish_reason="stop",
            usage=state.usage or Usage(),
            cost=state.cost,
        )
    problem = state.problem or Problem(code="internal", message="it ended without a reason")
    if state.status == "CANCELLED":
        return Cancelled(**place, reason=problem.message)
    return Failed(**place, error=problem)


def _ended(state: WorkflowInstance) -> WorkflowEndedEvent:
    at = state.closed_at or state.at
    return _ENDS[state.status](
        **_facts(state, at),
        duration_ms=round((at - state.began_at) / _MILLISECOND),
        turns=state.turn,
        cost=state.cost,
        error=state.problem,
    )


def _facts(state: WorkflowInstance, at: datetime) -> dict[str, Any]:
    origin = state.origin
    return {
        "instance_id": origin.instance_id,
        "workflow_id": origin.workflow_id,
        "version": state.version,
        "at": at,
        "traceparent": origin.trace,
    }


def _fact(state: WorkflowInstance, body: WorkflowFact) -> Publish:
    return Publish(subject=_subject(body.SUBJECT or "", state), body=body)


def _subject(template: str, state: WorkflowInstance, turn: int = 0) -> str:
    origin = state.origin
    return template.format(tenant=origin.tenant, instance_id=origin.instance_id, turn=turn)
