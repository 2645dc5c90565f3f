"""Agents of a real fleet, called by the official client over both transports and in both eras."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import TextContent

from tests.fleet import PlainClient, RunningFleet

SERVE = ["-c", "from actors.cli.commands import main; main()", "mcp", "serve"]
ENDLESS = " ".join(["word"] * 2000)


def _environ(client: PlainClient, fleet: RunningFleet) -> dict[str, str]:
    return {
        **os.environ,
        "NATS_URL": ",".join(fleet.server.urls),
        "CALLBOARD_TENANT": client.tenant,
    }


@asynccontextmanager
async def _http(environ: dict[str, str]) -> AsyncGenerator[str]:
    command = [sys.executable, *SERVE, "--http", "0"]
    process = await anyio.open_process(command, env=environ, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        line = (await process.stderr.receive()).decode()
        assert line.startswith("serving http://127.0.0.1:"), line
        yield line.removeprefix("serving ").partition(";")[0]
    finally:
        process.terminate()
        with anyio.fail_after(15):
            await process.wait()
    assert process.returncode == 0


@asynccontextmanager
async def _opened(way: str, era: Any, environ: dict[str, str]) -> AsyncGenerator[Client]:
    if way == "stdio":
        command = StdioServerParameters(command=sys.executable, args=SERVE, env=environ)
        async with Client(command, mode=era) as client:
            yield client
        return
    async with _http(environ) as url, Client(url, mode=era) as client:
        yield client


WAYS = pytest.mark.parametrize(
    ("way", "era"),
    [("stdio", "legacy"), ("http", "legacy"), ("http", "2026-07-28")],
)


@WAYS
async def test_an_agent_is_listed_and_called_with_its_answer_as_progress(
    fleet: RunningFleet, client: PlainClient, way: str, era: Any
):
    await client.script("greeter", "Welcome to the house of cards", delay_ms=30)
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total
        heard.append(message or "")
        assert progress == len(heard)

    with anyio.fail_after(30):
        async with _opened(way, era, _environ(client, fleet)) as mcp:
            listed = (await mcp.list_tools()).tools
            result = await mcp.call_tool("greeter", {"task": "greet"}, progress_callback=hear)
            misspelt = await mcp.call_tool("greeter", {"tusk": "greet"})
    record = await client.ended((result.meta or {})["callboard/execution_id"])

    assert [tool.name for tool in listed] == ["greeter"]
    assert record["output"] == "Welcome to the house of cards"
    assert result.content == [TextContent(text=record["output"])]
    assert "".join(heard).endswith(record["output"])
    assert len(heard) > 1
    assert misspelt.is_error


@pytest.mark.parametrize(("way", "era"), [("stdio", "legacy"), ("http", "2026-07-28")])
async def test_a_call_that_is_given_up_ends_the_execution(
    fleet: RunningFleet, client: PlainClient, way: str, era: Any
):
    await client.script("talker", ENDLESS, delay_ms=20)
    begun = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        begun.set()

    async def call(mcp: Client) -> None:
        await mcp.call_tool("talker", {"task": "talk"}, progress_callback=hear)

    with anyio.fail_after(30):
        async with _opened(way, era, _environ(client, fleet)) as mcp:
            async with anyio.create_task_group() as group:
                group.start_soon(call, mcp)
                await begun.wait()
                group.cancel_scope.cancel()
            while not (await client.ask("executions.list", {"status": "CANCELLED"}))["executions"]:
                await anyio.sleep(0.05)


async def test_an_execution_that_fails_is_a_failed_call(fleet: RunningFleet, client: PlainClient):
    await client.script("broken", "never", failures=[{"call": 0, "code": "unauthorized"}])
    with anyio.fail_after(30):
        async with _opened("stdio", "legacy", _environ(client, fleet)) as mcp:
            result = await mcp.call_tool("broken", {"task": "go"})
    record = await client.ended((result.meta or {})["callboard/execution_id"])

    assert result.is_error
    assert (result.meta or {})["callboard/problem"]["code"] == record["error"]["code"]
