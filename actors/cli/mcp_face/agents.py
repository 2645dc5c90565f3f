"""The agents of a tenant, listed as tools and run when they are called."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
import mcp_types as types

from actors.cli.mcp_face import offers
from actors.cli.mcp_face.progress import Notice, Progress
from bus.client import Client, follow
from bus.codec import convert
from bus.errors import ProblemError, TransientError, UnavailableError
from bus.ids import new_id
from schemas.agents import AgentDefinition, AgentList, GetAgent, ListAgents
from schemas.executions import CancelExecution, ExecuteAgent
from schemas.ids import whole
from schemas.problems import Problem
from schemas.streams import Terminal

Tell = Callable[[Notice], Awaitable[None]]

PAGE = 50

MAX_KEPT = 1000
"""Definitions that are kept, since a listing names their version."""

PATIENCE_SECONDS = 5.0
CANCEL_SECONDS = 5.0
"""So long a call that is given up waits for the end of its execution to be journalled."""


class AgentTools:
    """Offers every agent that is not OFFLINE under its id."""

    def __init__(self, client: Client, tenant: str) -> None:
        self._client = client
        self._tenant = tenant
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
        listed: AgentList = await self._ask(wanted)
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
        try:
            await self._ask(wanted)
            end = await self._end(fields["id"], tell)
        except anyio.get_cancelled_exc_class():
            await self._cancel(fields["id"])
            raise
        return offers.result(end, agent)

    async def _find(self, name: str) -> AgentDefinition | None:
        try:
            return await self._ask(convert(GetAgent, {"id": name}))
        except ProblemError as error:
            if error.problem.code in {"not_found", "validation"}:
                return None
            raise

    async def _end(self, execution_id: str, tell: Tell) -> Terminal:
        progress = Progress()
        async with aclosing(follow(self._client, self._tenant, execution_id)) as events:
            async for event in events:
                for notice in progress.take(event, anyio.current_time()):
                    await tell(notice)
                if isinstance(event, Terminal):
                    return event
        raise UnavailableError(execution_id, "its stream has ended without a last event")

    async def _cancel(self, execution_id: str) -> None:
        wanted = CancelExecution(execution_id=execution_id, reason="the MCP client has gone")
        with (
            anyio.move_on_after(CANCEL_SECONDS, shield=True),
            suppress(ProblemError, TransientError),
        ):
            await self._ask(wanted)

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

    async def _ask(self, wanted: Any) -> Any:
        return await self._client.insist(self._tenant, wanted, patience=PATIENCE_SECONDS)
