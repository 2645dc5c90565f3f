"""What MCP servers offer, through the pool: tools, resources and prompts of all servers."""

from collections import OrderedDict
from typing import Any

import mcp_types as types

from actors.cli.mcp_face import contents, offers
from actors.cli.mcp_face.running import Executions, Tell
from bus.codec import convert
from bus.errors import ProblemError, problem
from bus.ids import new_id
from schemas.executions import CallTool, ExecutionRecord, GetExecution
from schemas.streams import Completed
from schemas.tool_servers import (
    CompleteArgument,
    CompletedArgument,
    FilledPrompt,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListServers,
    PromptList,
    ReadResource,
    ResourceContents,
    ResourceList,
    ServerList,
)
from schemas.tools import ListTools, ServerTool, ToolList

MAX_KEPT = 1000
"""Tools that are kept by their names here, so that a call need not look for its server."""

MAX_SECONDS = 3600.0
_ABSENT = frozenset(("not_found", "validation"))
_SILENT = _ABSENT | {"provider_error", "provider_overloaded", "unavailable", "timeout"}
"""Problems of one server, which leave the lists of the others alone."""


class PooledTools:
    """Offers the tools of each server that the tenant may use; a page is those of one server."""

    def __init__(self, executions: Executions, seconds: float) -> None:
        self._executions = executions
        self._seconds = min(seconds, MAX_SECONDS)
        self._known: OrderedDict[str, ServerTool] = OrderedDict()

    async def page(self, cursor: str) -> tuple[list[types.Tool], str | None]:
        """Return the tools of the first server behind the one that the cursor names."""
        names = await self.servers()
        ahead = [name for name in names if name > cursor]
        if not ahead:
            return [], None
        listed: ToolList = await self._executions.ask(ListTools(patterns=[ahead[0]]))
        for tool in listed.tools:
            self._keep(tool)
        tools = [contents.tool(tool) for tool in listed.tools]
        return tools, ahead[0] if len(ahead) > 1 else None

    async def servers(self) -> list[str]:
        """Return the names of the servers, in their order."""
        listed: ServerList = await self._executions.ask(ListServers())
        return sorted(row.id for row in listed.servers)

    async def call(
        self, name: str, arguments: dict[str, Any], tell: Tell
    ) -> types.CallToolResult | None:
        """Call a tool as an execution without an agent."""
        tool = await self._find(name)
        if tool is None:
            return None
        execution_id = new_id()
        fields = {"server": tool.server, "tool": tool.tool, "arguments": arguments}
        more = {"id": execution_id, "seconds": self._seconds}
        end = await self._executions.run(convert(CallTool, fields | more), execution_id, tell)
        if not isinstance(end, Completed):
            return offers.unanswered(end)
        record: ExecutionRecord = await self._executions.ask(
            GetExecution(execution_id=execution_id)
        )
        if record.result is None:
            raise problem("not_found", "the result of the call is kept no longer")
        return contents.result(record.result, tool, execution_id)

    async def _find(self, name: str) -> ServerTool | None:
        """Return the tool that a name means: of several the one whose server has most of it."""
        if name in self._known:
            return self._known[name]
        for server, own in reversed(contents.splits(name)):
            try:
                wanted = convert(ListTools, {"patterns": [f"{server}/{own}"]})
            except ProblemError:
                continue
            listed: ToolList = await self._executions.ask(wanted)
            for tool in listed.tools:
                if tool.tool == own:
                    self._keep(tool)
                    return tool
        return None

    def _keep(self, tool: ServerTool) -> None:
        name = contents.named(tool.server, tool.tool)
        self._known[name] = tool
        self._known.move_to_end(name)
        if len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """Forget what was listed: a server has other tools than before."""
        self._known.clear()


class ServerLibrary:
    """Passes on resources and prompts of all servers. A server that is away has none."""

    def __init__(self, executions: Executions, tools: PooledTools) -> None:
        self._executions = executions
        self._tools = tools

    async def resources(self) -> list[types.Resource]:
        """Return all resources."""
        lists: list[ResourceList] = await self._of_all(ListResources)
        return [contents.resource(each) for found in lists for each in found.resources]

    async def templates(self) -> list[types.ResourceTemplate]:
        """Return all templates of resources."""
        lists: list[ResourceList] = await self._of_all(ListResources)
        return [contents.template(each) for found in lists for each in found.templates]

    async def read(
        self, uri: str
    ) -> list[types.TextResourceContents | types.BlobResourceContents] | None:
        """Return what a resource holds, None where there is none."""
        place = contents.resource_of(uri)
        if place is None:
            return None
        server, own = place
        wanted = convert(ReadResource, {"server": server, "uri": own})
        found: ResourceContents | None = await self._asked(wanted)
        return contents.contents(found.contents, uri) if found is not None else None

    async def prompts(self) -> list[types.Prompt]:
        """Return all prompts."""
        lists: list[PromptList] = await self._of_all(ListPrompts)
        return [contents.prompt(each) for found in lists for each in found.prompts]

    async def prompt(self, name: str, arguments: dict[str, str]) -> types.GetPromptResult | None:
        """Return a prompt with its values, None where there is none."""
        place = await self._place(name)
        if place is None:
            return None
        server, own = place
        wanted = convert(GetPrompt, {"server": server, "name": own, "arguments": arguments})
        found: FilledPrompt | None = await self._asked(wanted)
        if found is None:
            return None
        return types.GetPromptResult(
            messages=[contents.message(each, server) for each in found.messages]
        )

    async def complete(self, wanted: types.CompleteRequestParams) -> types.Completion | None:
        """Return values that an argument may have, None where nobody has it."""
        ref, of = wanted.ref, dict[str, str]()
        if isinstance(ref, types.PromptReference):
            place, of = await self._place(ref.name), {"prompt": ""}
        else:
            place, of = contents.resource_of(ref.uri), {"template": ""}
        if place is None:
            return None
        fields = {
            "server": place[0],
            **dict.fromkeys(of, place[1]),
            "argument": wanted.argument.name,
            "value": wanted.argument.value,
            "given": (wanted.context.arguments if wanted.context else None) or {},
        }
        found: CompletedArgument | None = await self._asked(convert(CompleteArgument, fields))
        if found is None:
            return None
        return types.Completion(values=found.values, total=found.total, has_more=found.more)

    async def _place(self, name: str) -> tuple[str, str] | None:
        """Return the server of a prompt, and its own name there."""
        servers = set(await self._tools.servers())
        found = (each for each in reversed(contents.splits(name)) if each[0] in servers)
        return next(found, None)

    async def _of_all(self, question: Any) -> list[Any]:
        """Ask each server, one after another; what one refuses is left out."""
        asked = [
            await self._asked(question(server=name), _SILENT)
            for name in await self._tools.servers()
        ]
        return [found for found in asked if found is not None]

    async def _asked(self, wanted: Any, absent: frozenset[str] = _ABSENT) -> Any:
        """Return an answer, None where the problem is that there is none."""
        try:
            return await self._executions.ask(wanted)
        except ProblemError as error:
            if error.problem.code in absent:
                return None
            raise
