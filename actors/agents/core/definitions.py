"""How a definition comes to be and changes. Every function returns the new one, or the Problem.

A change that changes nothing returns the definition as it stands, with its version: a command that
is sent again has no further effect.
"""

from datetime import datetime
from typing import Any, cast

import msgspec

from actors.agents.core.checks import check
from schemas.agents import AgentDefinition, ApplyAgent, CreateAgent, ModelChoice, UpdateAgent
from schemas.llm import ModelConfig
from schemas.problems import Problem
from schemas.providers import Provider

AgentInput = ApplyAgent | CreateAgent | UpdateAgent

_PLAIN_FIELDS = (
    "description",
    "kind",
    "config",
    "prompts",
    "personality",
    "tools",
    "capabilities",
    "memory",
    "limits",
    "policy",
    "metadata",
)
"""Fields that are taken over as they are given."""

_SETTINGS = ("temperature", "max_tokens", "top_p")
"""What the short form of provider and config may set."""


def create(wanted: AgentInput, now: datetime, *, version: int = 1) -> AgentDefinition | Problem:
    """Build the definition of a new agent; its name is its id unless one is given.

    ``version`` is above 1 where the id had an agent before: nothing of that one is inherited, but
    its versions remain readable under their numbers.
    """
    changes = _given(wanted, None)
    if isinstance(changes, Problem):
        return changes
    if "provider" not in changes:
        return _invalid("provider", "a new agent needs a provider or a model_config")
    bare = AgentDefinition(
        id=wanted.id,
        name=wanted.id,
        provider=changes["provider"],
        version=version,
        created_at=now,
        updated_at=now,
    )
    return _checked(msgspec.structs.replace(bare, **changes))


def update(
    definition: AgentDefinition, wanted: AgentInput, now: datetime
) -> AgentDefinition | Problem:
    """Replace the given fields, each as a whole; what is not given stays.

    Only ``model_config`` reaches into a field: it changes the model and the settings it names. An
    ``expected_version`` that is not the standing one is a ``conflict``.
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
    return _changed(definition, now, **changes)


def apply(
    standing: AgentDefinition | None, wanted: AgentInput, now: datetime
) -> AgentDefinition | Problem:
    """Create the agent, or update the one that stands.

    A deleted agent is created anew from the input alone, as the version after its deletion.
    """
    if standing is None:
        return create(wanted, now)
    if standing.deleted_at is not None:
        return create(wanted, now, version=standing.version + 1)
    return update(standing, wanted, now)


def soft_delete(definition: AgentDefinition, now: datetime) -> AgentDefinition:
    """Mark the agent as deleted; its versions stay readable. Deleting again changes nothing."""
    if definition.deleted_at is not None:
        return definition
    return _next(definition, now, deleted_at=now)


def toggle(definition: AgentDefinition, status: str, now: datetime) -> AgentDefinition:
    """Take the agent ``OFFLINE`` or back to ``IDLE``."""
    if definition.status == status:
        return definition
    return _next(definition, now, status=status)


def refusal(definition: AgentDefinition) -> Problem | None:
    """Return why an agent cannot be executed, None if it can."""
    if definition.deleted_at is not None:
        message = f"there is no agent {definition.id}"
        return Problem(code="not_found", message=message, field="agent_id")
    if definition.status == "OFFLINE":
        return Problem(code="conflict", message="the agent is OFFLINE", field="agent_id")
    return None


def _given(wanted: AgentInput, standing: AgentDefinition | None) -> dict[str, Any] | Problem:
    """Collect the fields that the input sets, the short form resolved."""
    fields: dict[str, Any] = {
        name: value
        for name in _PLAIN_FIELDS
        if (value := getattr(wanted, name)) is not msgspec.UNSET
    }
    if wanted.name is not None:
        fields["name"] = wanted.name
    if wanted.provider is not msgspec.UNSET:
        fields["provider"] = wanted.provider
    if wanted.model_config is msgspec.UNSET:
        return fields
    if wanted.provider is not msgspec.UNSET:
        return _invalid("model_config", "give either provider or model_config, not both")
    config = fields.get("config") or (standing.config if standing else ModelConfig())
    fields["config"] = _merged(config, wanted.model_config)
    chosen = _chosen(standing.provider if standing else None, wanted.model_config)
    if isinstance(chosen, Problem):
        return chosen
    return {**fields, "provider": chosen}


def _merged(config: ModelConfig, choice: ModelChoice) -> ModelConfig:
    named = {name: value for name in _SETTINGS if (value := getattr(choice, name)) is not None}
    return msgspec.structs.replace(config, **named)


def _chosen(standing: Provider | None, choice: ModelChoice) -> Provider | Problem:
    """The provider of the short form; base_url and secret stay where only the model changes."""
    named = {"type": choice.provider, "model": choice.model}
    try:
        chosen: Provider = msgspec.convert(named, cast("Any", Provider))
    except msgspec.ValidationError:
        return _invalid("model_config.provider", "is none of a type that needs only a model")
    if standing is not None and type(standing) is type(chosen):
        return msgspec.structs.replace(standing, model=choice.model)
    return chosen


def _changed(
    definition: AgentDefinition, now: datetime, **changes: Any
) -> AgentDefinition | Problem:
    if msgspec.structs.replace(definition, **changes) == definition:
        return definition
    return _checked(_next(definition, now, **changes))


def _next(definition: AgentDefinition, now: datetime, **changes: Any) -> AgentDefinition:
    """The following version; its time is never before the last one, which another clock gave."""
    return msgspec.structs.replace(
        definition,
        version=definition.version + 1,
        updated_at=max(now, definition.updated_at),
        **changes,
    )


def _checked(definition: AgentDefinition) -> AgentDefinition | Problem:
    return check(definition) or definition


def _invalid(field: str, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)
