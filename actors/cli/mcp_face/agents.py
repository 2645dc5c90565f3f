"""The agents of a tenant, listed as tools and run when they are called."""

from typing import Any

import mcp_types as types

from actors.cli.mcp_face import offers
from actors.cli.mcp_face.running import Executions, Tell
from bus.codec import convert
from bus.errors import ProblemError
from bus.ids import new_id
from schemas.agents import AgentDefinition, AgentList, GetAgent, ListAgents
from schemas.executions import ExecuteAgent
from schemas.ids import whole
from schemas.problems import Problem

PAGE = 50

MAX_KEPT = 1000
"""Definitions that are kept, since a listing names their version."""


class AgentTools:
    """Offers every agent that is not OFFLINE under its id."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._kept: dict[tuple[str, int], AgentDefinition] = {}

    async def page(self, cursor: str) -> tuple[list[types.Tool], str | None]:
        """Return a page of tools in the order of their names, and the cursor of the next.

        Raises:
            ProblemError: ``validation``: the cursor is none of ours; or as the bus refuses.
            TransientError: the bus or its agents are away.
        """
        offset = whole(cursor or "0")
        if offset is None:
            raise ProblemError(
                Problem(code="validation", message="is no cursor of this list", field="cursor")
            )
        wanted = ListAgents(limit=PAGE, offset=offset, sort_by="name", sort_order="asc")
        listed: AgentList = await self._executions.ask(wanted)
        rows = [row for row in listed.agents if row.status != "OFFLINE"]
        agents = [await self._version(row.id, row.version) for row in rows]
        following = offset + len(listed.agents)
        more = bool(listed.agents) and following < listed.total
        tools = [offers.tool(agent) for agent in agents if agent is not None]
        return tools, str(following) if more else None

    async def call(
        self, name: str, arguments: dict[str, Any], tell: Tell
    ) -> types.CallToolResult | None:
        """Run an agent, tell its progress, and return what came of it; None: no such agent.

        Whoever stops waiting ends the execution too.

        Raises:
            ProblemError: the arguments do not fit, or the execution is refused.
            TransientError: bus or fleet were away for too long.
        """
        agent = await self._find(name)
        if agent is None:
            return None
        fields = offers.execution(agent, arguments, new_id())
        if isinstance(fields, Problem):
            raise ProblemError(fields)
        wanted = convert(ExecuteAgent, fields)
        end = await self._executions.run(wanted, fields["id"], tell)
        return offers.result(end, agent)

    async def _find(self, name: str) -> AgentDefinition | None:
        try:
            return await self._executions.ask(convert(GetAgent, {"id": name}))
        except ProblemError as error:
            if error.problem.code in {"not_found", "validation"}:
                return None
            raise

    async def _version(self, agent_id: str, version: int) -> AgentDefinition | None:
        """Return a version of an agent, None if it was deleted since it was listed."""
        kept = self._kept.get((agent_id, version))
        if kept is not None:
            return kept
        agent = await self._find(agent_id)
        if agent is not None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[agent_id, agent.version] = agent
        return agent
