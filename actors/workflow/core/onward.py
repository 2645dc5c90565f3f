"""What follows by itself: the net goes on, actions begin, the money is looked at, the end. Pure."""

from datetime import timedelta

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.messages import (
    INSTANCE_ENTITY,
    ActionAttempted,
    ActionKind,
    RunClosed,
)
from actors.workflow.core.money import allowance, meter, worst_of
from actors.workflow.core.requests import Beginning, child_of, entity_of
from actors.workflow.core.standing import deadlock, standing
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.tokens import Firing, Marking
from actors.workflow.core.turning import Turning
from schemas.attempts import WorkStarted
from schemas.callbacks import WaitBegun
from schemas.http_actions import is_once
from schemas.nets import (
    AgentTransitionConfig,
    HttpAction,
    PlaceAgentConfig,
    ToolAction,
    WorkflowAction,
)
from schemas.problems import Problem

HTTP_SECONDS = 60.0
"""What a request may take that says nothing of it."""

MOST_ROUNDS = 64
"""So often the net goes on within a turn after actions that are done at once."""

Outside = Beginning | HttpAction
"""The actions that need work outside; all others wait for a time, a person or an event."""

_KINDS: dict[type, ActionKind] = {
    AgentTransitionConfig: "agent",
    PlaceAgentConfig: "agent",
    ToolAction: "tool",
    WorkflowAction: "workflow",
}


def onward(turn: Turning) -> None:
    """Let the net go on as far as it can, and end the instance where nothing is left to do."""
    for _ in range(MOST_ROUNDS):
        turn.flush()
        if turn.state.closed is not None:
            return
        told = meter(turn.state, turn.net.definition.budget)
        if told is not None:
            turn.run.meter(wrap_up=told[0], reserve=told[1])
        ends = [_begin(turn, *each) for each in _unbegun(turn.state)]
        if not any(ends) and told is None:
            break
    if not turn.state.suspended:
        _close(turn)


def _unbegun(state: WorkflowInstance) -> list[tuple[Firing, Outside]]:
    """Return the firings that need work outside of which no attempt is under way yet."""
    net, found = state.compiled, list[tuple[Firing, Outside]]()
    for firing in state.marking.firings.values():
        if firing.problem is None and state.run(firing.id) is None:
            action = net.action_of(firing)
            if isinstance(action, Outside):
                found.append((firing, action))
    return found


def _begin(turn: Turning, firing: Firing, action: Outside) -> bool:
    """Begin an attempt at an action; say if it is over already."""
    if not isinstance(action, HttpAction):
        return _begin_child(turn, firing, action)
    until = firing.deadline or turn.now + timedelta(seconds=HTTP_SECONDS)
    attempted = ActionAttempted(firing=firing.id, attempt=firing.attempt, kind="http", until=until)
    turn.add(attempted, _started(turn, firing, once=is_once(action.method)))
    return False


def _begin_child(turn: Turning, firing: Firing, action: Beginning) -> bool:
    refused = allowance(turn.state, turn.net, firing, action)
    if refused is not None:
        turn.run.fail(firing.id, refused)
        return True
    entity = entity_of(action, INSTANCE_ENTITY)
    of = child_of(turn.state.origin, entity, firing.id, firing.attempt)
    attempted = ActionAttempted(
        firing=firing.id,
        attempt=firing.attempt,
        kind=_KINDS[type(action)],
        of=of,
        worst=worst_of(turn.state, action),
        leave=isinstance(action, WorkflowAction) and action.on_close == "leave",
    )
    begins = WaitBegun(of=of, at=turn.now, by_item=True)
    turn.add(attempted, _started(turn, firing), begins)
    return False


def _started(turn: Turning, firing: Firing, *, once: bool = False) -> WorkStarted:
    return WorkStarted(work=f"{firing.id}.{firing.attempt}", attempt=1, at=turn.now, once=once)


def _close(turn: Turning) -> None:
    """End the instance where its net has come to an end, or cannot."""
    net, marking = turn.net, turn.state.marking
    match standing(net, marking):
        case "completed":
            turn.add(_end(net, marking))
        case "failed":
            turn.add(RunClosed(status="FAILED", problem=marking.problem))
        case "deadlock":
            turn.add(RunClosed(status="FAILED", problem=deadlock(net, marking)))
        case _:
            pass


def _end(net: CompiledNet, marking: Marking) -> RunClosed:
    """Return the end of an instance whose tokens have all come to theirs.

    Where all have gone to places of errors it has failed.
    """
    kinds = {net.places[token.place].definition.type for token in marking.tokens.values()}
    if kinds != {"error"}:
        return RunClosed(status="COMPLETED")
    place = next(iter(marking.tokens.values())).place
    message = f"all has ended in error places, at last in {place}"
    return RunClosed(status="FAILED", problem=Problem(code="internal", message=message))
