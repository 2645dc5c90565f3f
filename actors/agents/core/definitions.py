"""How a definition comes to be and changes. Every function returns the new one, or the Problem.

A change that changes nothing returns the definition as it stands, with its version: a command that
is sent again has no further effect.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from unicodedata import normalize

import msgspec
from msgspec import UNSET, to_builtins

from actors.agents.core.checks import check
from schemas.agents import (
    AgentDefinition,
    ApplyAgent,
    CreateAgent,
    TemplateUse,
    UpdateAgent,
)
from schemas.patches import patched
from schemas.problems import Problem
from schemas.versioned import changed

Whole = ApplyAgent | CreateAgent
AgentInput = Whole | UpdateAgent

_SETTINGS = ("temperature", "max_tokens", "top_p")
"""What the short form of provider and config may set."""

MAX_ID = 64

_OTHER = re.compile(r"[^a-z0-9]+")

_SHORT = ("model_config", "instructions")

_FIELDS = {*_SHORT, *AgentDefinition.__struct_fields__} & {*ApplyAgent.__struct_fields__} - {"id"}
"""What an input may set."""


def id_of(wanted: CreateAgent) -> str | Problem:
    """Return the id of a new agent: the given one, or its name in letters that an id may have."""
    if wanted.id is not None:
        return wanted.id
    plain = normalize("NFKD", wanted.name or "").encode("ascii", "ignore").decode().lower()
    made = _OTHER.sub("-", plain).strip("-")[:MAX_ID]
    return made or _invalid("id", "give an id, or a name of which one can be made")


def create(
    name: str,
    wanted: Whole,
    now: datetime,
    *,
    version: int = 1,
    template: TemplateUse | None = None,
) -> AgentDefinition | Problem:
    """Build the definition of a new agent, which is named after its id unless a name is given."""
    changes = _given(wanted, None)
    if isinstance(changes, Problem):
        return changes
    if "provider" not in changes:
        return _invalid("provider", "a new agent needs a provider or a model_config")
    bare = AgentDefinition(
        id=name,
        name=name,
        provider=changes["provider"],
        version=version,
        created_at=now,
        updated_at=now,
        template=template,
    )
    return _checked(msgspec.structs.replace(bare, **changes))


def update(
    definition: AgentDefinition, wanted: ApplyAgent | UpdateAgent, now: datetime
) -> AgentDefinition | Problem:
    """Change the given fields: an update merges into them, else each is replaced as a whole.

    The short forms reach into fields: ``model_config`` changes the model and the settings it names,
    ``instructions`` the system prompt. An ``expected_version`` that is not the standing one is a
    ``conflict``.
    """
    expected = wanted.expected_version if isinstance(wanted, UpdateAgent) else None
    if expected is not None and expected != definition.version:
        return Problem(
            code="conflict",
            message=f"the agent is at version {definition.version}",
            field="expected_version",
        )
    changes = _given(wanted, definition)
    if isinstance(changes, Problem):
        return changes
    after = changed(definition, now, **changes)
    return after if after is definition else _checked(after)


def toggle(definition: AgentDefinition, status: str, now: datetime) -> AgentDefinition:
    """Take the agent ``OFFLINE`` or back to ``IDLE``."""
    return changed(definition, now, status=status)


def refusal(definition: AgentDefinition) -> Problem | None:
    """Return why an agent that stands cannot be executed, None if it can."""
    if definition.status == "OFFLINE":
        message = f"the agent is OFFLINE: `callboard agents toggle {definition.id} --status IDLE`"
        return Problem(code="conflict", message=f"{message} brings it back", field="agent_id")
    return None


def _given(wanted: AgentInput, standing: AgentDefinition | None) -> dict[str, Any] | Problem:
    """Return the values of the fields that an input sets, or the first that is wrong."""
    said = {name: value for name, value in to_builtins(wanted).items() if name in _FIELDS}
    if said["name"] is None:
        del said["name"]
    patches = lengthened(said)
    if isinstance(patches, Problem):
        return patches
    whole = () if isinstance(wanted, UpdateAgent) else said
    values: dict[str, Any] = {}
    for name, patch in patches.items():
        under = UNSET if standing is None or name in whole else getattr(standing, name)
        value = patched(AgentDefinition, name, under, patch, variants=name != "metadata")
        if isinstance(value, Problem):
            return _in_short(value) if "model_config" in said else value
        values[name] = value
    return values


def lengthened(said: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """Write the short forms of an agent's fields, as JSON, as patches of the fields they mean."""
    long = {name: value for name, value in said.items() if name not in _SHORT}
    if "model_config" in said:
        if "provider" in said:
            return _invalid("model_config", "give either provider or model_config, not both")
        choice = said["model_config"]
        names = {"provider": "type", "model": "model"}
        long["provider"] = {new: choice[old] for old, new in names.items() if old in choice}
        settings = {name: choice[name] for name in _SETTINGS if name in choice}
        long["config"] = (said.get("config") or {}) | settings
    if "instructions" in said:
        prompts: dict[str, Any] = said.get("prompts") or {}
        if prompts.get("system"):
            return _invalid("instructions", "give either instructions or prompts.system, not both")
        long["prompts"] = prompts | {"system": said["instructions"]}
    if "tools" in said:
        long["tools"] = [_tool(one) if isinstance(one, str) else one for one in said["tools"]]
    return long


def _tool(short: str) -> dict[str, Any]:
    """Write a tool that is given by its name alone: its own, or its server's and a pattern."""
    server, slash, pattern = short.partition("/")
    return {"server": server, "tools": [pattern]} if slash else {"name": short}


def _in_short(found: Problem) -> Problem:
    """Name the place in the short form of what is wrong with the provider it comes to."""
    match (found.field or "").partition("."):
        case ("provider", _, "model"):
            return _invalid("model_config.model", "a provider needs its model")
        case ("provider", _, _):
            return _invalid("model_config.provider", "is none of a type that needs only a model")
        case _:
            return found


def _checked(definition: AgentDefinition) -> AgentDefinition | Problem:
    return check(definition) or definition


def _invalid(field: str, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)
