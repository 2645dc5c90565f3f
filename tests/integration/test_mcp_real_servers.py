"""Our lanes against servers that others have written: the reference server over each transport."""

import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.core.upstream import CallPlan, Opened, ServerAddress, Upstream
from bus.http import HttpClient
from bus.security.egress import Egress
from bus.tasks import loop_time
from schemas.tools import ToolMedia, ToolResource, ToolResult, ToolText
from tests.mcp import servers

pytestmark = pytest.mark.timeout(servers.INSTALL_SECONDS)

SECONDS = 30.0

WAYS = pytest.mark.parametrize("way", ["stdio", "streamableHttp", "sse"])


@asynccontextmanager
async def _opened(address: ServerAddress) -> AsyncGenerator[tuple[Upstream, Opened]]:
    """Open a server; afterwards nothing of ours is left open."""
    async with (
        HttpClient(Egress(allow_loopback=True)) as client,
        anyio.create_task_group() as tasks,
    ):
        upstream = Lanes(tasks, client)(address)
        try:
            yield upstream, await upstream.open(loop_time() + SECONDS)
        finally:
            await upstream.close()
            tasks.cancel_scope.cancel()
        assert not any(upstream.counters.open().values())


@asynccontextmanager
async def _everything(way: str) -> AsyncGenerator[Upstream]:
    async with AsyncExitStack() as stack:
        if way == "stdio":
            address = _process(servers.everything("stdio"))
        else:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            url = await stack.enter_async_context(servers.everything_over(way, port))
            address = ServerAddress("everything", "sse" if way == "sse" else "http", url=url)
        upstream, opened = await stack.enter_async_context(_opened(address))
        assert (opened.era, opened.tools, opened.resources) == ("2025", True, True)
        yield upstream


def _process(command: list[str], **environ: str) -> ServerAddress:
    return ServerAddress(
        "npm", "stdio", command=tuple(command), env=servers.environ(environ), era="2025"
    )


async def _call(upstream: Upstream, tool: str, **arguments: object) -> ToolResult:
    return await upstream.call(CallPlan(tool, arguments, loop_time() + SECONDS))


def _text(result: ToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, ToolText))


@WAYS
async def test_the_reference_server_brings_every_kind_of_content_and_tells_progress(way: str):
    heard: list[float] = []

    def hear(progress: float, total: float | None, message: str) -> None:
        del total, message
        heard.append(progress)

    async with _everything(way) as upstream:
        tools = {tool.tool: tool for tool in (await upstream.list_tools(loop_time() + 9)).items}
        echoed = await _call(upstream, "echo", message="Grüße")
        wrong = await _call(upstream, "get-sum", a="two", b=3)
        slow = {"duration": 0.3, "steps": 3}
        deadline = loop_time() + SECONDS
        await upstream.call(
            CallPlan("trigger-long-running-operation", slow, deadline, progress=hear)
        )
        image = await _call(upstream, "get-tiny-image")
        structured = await _call(upstream, "get-structured-content", location="New York")
        linked = await _call(upstream, "get-resource-links", count=2)

    assert tools["get-sum"].parameters["required"] == ["a", "b"]
    assert "Grüße" in _text(echoed)
    assert wrong.is_error
    assert heard == [1, 2, 3]
    assert any(isinstance(part, ToolMedia) for part in image.content)
    assert structured.structured["temperature"] is not None
    assert sum(isinstance(part, ToolResource) for part in linked.content) == 2


async def test_the_file_server_reads_what_is_below_its_folder_and_nothing_else(tmp_path: Path):
    (tmp_path / "note.txt").write_text("Call at eight.", encoding="utf-8")
    async with _opened(_process(servers.filesystem(tmp_path))) as (upstream, _):
        read = await _call(upstream, "read_text_file", path=str(tmp_path / "note.txt"))
        outside = await _call(upstream, "read_text_file", path="/etc/hostname")
        tools = {tool.tool: tool for tool in (await upstream.list_tools(loop_time() + 9)).items}

    assert _text(read) == "Call at eight."
    assert outside.is_error
    assert tools["read_text_file"].hints.read_only
    assert not tools["write_file"].hints.read_only


async def test_the_memory_server_remembers_beyond_its_process(tmp_path: Path):
    lamp = {"name": "lamp", "entityType": "thing", "observations": ["is broken"]}
    address = _process(servers.memory(), MEMORY_FILE_PATH=str(tmp_path / "memory.json"))
    async with _opened(address) as (upstream, _):
        await _call(upstream, "create_entities", entities=[lamp])
    async with _opened(address) as (upstream, _):
        found = await _call(upstream, "search_nodes", query="lamp")

    assert "is broken" in _text(found)
