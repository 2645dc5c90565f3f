"""A net as nodes and edges: places and transitions, and where tokens go. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.nets import (
    Action,
    AgentTransitionConfig,
    EventAction,
    NetDefinition,
    PlaceDefinition,
    ToolAction,
    TransitionDefinition,
    WorkflowAction,
)


class GraphNode(NamedTuple):
    """A place (``kind`` is its type) or a transition (``transition`` or ``manual``).

    ``note`` says what it does, ``tokens`` how many lie there.
    """

    key: str
    kind: str
    name: str
    note: str = ""
    tokens: int = 0


class GraphEdge(NamedTuple):
    """A way of tokens. ``note`` is empty for the usual one: else why they go it."""

    source: str
    target: str
    note: str = ""


class NetGraph(NamedTuple):
    """A net to be drawn."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]


def graph(net: NetDefinition, tokens: Mapping[str, int]) -> NetGraph:
    """Return what is drawn of a net; ``tokens`` says how many lie in which places."""
    keys = {place.id: f"p{number}" for number, place in enumerate(net.places)}
    nodes = [
        GraphNode(keys[one.id], one.type, one.id, _of_place(one), tokens.get(one.id, 0))
        for one in net.places
    ]
    ways = [
        (keys[one.id], one.timeout.to_place, "times out")
        for one in net.places
        if one.timeout is not None
    ]
    for number, one in enumerate(net.transitions):
        key = f"t{number}"
        kind = "manual" if one.manual else "transition"
        nodes.append(GraphNode(key, kind, one.id, _of_transition(one)))
        ways += [(keys[name], key, "") for name in one.from_places if name in keys]
        ways += [(key, name, "") for name in (one.to_place, *one.to_places) if name]
        if one.on_error.to_place is not None:
            ways.append((key, one.on_error.to_place, "fails"))
        if one.fork is not None and one.fork.empty_to is not None:
            ways.append((key, one.fork.empty_to, "none"))
    # What is not known is told by the proof: here it is left out.
    known = keys | {node.key: node.key for node in nodes}
    edges = [GraphEdge(source, known[to], note) for source, to, note in ways if to in known]
    return NetGraph(nodes, edges)


def _of_place(place: PlaceDefinition) -> str:
    return ", ".join(f"agent {one.agent_id}" for one in place.agents)


def _of_transition(one: TransitionDefinition) -> str:
    guards = len(one.rules) + len(one.conditions)
    parts = [
        _of_action(one.action or one.agent_execution),
        f"{guards} guard{'s' if guards > 1 else ''}" if guards else "",
        f"at most {one.most}" if one.most is not None else "",
        f"fork, at most {one.fork.most}" if one.fork is not None else "",
        "join" if one.join is not None or one.mode == "all" else "",
    ]
    return ", ".join(filter(None, parts))


def _of_action(action: Action | None) -> str:
    match action:
        case None:
            return ""
        case AgentTransitionConfig():
            return f"agent {action.agent_id}"
        case ToolAction():
            return f"tool {action.server}/{action.tool}"
        case WorkflowAction():
            return f"workflow {action.workflow_id}"
        case EventAction():
            return f"event {action.subject}"
        case _:
            return str(type(action).__struct_config__.tag)
