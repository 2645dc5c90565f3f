"""Pages of agents: filter, sort, cut."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from schemas.agents import AgentDefinition, AgentList, AgentStatus, AgentSummary, ListAgents
from schemas.providers import Provider

T = TypeVar("T")


class Activity(NamedTuple):
    """What is known of an agent's executions: how many there were, how many are under way."""

    executions: int = 0
    running: int = 0


ActivityOf = Callable[[str], Activity]
"""The activity of an agent by its id."""


def summary(definition: AgentDefinition) -> AgentSummary:
    """Return the row of a definition, as yet without its activity."""
    return AgentSummary(
        id=definition.id,
        name=definition.name,
        description=definition.description,
        kind=definition.kind,
        status=definition.status,
        provider=provider_type(definition.provider),
        model=definition.provider.model,
        version=definition.version,
        execution_count=0,
        created_at=definition.created_at,
        updated_at=definition.updated_at,
        capabilities=definition.capabilities,
    )


def provider_type(provider: Provider) -> str:
    """Return the ``type`` of a provider as it is written in a definition."""
    return str(provider.__struct_config__.tag)


def status_of(stored: AgentStatus, activity: Activity) -> AgentStatus:
    """Return the status to show: an ``IDLE`` agent with executions under way is ``BUSY``."""
    return "BUSY" if stored == "IDLE" and activity.running else stored


def page_agents(
    rows: Iterable[AgentSummary], query: ListAgents, activity_of: ActivityOf
) -> AgentList:
    """Return one page of the agents that match; equal sort keys are in order of their ids."""
    matching = [
        row
        for row in (_with_activity(row, activity_of(row.id)) for row in rows)
        if _agent_matches(row, query)
    ]
    matching.sort(key=lambda row: row.id)
    matching.sort(key=_agent_key(query), reverse=query.sort_order == "desc")
    return AgentList(
        agents=_page(matching, query.limit, query.offset),
        total=len(matching),
        limit=query.limit,
        offset=query.offset,
    )


def _page(rows: Sequence[T], limit: int, offset: int) -> list[T]:
    return list(rows[offset : offset + limit])


def _with_activity(row: AgentSummary, activity: Activity) -> AgentSummary:
    return msgspec.structs.replace(
        row,
        status=status_of(row.status, activity),
        execution_count=activity.executions,
    )


def _agent_matches(row: AgentSummary, query: ListAgents) -> bool:
    return (
        query.status in (None, row.status)
        and query.provider in (None, row.provider)
        and query.kind in (None, row.kind)
        and (query.capability is None or _has(query.capability, row))
        and (query.search is None or _found(query.search, row))
    )


def _has(capability: str, row: AgentSummary) -> bool:
    wanted = capability.casefold()
    return any(wanted == one.casefold() for one in row.capabilities)


def _found(search: str, row: AgentSummary) -> bool:
    wanted, texts = search.casefold(), (row.id, row.name, row.description, *row.capabilities)
    return any(wanted in text.casefold() for text in texts)


def _agent_key(query: ListAgents) -> Callable[[AgentSummary], Any]:
    if query.sort_by == "name":
        return lambda row: row.name.casefold()
    return lambda row: getattr(row, query.sort_by)
