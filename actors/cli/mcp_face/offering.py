"""All that a tenant has, offered: agents, tools, resources, prompts; and told when it changes."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from actors.cli.mcp_face import serving
from actors.cli.mcp_face.agents import AgentTools
from actors.cli.mcp_face.changes import ListChanges
from actors.cli.mcp_face.running import Executions
from actors.cli.mcp_face.server import FaceLimits, Source, server_of
from actors.cli.mcp_face.tools import PooledTools, ServerLibrary
from bus.client import Client
from bus.codec import decode
from bus.ports import Delivery
from bus.subjects import filter_for
from schemas.events import AgentChangedEvent
from schemas.tool_servers import ToolsChangedEvent


class Offering:
    """Serves what a tenant has."""

    def __init__(self, client: Client, tenant: str) -> None:
        self._client = client
        self._tenant = tenant

    async def serve(
        self,
        port: int | None,
        ready: Callable[[str], None],
        limits: tuple[float, int],
        *,
        tools: bool,
    ) -> None:
        """Serve over HTTP on a port, or over standard streams, until it is ended.

        Raises as ``serving.serve_http``.
        """
        executions = Executions(self._client, self._tenant)
        changes = ListChanges(in_session=port is None)
        sources: list[Source] = [AgentTools(executions)]
        of_servers = PooledTools(executions, limits[0]) if tools else None
        library = ServerLibrary(executions, of_servers) if of_servers is not None else None
        if of_servers is not None:
            sources.append(of_servers)

        async def other_agents(_: Delivery) -> None:
            await changes.changed("tools")

        async def other_lists(delivery: Delivery) -> None:
            if of_servers is not None:
                of_servers.forget()
                await changes.changed(decode(ToolsChangedEvent, delivery.data).kind)

        server = server_of(sources, library, limits=FaceLimits(*limits), changes=changes)
        async with AsyncExitStack() as stack:
            for event, told in (
                (ToolsChangedEvent, other_lists),
                (AgentChangedEvent, other_agents),
            ):
                subject = filter_for(event.SUBJECT or "", tenant=self._tenant)
                subscription = self._client.transport.subscription(subject, told)
                await stack.enter_async_context(subscription)
            if port is None:
                await serving.serve_stdio(server)
            else:
                await serving.serve_http(server, port, ready)
