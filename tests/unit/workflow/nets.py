"""Nets for tests of the proof: one that is sound, to be spoilt, and short forms of others."""

from typing import Any

import msgspec

from actors.workflow.core.proof.checking import check
from schemas.nets import AgentTransitionConfig, NetDefinition
from schemas.workflows import NetFinding

SOUND: dict[str, Any] = {
    "places": [
        {"id": "draft", "type": "initial"},
        {
            "id": "review",
            "type": "review",
            "data_schema": {
                "type": "object",
                "properties": {
                    "score": {"type": "number", "minimum": 0, "maximum": 1},
                    "label": {"enum": ["good", "bad"]},
                },
                "additionalProperties": False,
            },
        },
        {"id": "approved", "type": "terminal"},
        {"id": "rejected", "type": "error"},
    ],
    "transitions": [
        {
            "id": "submit",
            "from_places": ["draft"],
            "to_place": "review",
            "action": {"type": "agent", "agent_id": "reviewer"},
        },
        {
            "id": "approve",
            "from_places": ["review"],
            "to_place": "approved",
            "priority": 1,
            "rules": [{"type": "field_greater_than", "field": "data.score", "value": 0.8}],
        },
        {"id": "reject", "from_places": ["review"], "to_place": "rejected"},
    ],
    "triggers": [{"type": "event", "id": "arrives", "subject": "documents.*"}],
}


def spoilt(path: str, value: Any) -> NetDefinition:
    """Return the sound net with one field set: ``transitions.0.to_place``; None takes it away."""
    whole = msgspec.json.decode(msgspec.json.encode(SOUND))
    *above, last = path.split(".")
    inner = whole
    for name in above:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    if isinstance(inner, list):
        inner.insert(int(last), value)
    elif value is None:
        del inner[last]
    else:
        inner[last] = value
    return msgspec.convert(whole, NetDefinition)


def agent(name: str = "writer", **more: Any) -> AgentTransitionConfig:
    """Return an action that runs an agent."""
    return AgentTransitionConfig(agent_id=name, **more)


def found(net: NetDefinition) -> list[NetFinding]:
    """Return all that is found in a net."""
    return check(net).findings


def named(net: NetDefinition) -> list[tuple[str, str]]:
    """Return what is found in a net: code and path."""
    return [(one.code, one.path) for one in found(net)]
