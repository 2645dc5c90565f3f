"""An agent as a tool of MCP, and the server that offers such tools."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import anyio
import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from actors.cli.mcp_face import offers
from actors.cli.mcp_face.progress import PAUSE_SECONDS, Notice, Progress
from actors.cli.mcp_face.running import Tell
from actors.cli.mcp_face.server import FaceLimits, Source, server_of
from bus.codec import convert
from bus.errors import ProblemError, UnavailableError
from schemas.agents import AgentDefinition, Prompts
from schemas.executions import ExecuteAgent
from schemas.llm import JsonSchemaFormat, ModelConfig, ToolDefinition
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.streams import AttemptRestarted, Cancelled, Completed, ContentChunk, Failed, Thinking
from schemas.usage import Usage
from tests.unit.agents.samples import NOW, agent

AT: dict[str, Any] = {"execution_id": "e1", "segment": 1, "sequence": 0, "at": NOW}
VERDICT = {"type": "object", "properties": {"grade": {"type": "string"}}, "required": ["grade"]}


def _templated(template: str) -> AgentDefinition:
    return agent(prompts=Prompts(user_template=template))


def _answering_json(**policy: Any) -> AgentDefinition:
    config = ModelConfig(response_format=JsonSchemaFormat(schema=VERDICT))
    return agent(config=config, policy=Policy(**policy))


def _completed(text: str) -> Completed:
    return Completed(**AT, final_response=text, finish_reason="stop", usage=Usage())


# Schemas and arguments


def test_a_tool_takes_the_task_and_each_variable_of_the_prompt():
    tool = offers.tool(_templated("{input_data} for {city} in {workflow_id} {{kept}} {city}"))

    assert list(tool.input_schema["properties"]) == ["task", "city"]
    assert tool.input_schema["required"] == ["task", "city"]
    assert tool.input_schema["additionalProperties"] is False


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@given(st.dictionaries(NAMES, st.text(max_size=20), max_size=5), st.text(min_size=1, max_size=20))
def test_arguments_of_the_schema_are_an_execution_with_every_variable(
    values: dict[str, str], task: str
):
    # A template may use the task's own name, and names that are filled for it.
    one = _templated(" ".join(f"{{{name}}}" for name in values))
    arguments = {**values, "task": task}
    arguments = {name: arguments[name] for name in offers.input_schema(one)["properties"]}

    fields = offers.execution(one, arguments, "e1")

    assert isinstance(fields, dict)
    wanted = convert(ExecuteAgent, fields)
    assert wanted.task == task
    assert wanted.context.keys() == offers.variables(one)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"city": "Oslo"}, "task"),
        ({"task": "", "city": "Oslo"}, "task"),
        ({"task": "go"}, "city"),
        ({"task": "go", "city": 7}, "city"),
        ({"task": "go", "city": "Oslo", "id": "chosen"}, "id"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_their_name(
    arguments: dict[str, Any], field: str
):
    refused = offers.execution(_templated("{input_data} {city}"), arguments, "e1")

    assert isinstance(refused, Problem)
    assert (refused.code, refused.field) == ("validation", field)


def test_only_a_promised_object_is_an_output_schema():
    assert offers.output_schema(_answering_json()) == VERDICT
    assert offers.output_schema(_answering_json(structured_output="warn")) is None
    assert offers.output_schema(agent()) is None
    array = ModelConfig(response_format=JsonSchemaFormat(schema={"type": "array"}))
    assert offers.output_schema(agent(config=array)) is None


def test_an_agent_with_tools_is_not_called_harmless():
    armed = agent(tools=[ToolDefinition(name="delete_all")])
    hints = [offers.tool(one).annotations for one in (armed, agent())]

    assert [each and each.destructive_hint for each in hints] == [True, False]


# Results


def test_an_answer_is_a_text_and_its_json():
    result = offers.result(_completed('{"grade": "A"}'), _answering_json())

    assert result.structured_content == {"grade": "A"}
    assert result.content == [types.TextContent(text='{"grade": "A"}')]
    assert result.meta == {"callboard/execution_id": "e1"}


def test_an_answer_that_breaks_the_promise_is_a_failure():
    result = offers.result(_completed("none"), _answering_json())

    assert (result.is_error, result.structured_content) == (True, None)


def test_a_failure_is_told_to_the_model_and_to_the_program():
    failed = Failed(**AT, error=Problem(code="rate_limited", message="wait", retry_after=3))
    result = offers.result(failed, agent())
    ended = offers.result(Cancelled(**AT, reason="enough"), agent())

    assert result.is_error
    assert result.content == [types.TextContent(text="rate_limited: wait")]
    assert result.meta is not None
    assert result.meta["callboard/problem"]["retry_after"] == 3
    assert ended.content == [types.TextContent(text="cancelled: enough")]


# Progress


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.floats(0, 0.2)), max_size=30))
def test_notices_are_numbered_seldom_and_hold_the_whole_text(pieces: list[tuple[str, float]]):
    progress, now = Progress(), 0.0
    told: list[tuple[float, Notice]] = []
    for text, pause in pieces:
        now += pause
        told += [(now, one) for one in progress.take(ContentChunk(**AT, content=text), now)]
    times = [at for at, _ in told]
    end = progress.take(_completed(""), now)

    notices = [notice for _, notice in told] + end
    assert [notice.number for notice in notices] == list(range(1, len(notices) + 1))
    assert "".join(notice.message for notice in notices) == "".join(text for text, _ in pieces)
    assert all(later - one >= PAUSE_SECONDS for one, later in pairwise(times))


def test_text_that_became_void_is_not_told_after_the_notice_of_it():
    progress = Progress()
    first = progress.take(ContentChunk(**AT, content="a"), 0)
    kept = progress.take(ContentChunk(**AT, content="b"), 0.01)
    again = progress.take(AttemptRestarted(**AT, dropped_segment=1, reason="died"), 0.02)
    waiting = progress.take(Thinking(**AT, status="waits for the provider"), 0.03)

    assert (first, kept) == ([Notice(1, "a")], [])
    assert again == [Notice(2, "begins again: died")]
    assert waiting == [Notice(3, "waits for the provider")]


# The server


class Shelf:
    """Offers what it is given; ``call`` does what a test wants."""

    def __init__(self, *names: str, **calls: Any) -> None:
        self._names = [*names, *calls]
        self._calls = calls
        self.refusal: Exception | None = None

    async def page(self, cursor: str) -> tuple[list[types.Tool], str | None]:
        if self.refusal:
            raise self.refusal
        place = int(cursor or 0)
        these = self._names[place : place + 1]
        tools = [types.Tool(name=name, input_schema={"type": "object"}) for name in these]
        return tools, str(place + 1) if place + 1 < len(self._names) else None

    async def call(
        self, name: str, arguments: Mapping[str, Any], tell: Tell
    ) -> types.CallToolResult | None:
        return await self._calls[name](arguments, tell) if name in self._calls else None


def _said(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)])


async def _listed(client: Client) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        names += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return names


def _text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


@ERAS
async def test_pages_of_all_sources_are_one_list(era: Any):
    sources: list[Source] = [Shelf("a", "b"), Shelf("c"), Shelf("d", "e", "f")]
    async with Client(server_of(sources), mode=era) as client:
        assert await _listed(client) == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize("cursor", ["x", "9.0", "-1.", "²."])
async def test_a_cursor_of_nobody_is_refused(cursor: str):
    async with Client(server_of([Shelf("a")])) as client:
        with pytest.raises(MCPError) as refused:
            await client.list_tools(cursor=cursor)
    assert refused.value.code == types.INVALID_PARAMS


@ERAS
async def test_progress_is_told_while_the_call_runs(era: Any):
    told: list[tuple[float, str | None]] = []
    heard = anyio.Event()

    async def speaks(arguments: Mapping[str, Any], tell: Tell) -> types.CallToolResult:
        await tell(Notice(1, "half"))
        await heard.wait()
        return _said(arguments["task"])

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total
        told.append((progress, message))
        heard.set()

    async with Client(server_of([Shelf(speaks=speaks)]), mode=era) as client:
        with anyio.fail_after(5):
            result = await client.call_tool("speaks", {"task": "go"}, progress_callback=hear)
    assert (_text(result), told) == ("go", [(1, "half")])


async def test_an_unknown_tool_is_an_error_of_the_protocol():
    async with Client(server_of([Shelf(), Shelf()])) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("nobody", {})
    assert refused.value.code == types.INVALID_PARAMS


async def test_a_refused_call_is_a_result_and_a_missing_bus_an_error():
    async def refuses(*_: Any) -> types.CallToolResult:
        raise ProblemError(Problem(code="budget_exceeded", message="all is spent"))

    async def is_away(*_: Any) -> types.CallToolResult:
        raise UnavailableError("cb.acme.agents.execute", "nobody listens")

    async with Client(server_of([Shelf(refuses=refuses, is_away=is_away)])) as client:
        refused = await client.call_tool("refuses", {})
        with pytest.raises(MCPError) as away:
            await client.call_tool("is_away", {})
    assert (refused.is_error, _text(refused)) == (True, "budget_exceeded: all is spent")
    assert away.value.data["problem"]["code"] == "unavailable"
    assert "acme" not in away.value.message


async def test_a_list_that_the_bus_refuses_says_why():
    shelf = Shelf("a")
    shelf.refusal = ProblemError(Problem(code="forbidden", message="needs agents:read"))
    async with Client(server_of([shelf])) as client:
        with pytest.raises(MCPError) as refused:
            await client.list_tools()
    assert refused.value.message == "forbidden: needs agents:read"


async def test_a_call_that_takes_too_long_is_ended_and_said_to_be():
    ended = anyio.Event()

    async def hangs(*_: Any) -> types.CallToolResult:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return _said("never")

    soon = FaceLimits(call_seconds=0.05)
    async with Client(server_of([Shelf(hangs=hangs)], limits=soon)) as client:
        with anyio.fail_after(5):
            result = await client.call_tool("hangs", {})
    assert ended.is_set()
    assert _text(result).startswith("timeout: ")


async def test_more_calls_than_may_run_are_refused_at_once_and_the_place_comes_back():
    free, begun = anyio.Event(), anyio.Event()

    async def waits(*_: Any) -> types.CallToolResult:
        begun.set()
        await free.wait()
        return _said("done")

    one = FaceLimits(calls_at_once=1)
    async with Client(server_of([Shelf(waits=waits)], limits=one)) as client:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "waits", {})
                await begun.wait()
                assert (await client.call_tool("waits", {})).is_error
                free.set()
            later = await client.call_tool("waits", {})
    assert _text(later) == "done"
