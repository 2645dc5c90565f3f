"""What the stream tells of a turn: one move for each step that users care about. Pure."""

from collections.abc import Iterator

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.messages import ActionAttempted, Turned
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.steps import (
    ActionBegun,
    ActionEnded,
    ActionFailed,
    ActionPutOff,
    Fired,
    Metered,
    Moved,
    NetStepped,
    PlaceAgentBegun,
    Step,
    TimedOut,
    TokenChange,
    TokensSet,
    UndoBegun,
)
from schemas.nets import Action, EmitAction, HumanAction, PlaceAgentConfig
from schemas.streams import WorkflowMove


def net_steps(event: Turned) -> Iterator[Step]:
    """Yield the steps of the net in a turn."""
    for each in event.steps:
        if isinstance(each, NetStepped):
            yield from each.steps


def action_begun(net: CompiledNet, step: Step) -> Action | PlaceAgentConfig | None:
    """Return the action that a step begins, None if it begins none."""
    if isinstance(step, PlaceAgentBegun):
        place = net.places.get(step.place)
        return place.agents[step.agent].definition if place is not None else None
    if not isinstance(step, ActionBegun | UndoBegun):
        return None
    transition = net.by_id.get(step.transition)
    if transition is None:
        return None
    found = transition.compensation if isinstance(step, UndoBegun) else transition.action
    return found.definition if found is not None else None


def moves(event: Turned, after: WorkflowInstance) -> list[WorkflowMove]:
    """Return what is told of a turn."""
    children = {
        each.firing: each.of.key
        for each in event.steps
        if isinstance(each, ActionAttempted) and each.of is not None
    }
    net = after.compiled
    return [told for step in net_steps(event) for told in _told(net, step, children)]


def _told(net: CompiledNet, step: Step, children: dict[str, str]) -> Iterator[WorkflowMove]:
    match step:
        case Moved():
            yield WorkflowMove(
                what="moved", transition=step.transition, place=step.place, tokens=[step.token]
            )
        case Fired():
            yield _put(step.puts, WorkflowMove(what="fired", transition=step.transition))
        case TokensSet():
            yield _put(step.puts, WorkflowMove(what="put"))
        case TimedOut():
            yield _put(step.puts, WorkflowMove(what="timed_out"))
        case ActionBegun() | PlaceAgentBegun() | UndoBegun():
            yield from _begun(net, step, children)
        case ActionEnded():
            yield _put(step.puts, WorkflowMove(what="ended", firing=step.firing))
        case ActionFailed():
            what = "paused" if step.then == "pause" else "failed"
            told = WorkflowMove(what=what, firing=step.firing, problem=step.problem)
            yield _put(step.puts, told)
        case ActionPutOff():
            yield WorkflowMove(
                what="put_off", firing=step.firing, until=step.retry_at, problem=step.problem
            )
        case Metered() if step.wrap_up:
            yield WorkflowMove(what="wrap_up")
        case _:
            pass


def _put(puts: tuple[TokenChange, ...], told: WorkflowMove) -> WorkflowMove:
    """Say which tokens were put and, where it is one place, into which."""
    places = {each.place for each in puts if each.place is not None}
    return WorkflowMove(
        what=told.what,
        transition=told.transition,
        firing=told.firing,
        problem=told.problem,
        tokens=[each.id for each in puts],
        place=places.pop() if len(places) == 1 else None,
    )


def _begun(
    net: CompiledNet,
    step: ActionBegun | PlaceAgentBegun | UndoBegun,
    children: dict[str, str],
) -> Iterator[WorkflowMove]:
    action = action_begun(net, step)
    is_place = isinstance(step, PlaceAgentBegun)
    asks = action if isinstance(action, HumanAction) else None
    yield WorkflowMove(
        what="asked" if asks is not None else "begun",
        transition=None if is_place else step.transition,
        place=step.place if is_place else None,
        firing=step.firing,
        began=children.get(step.firing),
        until=step.deadline,
        title=asks.title if asks is not None else "",
        assignee=asks.assignee if asks is not None else None,
    )
    if isinstance(action, EmitAction) and not is_place:
        yield WorkflowMove(
            what="emitted",
            transition=step.transition,
            firing=step.firing,
            event=action.event,
            fields=step.request or {},
        )
