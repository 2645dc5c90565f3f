"""Asking which tools servers have, and remembering it for a while."""

from actors.agents.core.tool_offers import ServerNames
from bus.client import Client
from bus.errors import ProblemError, TransientError, problem
from bus.ports import Transport
from bus.requests.caller import Caller
from bus.tasks import loop_time
from schemas.bounded import Bounded
from schemas.tools import ListTools, ServerTool, ToolList

KEPT_SECONDS = 30.0
"""For so long the tools of servers are remembered; a call of one that is gone is told the model."""

MISSED_SECONDS = 2.0
"""The same of an answer that lacks a server: it may be there soon."""

ASK_SECONDS = 3.0
"""Less than callers wait for the handle of an execution: they are told what cannot be reached."""

MOST_KEPT = 1000


class RememberedTools:
    """The tools of servers, as the pool of servers has told them of late."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: Bounded[tuple[str, tuple[str, ...]], tuple[float, ToolList]] = Bounded(
            MOST_KEPT
        )

    async def of(self, caller: Caller, servers: ServerNames) -> ToolList:
        """Return the tools of these servers. Where nobody can be asked, none can be reached."""
        name = (caller.tenant, tuple(servers.all))
        known = self._known.get(name)
        if known is not None and known[0] > loop_time():
            return known[1]
        listed = await self._ask(caller, servers)
        seconds = MISSED_SECONDS if listed.unreachable else KEPT_SECONDS
        return self._known.put(name, (loop_time() + seconds, listed))[1]

    async def tool(self, caller: Caller, server: str, tool: str) -> ServerTool:
        """Return one tool of a server.

        Raises:
            ProblemError: ``not_found``; ``unavailable`` where the server cannot be reached.
        """
        listed = await self.of(caller, ServerNames([server], [server]))
        if server in listed.unreachable:
            raise problem("unavailable", f"the server {server} cannot be reached", field="server")
        found = [each for each in listed.tools if (each.server, each.tool) == (server, tool)]
        if not found:
            raise problem("not_found", f"the server {server} has no such tool", field="tool")
        return found[0]

    async def _ask(self, caller: Caller, servers: ServerNames) -> ToolList:
        client = Client(self._transport, by=caller.principal)
        try:
            wanted = ListTools(patterns=servers.all)
            return await client.request(caller.tenant, wanted, timeout=ASK_SECONDS)
        except (TransientError, ProblemError):
            return ToolList(tools=[], unreachable=servers.certain)
