"""Questions about servers: their tools, resources and prompts, and how they fare."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import msgspec

from actors.mcp_pool.core.servers import is_wanted, servers_of
from actors.mcp_pool.core.upstream import CompletionWish, Upstream, UpstreamError
from actors.mcp_pool.flow.ledger import UpstreamLedger
from actors.mcp_pool.flow.pool import Requester, ServerPool
from actors.mcp_pool.flow.pools import Pools
from actors.mcp_pool.flow.replica import failure_of
from bus.errors import ProblemError, TransientError, problem
from bus.requests.caller import Caller
from bus.requests.service import answers
from bus.tasks import loop_time
from schemas.tool_servers import (
    CheckServer,
    CompleteArgument,
    CompletedArgument,
    FilledPrompt,
    FilledTurn,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListServers,
    PromptList,
    PromptParameter,
    ReadResource,
    ResourceContents,
    ResourceList,
    ServerList,
    ServerPrompt,
    ServerResource,
    ServerState,
    ServerTemplate,
)
from schemas.tools import ListTools, ServerTool, ToolList

T = TypeVar("T")

ANSWER_SECONDS = 15.0
"""A server that has not answered by then counts as unreachable."""

MOST_REPLY_BYTES = 768 * 1024
"""Of a list of tools: a message has at most a mebibyte."""


class ServerQuestions:
    """Answers from what the pools know, and asks servers where they do not."""

    def __init__(self, pools: Pools, ledger: UpstreamLedger) -> None:
        self._pools = pools
        self._ledger = ledger

    @answers(ListTools)
    async def list_tools(self, caller: Caller, wanted: ListTools) -> ToolList:
        """List the tools that match; servers are asked side by side."""
        listed = await self._pools.listed(caller.tenant)
        names = sorted(servers_of(wanted.patterns) or (row.id for row in listed.servers))
        found: dict[str, list[ServerTool] | None] = {}

        async def ask(name: str) -> None:
            found[name] = await self._tools_of(caller.tenant, name)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(ask, name)
        tools = [
            tool
            for name in names
            for tool in found[name] or ()
            if is_wanted(wanted.patterns, name, tool.tool)
        ]
        _demand_size(tools)
        return ToolList(tools=tools, unreachable=[name for name in names if found[name] is None])

    async def _tools_of(self, tenant: str, name: str) -> list[ServerTool] | None:
        """Return the tools of a server, None where it is not heard or not there."""
        try:
            pool = await self._pools.find(tenant, name)
            known = await pool.tools(Requester(tenant), loop_time() + ANSWER_SECONDS)
        except (ProblemError, TransientError, UpstreamError):
            return None
        return list(known.by_name.values())

    @answers(ListServers)
    async def list_servers(self, caller: Caller, _: ListServers) -> ServerList:
        """List the servers that a tenant may use."""
        return await self._pools.listed(caller.tenant)

    @answers(CheckServer)
    async def check(self, caller: Caller, wanted: CheckServer) -> ServerState:
        """Ask a server for a sign of life and its tools."""
        pool = await self._pools.find(caller.tenant, wanted.server)
        who, began = Requester(caller.tenant), loop_time()
        deadline, fault = began + ANSWER_SECONDS, ""
        try:
            await pool.ask(who, deadline, lambda upstream: upstream.probe(deadline))
            latency = loop_time() - began
            await pool.tools(who, deadline, anew=True)
        except UpstreamError as error:
            latency, fault = None, f"{error.outcome}: {error.message}"
        return msgspec.structs.replace(
            pool.state(),
            reachable=not fault,
            fault=fault,
            latency_ms=None if latency is None else round(latency * 1000, 3),
            ledger=self._ledger.state(),
        )

    @answers(ListResources)
    async def list_resources(self, caller: Caller, wanted: ListResources) -> ResourceList:
        """List the resources of a server."""
        deadline = loop_time() + ANSWER_SECONDS
        pool = await self._pools.find(caller.tenant, wanted.server)
        listing = await _asked(pool, caller, deadline, lambda up: up.list_resources(deadline))
        others = await _asked(pool, caller, deadline, lambda up: up.list_templates(deadline))
        return ResourceList(
            resources=[
                ServerResource(server=wanted.server, **each._asdict()) for each in listing.items
            ],
            templates=[
                ServerTemplate(server=wanted.server, **each._asdict()) for each in others.items
            ],
        )

    @answers(ReadResource)
    async def read_resource(self, caller: Caller, wanted: ReadResource) -> ResourceContents:
        """Read a resource of a server."""
        deadline = loop_time() + ANSWER_SECONDS
        pool = await self._pools.find(caller.tenant, wanted.server)
        contents = await _asked(
            pool, caller, deadline, lambda up: up.read_resource(wanted.uri, deadline)
        )
        return ResourceContents(contents=contents)

    @answers(ListPrompts)
    async def list_prompts(self, caller: Caller, wanted: ListPrompts) -> PromptList:
        """List the prompts of a server."""
        deadline = loop_time() + ANSWER_SECONDS
        pool = await self._pools.find(caller.tenant, wanted.server)
        listing = await _asked(pool, caller, deadline, lambda up: up.list_prompts(deadline))
        return PromptList(
            prompts=[
                ServerPrompt(
                    server=wanted.server,
                    name=each.name,
                    description=each.description,
                    parameters=[PromptParameter(**one._asdict()) for one in each.arguments],
                )
                for each in listing.items
            ]
        )

    @answers(GetPrompt)
    async def get_prompt(self, caller: Caller, wanted: GetPrompt) -> FilledPrompt:
        """Fill in a prompt of a server."""
        deadline = loop_time() + ANSWER_SECONDS
        pool = await self._pools.find(caller.tenant, wanted.server)
        turns = await _asked(
            pool,
            caller,
            deadline,
            lambda up: up.get_prompt(wanted.name, wanted.arguments, deadline),
        )
        return FilledPrompt(messages=[FilledTurn(**turn._asdict()) for turn in turns])

    @answers(CompleteArgument)
    async def complete(self, caller: Caller, wanted: CompleteArgument) -> CompletedArgument:
        """Ask a server for values of an argument."""
        if (wanted.prompt is None) == (wanted.template is None):
            raise problem("validation", "needs either a prompt or a template", field="prompt")
        wish = CompletionWish(
            wanted.argument, wanted.value, wanted.prompt, wanted.template or "", wanted.given
        )
        deadline = loop_time() + ANSWER_SECONDS
        pool = await self._pools.find(caller.tenant, wanted.server)
        found = await _asked(pool, caller, deadline, lambda up: up.complete(wish, deadline))
        return CompletedArgument(**found._asdict())


async def _asked(
    pool: ServerPool, caller: Caller, deadline: float, ask: Callable[[Upstream], Awaitable[T]]
) -> T:
    """Ask a server on a caller's behalf.

    Raises:
        ProblemError: it has brought no answer.
    """
    try:
        return await pool.ask(Requester(caller.tenant), deadline, ask)
    except UpstreamError as error:
        raise ProblemError(failure_of(error).problem()) from None


def _demand_size(tools: Sequence[ServerTool]) -> None:
    if len(msgspec.json.encode(tools)) > MOST_REPLY_BYTES:
        message = f"{len(tools)} tools are more than one answer holds: name fewer"
        raise problem("validation", message, field="patterns")
