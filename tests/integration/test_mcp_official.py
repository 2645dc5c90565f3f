"""The transports of MCP beside the official SDK's client, on a server of the official SDK."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.client import Client

from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.session import McpSession
from actors.mcp_pool.core.upstream import CallPlan, Era, Lane, ServerAddress
from bus.http import HttpClient
from bus.security.egress import Egress
from bus.tasks import loop_time
from schemas.tools import ToolResource, ToolText
from tests.mcp.official import Way, serving

pytestmark = pytest.mark.anyio

WAYS: list[tuple[Way | None, Lane, Era]] = [
    ("http", "http", "2025"),
    ("http", "http", "2026"),
    ("http", "http", "auto"),
    ("json", "http", "auto"),
    ("sse", "sse", "2025"),
    (None, "stdio", "auto"),
    (None, "stdio", "2026"),
]


def soon() -> float:
    return loop_time() + 20


@asynccontextmanager
async def opened(way: Way | None, kind: Lane, era: Era) -> AsyncGenerator[tuple[McpSession, str]]:
    async with (
        HttpClient(Egress(allow_loopback=True)) as client,
        anyio.create_task_group() as tasks,
    ):
        command = (sys.executable, "-m", "tests.mcp.official")
        if way is None:
            address = ServerAddress("official", kind, command=command, era=era)
            upstream = Lanes(tasks, client)(address)
            await upstream.open(soon())
            yield upstream, ""
            await upstream.close()
        else:
            async with serving(way) as url:
                upstream = Lanes(tasks, client)(ServerAddress("official", kind, url=url, era=era))
                await upstream.open(soon())
                yield upstream, url
                await upstream.close()
        assert not any(upstream.counters.open().values())
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("way", "kind", "era"), WAYS)
async def test_a_server_of_the_sdk_is_spoken_to_over_every_transport(
    way: Way | None, kind: Lane, era: Era
):
    told: list[Any] = []
    async with opened(way, kind, era) as (upstream, _):
        tools = {each.tool: each for each in (await upstream.list_tools(soon())).items}
        assert set(tools) == {"weather", "counted", "broken"}
        assert tools["weather"].hints.may_repeat
        assert not tools["counted"].hints.may_repeat
        assert tools["weather"].output is not None

        warm = await upstream.call(CallPlan("weather", {"city": "Lyon"}, soon()))
        assert warm.structured == {"city": "Lyon", "degrees": 21.5}
        counted = CallPlan("counted", {"steps": 3}, soon(), progress=lambda *a: told.append(a))
        assert (await upstream.call(counted)).content == [ToolText(text="counted")]
        failed = await upstream.call(CallPlan("broken", {}, soon()))
        assert failed.is_error

        (note,) = (await upstream.list_resources(soon())).items
        (held,) = await upstream.read_resource(note.uri, soon())
        assert isinstance(held, ToolResource)
        assert (held.uri, held.text) == ("notes://today", "a note")
        (prompt,) = (await upstream.list_prompts(soon())).items
        assert [each.name for each in prompt.arguments] == ["name"]
        (said,) = await upstream.get_prompt("greet", {"name": "Ada"}, soon())
        assert (said.role, said.content) == ("user", ToolText(text="Hello Ada"))
        await upstream.probe(soon())
    # An answer that is one JSON body has no room for progress.
    assert told == ([] if way == "json" else [(n, 3, f"step {n}") for n in (1, 2, 3)])


@pytest.mark.parametrize("era", ["2025", "2026"])
async def test_the_lane_reads_what_the_sdks_own_client_reads(era: Era):
    async with opened("http", "http", era) as (upstream, url):
        mode = "legacy" if era == "2025" else "2026-07-28"
        async with Client(url, mode=mode) as client:
            theirs = await client.list_tools()
            ours = await upstream.list_tools(soon())
            assert [(each.tool, each.description, each.parameters) for each in ours.items] == [
                (each.name, each.description, each.input_schema) for each in theirs.tools
            ]
            for name, arguments in (("weather", {"city": "Rome"}), ("broken", {})):
                found = await upstream.call(CallPlan(name, arguments, soon()))
                expected = await client.call_tool(name, arguments)
                assert [each.text for each in found.content if isinstance(each, ToolText)] == [
                    each.text for each in expected.content if each.type == "text"
                ]
                assert found.structured == expected.structured_content
                assert found.is_error == bool(expected.is_error)
