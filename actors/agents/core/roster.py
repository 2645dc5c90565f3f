"""The agents a process knows of: a row of each for lists, and whole definitions of those in use."""

from typing import NamedTuple

import msgspec

from actors.agents.core.listing import summary
from schemas.agents import AgentDefinition, AgentSummary
from schemas.bounded import Bounded

CAPACITY_BYTES = 32 * 1024 * 1024
"""Whole definitions in memory, as JSON. A row costs about 1 KB and is kept for every agent."""


class _Row(NamedTuple):
    revision: int
    summary: AgentSummary | None


class Roster:
    """Definitions by tenant and id, each with the revision that stored it.

    An older revision never replaces a newer one, so readings and notices may come in any order.
    Whole definitions leave memory, the least used first, when they exceed ``capacity`` bytes.
    """

    def __init__(self, capacity: int = CAPACITY_BYTES) -> None:
        self._rows: dict[str, dict[str, _Row]] = {}
        self._kept: Bounded[tuple[str, str], AgentDefinition] = Bounded(
            capacity, lambda definition: len(msgspec.json.encode(definition))
        )

    def keep(self, tenant: str, definition: AgentDefinition, revision: int) -> None:
        """Remember a definition."""
        row = None if definition.deleted_at else summary(definition)
        if self._note(tenant, definition.id, _Row(revision, row)):
            self._kept.put((tenant, definition.id), definition)

    def drop(self, tenant: str, agent_id: str, revision: int) -> None:
        """Remember that there is nothing to be had under this id."""
        if self._note(tenant, agent_id, _Row(revision, None)):
            self._kept.drop((tenant, agent_id))

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._kept.clear()

    def find(self, tenant: str, agent_id: str) -> AgentDefinition | None:
        """Return the newest known definition, deleted or not; None if it is not in memory."""
        return self._kept.get((tenant, agent_id))

    def rows(self, tenant: str) -> list[AgentSummary]:
        """Return a row for each agent of a tenant that is not deleted."""
        rows = self._rows.get(tenant, {}).values()
        return [row.summary for row in rows if row.summary is not None]

    def _note(self, tenant: str, agent_id: str, row: _Row) -> bool:
        rows = self._rows.setdefault(tenant, {})
        known = rows.get(agent_id)
        if known is not None and known.revision > row.revision:
            return False
        rows[agent_id] = row
        return True
