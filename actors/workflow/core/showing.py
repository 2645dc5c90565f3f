"""What users see of an instance: its handle, its record, its tokens and actions. Pure."""

from typing import Any

import msgspec

from actors.workflow.core.state import ActionRun, WorkflowInstance
from actors.workflow.core.tokens import Firing, NetToken
from schemas.callbacks import MOST_TOLD_BYTES, Ended, EndOutcome
from schemas.nets import HumanAction
from schemas.streams import STREAM_SUBJECT
from schemas.work import ReplyTo
from schemas.workflow_runs import (
    RUN_SUBJECT,
    FiringPhase,
    ListedOrigin,
    RunFiring,
    RunGlance,
    RunToken,
    WorkflowHandle,
    WorkflowRun,
)

_ENTITY = "workflow"


def stream_of(state: WorkflowInstance) -> str:
    """Return the subject of the instance's events."""
    origin = state.origin
    return STREAM_SUBJECT.format(tenant=origin.tenant, execution_id=origin.instance_id)


def handle(state: WorkflowInstance) -> WorkflowHandle:
    """Return what who acts on an instance is answered."""
    return WorkflowHandle(
        instance_id=state.origin.instance_id,
        workflow_id=state.origin.workflow_id,
        version=state.version,
        status=state.status,
        stream=stream_of(state),
        revision=state.turn,
    )


def record(state: WorkflowInstance) -> WorkflowRun:
    """Return the instance as it is stored and shown."""
    origin, budget = state.origin, state.compiled.definition.budget
    return WorkflowRun(
        instance_id=origin.instance_id,
        workflow_id=origin.workflow_id,
        version=state.version,
        status=state.status,
        revision=state.turn,
        digest=origin.digest,
        stream=stream_of(state),
        created_at=state.began_at,
        deadline=state.deadline,
        completed_at=state.closed_at,
        tokens=[shown_token(token) for token in state.marking.tokens.values()],
        firings=shown_firings(state),
        data=final_data(state),
        cost=state.cost,
        limit=budget.limit_pico if budget is not None else None,
        usage=state.usage,
        executions=state.executions,
        suspended=state.suspended,
        wrap_up=state.marking.wrap_up,
        error=state.problem,
        forked_from=origin.forked_from,
        user=origin.user,
        labels=origin.labels,
        metadata=origin.metadata,
        segment=state.segment - 1,
    )


def glance(state: WorkflowInstance) -> RunGlance:
    """Return what lists show of an instance."""
    origin = state.origin
    listed = ListedOrigin(
        workflow_id=origin.workflow_id,
        user=origin.user,
        labels=origin.labels,
        metadata=origin.metadata,
    )
    return RunGlance(
        status=state.status,
        turn=state.turn,
        version=state.version,
        places=list(dict.fromkeys(token.place for token in state.marking.tokens.values())),
        cost=state.cost,
        origin=listed if state.turn == 1 else None,
    )


def final_data(state: WorkflowInstance) -> dict[str, Any]:
    """Return the data of the token that came to its end last."""
    ended = [token for token in state.marking.tokens.values() if state.compiled.is_end(token.place)]
    return max(ended, key=lambda token: (token.since, int(token.id))).data if ended else {}


def shown_token(token: NetToken) -> RunToken:
    """Return a token as users see it."""
    return RunToken(
        id=token.id,
        place=token.place,
        data=token.data,
        metadata=token.metadata,
        since=token.since,
        moves=token.moves,
        counters=token.counters,
    )


def shown_firings(state: WorkflowInstance) -> list[RunFiring]:
    """Return the actions that run, or wait."""
    return [_shown_firing(state, firing) for firing in state.marking.firings.values()]


def _shown_firing(state: WorkflowInstance, firing: Firing) -> RunFiring:
    action, run = state.compiled.action_of(firing), state.run(firing.id)
    asks = action if isinstance(action, HumanAction) else None
    token, is_place = firing.token, firing.kind == "place"
    return RunFiring(
        id=firing.id,
        transition=None if is_place else firing.name,
        place=firing.name if is_place else None,
        kind=firing.kind,
        action=str(action.__struct_config__.tag or "agent") if action is not None else "",
        phase=_phase(state, firing, run),
        since=run.since if run is not None else firing.since,
        token=shown_token(token) if token is not None and not is_place else None,
        attempt=firing.attempt,
        until=firing.retry_at or firing.deadline,
        began=run.of.key if run is not None and run.of is not None else None,
        problem=firing.problem,
        title=asks.title if asks else "",
        assignee=assignee(asks, firing) if asks else None,
        form=asks.form if asks else None,
        choices=asks.choices if asks else [],
    )


def _phase(state: WorkflowInstance, firing: Firing, run: ActionRun | None) -> FiringPhase:
    if firing.problem is not None:
        return "backing_off" if firing.retry_at is not None else "paused"
    if run is None:
        return "waiting"
    is_open = state.attempts.running(run.work) is not None
    return "beginning" if is_open and run.of is not None else "running"


def assignee(asks: HumanAction, firing: Firing) -> str | None:
    """Return whom a task waits for: each attempt after the first goes to the next person."""
    return asks.escalate_to[firing.attempt - 2] if firing.attempt > 1 else asks.assignee


def end_told(state: WorkflowInstance) -> Ended:
    """Return the end of an instance, as who waits for it is told; its final data is the outcome."""
    origin = state.origin
    return Ended(
        of=ReplyTo(entity=_ENTITY, tenant=origin.tenant, key=origin.instance_id),
        status=state.status,
        at=state.closed_at or state.at,
        record=RUN_SUBJECT.format(tenant=origin.tenant, instance_id=origin.instance_id),
        usage=state.usage,
        cost=state.cost,
        problem=state.problem,
        outcome=_outcome(state),
    )


def _outcome(state: WorkflowInstance) -> EndOutcome | None:
    if state.status != "COMPLETED":
        return None
    data = msgspec.json.encode(final_data(state))
    if len(data) > MOST_TOLD_BYTES:
        return EndOutcome(truncated=True)
    return EndOutcome(value=msgspec.Raw(data))
