"""Tools, resources and prompts of MCP servers through the server face."""

from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client import Client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from actors.cli.mcp_face import contents
from actors.cli.mcp_face.changes import ListChanges
from actors.cli.mcp_face.progress import Notice, Progress
from actors.cli.mcp_face.running import Executions, Tell
from actors.cli.mcp_face.server import server_of
from actors.cli.mcp_face.tools import PooledTools, ServerLibrary
from bus.errors import problem
from schemas.executions import CallTool, GetExecution
from schemas.streams import Cancelled, Completed, Terminal, ToolProgressed
from schemas.tool_servers import (
    CompleteArgument,
    CompletedArgument,
    FilledPrompt,
    FilledTurn,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListServers,
    PromptList,
    ReadResource,
    ResourceContents,
    ResourceList,
    ServerList,
    ServerPrompt,
    ServerResource,
    ServerSummary,
    ServerTemplate,
)
from schemas.tools import (
    ListTools,
    ServerTool,
    ToolHints,
    ToolList,
    ToolMedia,
    ToolResource,
    ToolResult,
    ToolText,
)
from schemas.usage import Usage
from tests.unit.agents.samples import NOW

AT: dict[str, Any] = {"execution_id": "e1", "segment": 1, "sequence": 0, "at": NOW}
DEGREES = {"type": "object", "properties": {"degrees": {"type": "number"}}}
TOOLS = [
    ServerTool(server="notes", tool="read", hints=ToolHints(read_only=True)),
    ServerTool(server="notes", tool="a__b"),
    ServerTool(server="notes__a", tool="b"),
    ServerTool(server="warm", tool="now", output=DEGREES),
]


class Record:
    """What of a record is read."""

    def __init__(self, result: ToolResult) -> None:
        self.result = result


class Pool(Executions):
    """Answers as a pool would; ``away`` are servers that are not heard."""

    def __init__(self) -> None:
        self.result = ToolResult(content=[ToolText(text="done")])
        self.end: Terminal = Completed(**AT, final_response="", finish_reason="stop", usage=Usage())
        self.called: list[tuple[str, str]] = []
        self.away: set[str] = set()
        self.notices: list[Notice] = []
        self._answers: Mapping[type, Callable[[Any], Any]] = {
            ListServers: lambda _: ServerList(
                servers=[
                    ServerSummary(id=each, owner="operator")
                    for each in sorted({tool.server for tool in TOOLS})
                ]
            ),
            ListTools: lambda wanted: ToolList(tools=_matching(wanted.patterns[0])),
            GetExecution: lambda _: Record(self.result),
            ListResources: lambda wanted: ResourceList(
                resources=[ServerResource(server=wanted.server, uri="file:///x", name="x")],
                templates=[ServerTemplate(server=wanted.server, template="f:///{n}", name="n")],
            ),
            ReadResource: lambda wanted: ResourceContents(
                contents=[ToolResource(uri=wanted.uri, text=f"{wanted.server} {wanted.uri}")]
            ),
            ListPrompts: lambda wanted: PromptList(
                prompts=[ServerPrompt(server=wanted.server, name="greet")]
            ),
            GetPrompt: lambda wanted: FilledPrompt(
                messages=[
                    FilledTurn(role="user", content=ToolText(text=f"{wanted.server} {wanted.name}"))
                ]
            ),
            CompleteArgument: lambda wanted: CompletedArgument(
                values=[f"{wanted.server} {wanted.prompt} {wanted.template} {wanted.value}"]
            ),
        }

    async def ask(self, wanted: Any) -> Any:
        if getattr(wanted, "server", "") in self.away:
            raise problem("provider_error", "it is away")
        return self._answers[type(wanted)](wanted)

    async def run(self, wanted: Any, execution_id: str, tell: Tell) -> Terminal:
        assert isinstance(wanted, CallTool)
        assert wanted.id == execution_id
        self.called.append((wanted.server, wanted.tool))
        for notice in self.notices:
            await tell(notice)
        return self.end


def _matching(pattern: str) -> list[ServerTool]:
    server, _, tool = pattern.partition("/")
    return [each for each in TOOLS if each.server == server and tool in {"", each.tool}]


def _face(pool: Pool, changes: ListChanges | None = None) -> Any:
    tools = PooledTools(pool, 60)
    return server_of([tools], ServerLibrary(pool, tools), changes=changes)


async def _all(client: Client) -> list[types.Tool]:
    tools: list[types.Tool] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return tools


ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


# Tools


@ERAS
async def test_tools_of_all_servers_are_listed_a_server_a_page(era: Any):
    async with Client(_face(Pool()), mode=era) as client:
        found = {tool.name: tool for tool in await _all(client)}

    assert set(found) == {"notes__read", "notes__a__b", "warm__now"}
    read = found["notes__read"].annotations
    assert read is not None
    assert read.read_only_hint
    assert found["warm__now"].output_schema == DEGREES


@pytest.mark.parametrize("listed", [False, True])
async def test_a_call_goes_to_the_server_whose_tool_it_is(*, listed: bool):
    pool = Pool()
    async with Client(_face(pool)) as client:
        if listed:
            await _all(client)
        result = await client.call_tool("notes__read", {"a": 1})
        with pytest.raises(MCPError) as absent:
            await client.call_tool("notes__write", {})
        with pytest.raises(MCPError):
            await client.call_tool("plain", {})

    assert pool.called == [("notes", "read")]
    assert result.content == [types.TextContent(text="done")]
    assert absent.value.code == types.INVALID_PARAMS


async def test_structured_results_failures_and_what_is_too_large():
    pool = Pool()
    async with Client(_face(pool)) as client:
        pool.result = ToolResult(structured={"degrees": 3.5})
        warm = await client.call_tool("warm__now", {})
        pool.result = ToolResult(bytes=10**6, truncated=True)
        large = await client.call_tool("warm__now", {})
        pool.result = ToolResult(content=[ToolText(text="no")], is_error=True)
        wrong = await client.call_tool("notes__read", {})
        pool.end = Cancelled(**AT, reason="enough")
        ended = await client.call_tool("notes__read", {})

    assert warm.structured_content == {"degrees": 3.5}
    assert large.is_error
    assert wrong.is_error
    assert ended.content == [types.TextContent(text="cancelled: enough")]


async def test_logs_of_a_server_are_told_from_the_level_that_was_set():
    pool, told = Pool(), list[Any]()
    pool.notices = [Notice(1, "small", "debug"), Notice(2, "bad", "error")]
    changes = ListChanges(in_session=True)

    async def hear(params: types.LoggingMessageNotificationParams) -> None:
        told.append((params.level, params.data))

    async with Client(_face(pool, changes), mode="legacy", logging_callback=hear) as client:
        await client.call_tool("notes__read", {})
        with pytest.warns(MCPDeprecationWarning):
            await client.session.set_logging_level("warning")  # pyright: ignore[reportDeprecated]
        await client.call_tool("notes__read", {})

    assert told == [("debug", "small"), ("error", "bad"), ("error", "bad")]


def test_progress_of_a_tool_is_told_and_its_logs_with_their_level():
    progress = Progress()
    of: dict[str, Any] = {**AT, "call_id": "c", "tool_name": "count"}
    steps = [
        ToolProgressed(**of, progress=1, total=3, message="one"),
        ToolProgressed(**of, progress=2, total=3),
        ToolProgressed(**of, progress=2, message="careful", level="warning"),
    ]
    told = [notice for step in steps for notice in progress.take(step, 0.0)]

    assert told == [
        Notice(1, "one"),
        Notice(2, "count: 2 of 3"),
        Notice(3, "careful", "warning"),
    ]


# Resources, prompts, completion


@ERAS
async def test_resources_and_prompts_are_passed_on_under_their_servers(era: Any):
    pool = Pool()
    pool.away = {"warm"}
    async with Client(_face(pool), mode=era) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        read = await client.read_resource("callboard:///notes/file:///x")
        prompts = (await client.list_prompts()).prompts
        got = await client.get_prompt("notes__greet", {})
        longer = await client.get_prompt("notes__a__greet", {})
        with pytest.raises(MCPError) as absent:
            await client.read_resource("file:///x")
        with pytest.raises(MCPError):
            await client.get_prompt("greet", {})

    assert [each.uri for each in resources] == [
        "callboard:///notes/file:///x",
        "callboard:///notes__a/file:///x",
    ]
    assert templates[0].uri_template == "callboard:///notes/f:///{n}"
    assert isinstance(read.contents[0], types.TextResourceContents)
    assert read.contents[0].text == "notes file:///x"
    assert [each.name for each in prompts] == ["notes__greet", "notes__a__greet"]
    assert got.messages[0].content == types.TextContent(text="notes greet")
    assert longer.messages[0].content == types.TextContent(text="notes__a greet")
    assert absent.value.code == types.INVALID_PARAMS


async def test_arguments_are_completed_by_the_server_that_has_them():
    async with Client(_face(Pool())) as client:
        prompt = types.PromptReference(name="notes__greet")
        template = types.ResourceTemplateReference(uri="callboard:///notes/f:///{n}")
        argument = {"name": "n", "value": "pa"}
        found = [await client.complete(ref, argument) for ref in (prompt, template)]

    assert [each.completion.values for each in found] == [
        ["notes greet None pa"],
        ["notes None f:///{n} pa"],
    ]


async def test_who_listens_is_told_of_the_list_that_changed():
    changes = ListChanges()
    async with (
        Client(_face(Pool(), changes), mode="2026-07-28") as client,
        client.listen(tools_list_changed=True) as events,
    ):
        await changes.changed("prompts")
        await changes.changed("tools")
        event = await anext(aiter(events))
    assert type(event).__name__ == "ToolsListChanged"


# Contents


@given(st.lists(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), min_size=2, max_size=2))
def test_a_name_may_mean_what_it_was_made_of(names: list[str]):
    server, tool = names
    assert (server, tool) in contents.splits(contents.named(server, tool))


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.text(min_size=1, max_size=50))
def test_a_uri_leads_back_to_its_server_and_its_own(server: str, uri: str):
    assert contents.resource_of(contents.uri_of(server, uri)) == (server, uri)


def test_contents_are_of_the_kinds_that_the_protocol_knows():
    told = [
        contents.content(each, "s")
        for each in (
            ToolMedia(media_type="image/png", data="aGk="),
            ToolMedia(media_type="audio/wav", data="aGk="),
            ToolMedia(media_type="application/pdf", data="aGk="),
            ToolMedia(media_type="image/png"),
            ToolResource(uri="u:1"),
            ToolResource(uri="u:1", text="t"),
        )
    ]
    assert [each.type for each in told] == [
        "image",
        "audio",
        "text",
        "text",
        "resource_link",
        "resource",
    ]
    held = [ToolResource(uri="u:1"), ToolMedia(media_type="a/b", data="aGk=")]
    assert [type(each) for each in contents.contents(held, "u:1")] == [types.BlobResourceContents]
