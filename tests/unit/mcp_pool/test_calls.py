"""A work item becomes one outcome, whatever the server, the arguments and the result are."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from actors.mcp_pool.adapters.results import MOST_INLINE_BYTES
from actors.mcp_pool.flow.questions import ServerQuestions
from bus.bodies import Bodies
from bus.codec import decode
from bus.errors import ProblemError
from bus.memory import MemoryProcess, memory_bus
from bus.requests.caller import Caller
from bus.telemetry.metrics import REGISTRY
from schemas.streams import ToolProgressed
from schemas.tool_servers import (
    ApplyServer,
    CheckServer,
    DeleteServer,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListServers,
    ReadResource,
    RemoteServer,
    ServerTools,
)
from schemas.tools import FailTool, FinishTool, ListTools, ToolResult, ToolText
from tests.fake_upstream import FakeServer
from tests.pools import Many, many
from tests.virtual import VIRTUAL_TIME, Backend


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus() as world, world.process() as process:
        yield process


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


async def done(
    all_: Many, tool: str, arguments: str = "{}", server: str = "fake", **more: Any
) -> FinishTool | FailTool:
    return await all_.calls.do_call(all_.item(server, tool, arguments, **more))


def failed(report: FinishTool | FailTool) -> tuple[str, bool, str]:
    assert isinstance(report, FailTool)
    return report.outcome, report.sent, report.problem.message


async def test_a_call_is_finished_with_its_result(bus: MemoryProcess, server: FakeServer):
    async with many(bus, server) as all_:
        report = await done(all_, "echo", '{"n": 7}')

    assert isinstance(report, FinishTool)
    assert report.result.content == [ToolText(text="echo 7")]
    assert (report.work, report.attempt) == ("1.1", 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"n": "seven"}', "n: must be integer"),
        ('{"n": 1', "no JSON object"),
        ("[1]", "no JSON object"),
        ("7", "no JSON object"),
    ],
)
async def test_arguments_that_do_not_fit_are_never_sent(
    bus: MemoryProcess, server: FakeServer, arguments: str, words: str
):
    async with many(bus, server) as all_:
        outcome, sent, message = failed(await done(all_, "echo", arguments))

    assert (outcome, sent) == ("rejected", False)
    assert words in message
    assert "seven" not in message
    assert not server.effects


@pytest.mark.parametrize("text", ["", "  ", "{}"])
async def test_no_arguments_are_an_empty_object(bus: MemoryProcess, server: FakeServer, text: str):
    async with many(bus, server) as all_:
        assert isinstance(await done(all_, "echo", text), FinishTool)


async def test_unknown_servers_and_tools_are_told_as_such(bus: MemoryProcess, server: FakeServer):
    async with many(bus, server) as all_:
        nowhere = failed(await done(all_, "echo", server="nowhere"))
        nothing = failed(await done(all_, "nothing"))

    assert nowhere[:2] == nothing[:2] == ("rejected", False)
    assert "nowhere" in nowhere[2]


async def test_a_server_of_others_is_as_if_it_were_not_there(
    bus: MemoryProcess, server: FakeServer
):
    async with many(bus, server, tenants=("other",)) as all_:
        assert failed(await done(all_, "echo"))[:2] == ("rejected", False)
        assert isinstance(await done(all_, "echo", tenant="other"), FinishTool)
        questions = ServerQuestions(all_.pools, all_.ledger)
        listed = await questions.list_servers(Caller(tenant="acme"), ListServers())
        assert listed.servers == []


async def test_a_result_is_held_to_the_schema_that_the_tool_promises(
    bus: MemoryProcess, server: FakeServer
):
    server.schemas["echo.output"] = {"type": "object", "required": ["sum"]}
    server.answers["echo"] = ToolResult(structured={"sum": 1})
    async with many(bus, server) as all_:
        assert isinstance(await done(all_, "echo"), FinishTool)
        server.answers["echo"] = ToolResult(structured={"total": 1})
        wrong = failed(await done(all_, "echo"))
        server.answers["echo"] = ToolResult(content=[ToolText(text="no")], is_error=True)
        assert isinstance(await done(all_, "echo"), FinishTool)
        del server.answers["echo"]
        lacking = failed(await done(all_, "echo"))

    assert wrong[:2] == lacking[:2] == ("protocol_error", True)


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#/nowhere"}, {"properties": [1]}, {"type": 7}, {"anyOf": [{"anyOf": "x"}]}],
)
async def test_a_schema_that_is_none_stops_no_call(
    bus: MemoryProcess, server: FakeServer, schema: dict[str, Any]
):
    server.schemas["echo"] = schema
    async with many(bus, server) as all_:
        assert isinstance(await done(all_, "echo"), FinishTool)


async def test_the_deadline_of_a_call_holds_and_one_that_has_passed_sends_nothing(
    bus: MemoryProcess, server: FakeServer
):
    async with many(bus, server) as all_:
        began = anyio.current_time()
        assert failed(await done(all_, "hang", seconds=3))[:2] == ("deadline", True)
        assert anyio.current_time() - began < 6
        assert failed(await done(all_, "echo", seconds=-1))[:2] == ("deadline", False)
    assert sum(server.effects.values()) == 1


@pytest.mark.parametrize(("seconds", "sent"), [(0.5, True), (0.001, False)])
async def test_a_call_that_is_called_off_says_whether_it_may_have_been_sent(
    bus: MemoryProcess, server: FakeServer, seconds: float, *, sent: bool
):
    async with many(bus, server) as all_:
        item = all_.item("fake", "slow")
        with anyio.move_on_after(seconds):
            await all_.calls.do_call(item)
        stopped = all_.calls.stopped(item)

    assert (stopped.sent, stopped.work) == (sent, "1.1")


async def test_progress_is_told_on_the_stream_of_the_execution(
    bus: MemoryProcess, server: FakeServer
):
    told: list[ToolProgressed] = []

    async def hear(delivery: Any) -> None:
        told.append(decode(ToolProgressed, delivery.data))

    async with (
        bus.transport.subscription("cb.acme.stream.run-1", hear),
        many(bus, server) as all_,
    ):
        await done(all_, "slow", segment=2, sequence=1000, name="fake_slow")
        await done(all_, "slow")
        await anyio.sleep(1)

    assert [(each.segment, each.sequence, each.message) for each in told] == [(2, 1000, "half")]
    assert told[0].tool_name == "fake_slow"


async def test_a_large_result_is_stored_and_named(bus: MemoryProcess, server: FakeServer):
    whole = ToolResult(content=[ToolText(text="x" * (MOST_INLINE_BYTES + 1))])
    server.answers["echo"] = whole
    async with many(bus, server) as all_:
        report = await done(all_, "echo")
        assert isinstance(report, FinishTool)
        assert report.result.reference is not None
        stored = await Bodies(bus.blobs).get(report.result.reference)

    assert decode(ToolResult, stored) == whole
    assert report.result.content[0].text == "x" * 2000  # pyright: ignore[reportAttributeAccessIssue]


async def test_a_once_call_is_not_repeated_even_where_the_server_says_it_may_be(
    bus: MemoryProcess, server: FakeServer
):
    reports: list[FinishTool | FailTool] = []
    async with many(bus, server) as all_, anyio.create_task_group() as tasks:

        async def call(*, once: bool) -> None:
            item = all_.item("fake", "look", '{"n": 1}' if once else '{"n": 2}', once=once)
            reports.append(await all_.calls.do_call(item))

        await done(all_, "echo")
        tasks.start_soon(lambda: call(once=True))
        tasks.start_soon(lambda: call(once=False))
        while server.running < 2:
            await anyio.sleep(0.001)
        server.kill()
        server.start()
        await anyio.sleep(5)

    assert sorted(type(each).__name__ for each in reports) == ["FailTool", "FinishTool"]
    assert (server.effects[1], server.effects[2]) == (1, 2)


def counted(server: str, tool: str, outcome: str) -> float:
    labels = {"server": server, "tool": tool, "outcome": outcome}
    return REGISTRY.get_sample_value("callboard_tool_calls_total", labels) or 0.0


async def test_calls_are_counted_by_server_tool_and_outcome(bus: MemoryProcess):
    server = FakeServer("counted")
    async with many(bus, server) as all_:
        for _ in range(3):
            await done(all_, "echo", server="counted")
        await done(all_, "hang", server="counted", seconds=1)
        await done(all_, "made_up_by_a_model", server="counted")

    assert counted("counted", "echo", "ok") == 3
    assert counted("counted", "hang", "deadline") == 1
    assert counted("counted", "made_up_by_a_model", "rejected") == 0
    assert counted("unknown", "unknown", "rejected") >= 1
    labels = {"server": "counted", "lane": "http", "era": "2026"}
    assert REGISTRY.get_sample_value("callboard_tool_seconds_count", labels) == 4


# Questions


async def test_tools_are_listed_by_patterns_and_who_is_not_heard_is_named(
    bus: MemoryProcess, server: FakeServer
):
    away = FakeServer("away")
    away.kill()
    async with many(bus, server, away, tools=ServerTools(deny=["ha*"], once=["look"])) as all_:
        questions, caller = ServerQuestions(all_.pools, all_.ledger), Caller(tenant="acme")
        every = await questions.list_tools(caller, ListTools())
        some = await questions.list_tools(caller, ListTools(patterns=["fake/l*", "none"]))

    assert [tool.tool for tool in every.tools] == ["echo", "slow", "look"]
    assert every.unreachable == ["away"]
    assert [(tool.tool, tool.hints.may_repeat) for tool in some.tools] == [("look", False)]
    assert some.unreachable == ["none"]
    assert server.listed == 1


async def test_a_denied_tool_cannot_be_called(bus: MemoryProcess, server: FakeServer):
    async with many(bus, server, tools=ServerTools(allow=["echo"])) as all_:
        assert failed(await done(all_, "look"))[:2] == ("rejected", False)
        assert isinstance(await done(all_, "echo"), FinishTool)


async def test_resources_prompts_and_a_check(bus: MemoryProcess, server: FakeServer):
    async with many(bus, server) as all_:
        questions, caller = ServerQuestions(all_.pools, all_.ledger), Caller(tenant="acme")
        resources = await questions.list_resources(caller, ListResources(server="fake"))
        uri = resources.resources[0].uri
        read = await questions.read_resource(caller, ReadResource(server="fake", uri=uri))
        prompts = await questions.list_prompts(caller, ListPrompts(server="fake"))
        name = prompts.prompts[0].name
        filled = await questions.get_prompt(
            caller, GetPrompt(server="fake", name=name, arguments={"to": "you"})
        )
        well = await questions.check(caller, CheckServer(server="fake"))
        server.kill()
        ill = await questions.check(caller, CheckServer(server="fake"))

    assert read.contents == [ToolText(text="what lies at fake://one")]
    assert filled.messages[0].content == ToolText(text="greet {'to': 'you'}")
    assert (well.reachable, well.tools, well.protocol) == (True, 4, "2026-07-28")
    assert well.ledger.open["sessions"] == 1
    assert (ill.reachable, ill.fault) == (False, "not_sent: connection refused")


# Definitions


def applied(url: str, **more: Any) -> ApplyServer:
    return ApplyServer(id="mine", server=RemoteServer(url=url, **more))


async def test_a_tenant_defines_a_server_and_another_does_not_see_it(
    bus: MemoryProcess, server: FakeServer
):
    async with many(bus, server) as all_:
        definitions, mine = all_.definitions, Caller(tenant="acme")
        made = await definitions.apply(mine, applied("https://tools.example.com/mcp"))
        again = await definitions.apply(mine, applied("https://tools.example.com/mcp"))
        other = await definitions.apply(mine, applied("https://tools.example.com/v2"))
        questions = ServerQuestions(all_.pools, all_.ledger)
        listed = await questions.list_servers(mine, ListServers())
        theirs = await questions.list_servers(Caller(tenant="other"), ListServers())
        await definitions.delete(mine, DeleteServer(id="mine"))
        gone = failed(await done(all_, "echo", server="mine"))

    assert (made.version, again.version, other.version) == (1, 1, 2)
    assert [row.id for row in listed.servers] == ["fake", "mine"]
    assert [row.id for row in theirs.servers] == ["fake"]
    assert gone[:2] == ("rejected", False)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (applied("https://10.0.0.1/mcp"), "server.url"),
        (applied("https://u:p@example.com/"), "server.url"),
        (applied("https://example.com", headers={"Authorization": "Bearer x"}), "headers"),
        (applied("https://example.com", headers={"Mcp-Session-Id": "1"}), "headers"),
        (applied("https://example.com", headers={"Host": "x"}), "headers"),
        (applied("https://example.com", secret_headers={"bad name": "s"}), "secret_headers"),
        (ApplyServer(id="fake", server=RemoteServer(url="https://example.com")), "id"),
    ],
)
async def test_a_definition_that_may_not_stand_is_refused_by_its_field(
    bus: MemoryProcess, server: FakeServer, wanted: ApplyServer, field: str
):
    async with many(bus, server) as all_:
        with pytest.raises(ProblemError) as refused:
            await all_.definitions.apply(Caller(tenant="acme"), wanted)

    assert field in (refused.value.problem.field or "")
    assert "Bearer" not in refused.value.problem.message
