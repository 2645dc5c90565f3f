"""The servers of the support example are real ones: they reach the APIs that they are made for."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web
from mcp import StdioServerParameters
from mcp.client import Client

from bus import files
from schemas.tool_servers import OperatorServer
from tests.architecture.tree import ROOT
from tests.mcp import servers
from tests.mcp.upstreams import upstream

pytestmark = pytest.mark.timeout(servers.INSTALL_SECONDS)

FILE = ROOT / "deploy" / "examples" / "support" / "servers.yaml"
SECONDS = 60


def _named() -> dict[str, OperatorServer]:
    return files.of(FILE, dict[str, OperatorServer])


def test_the_file_names_three_servers_whose_keys_come_from_the_environment():
    named = _named()

    assert list(named) == ["helpscout", "notion", "slack"]
    assert named["helpscout"].url == "http://127.0.0.1:8001/mcp"
    assert all(not server.env and not server.secret for server in named.values())


def test_the_commands_of_the_file_are_those_of_the_packages():
    installed = servers.installed() / ".bin"

    for name in ("notion", "slack"):
        (program,) = _named()[name].command
        assert (installed / Path(program).name).exists()


async def _called(
    started: tuple[list[str], dict[str, str]], tool: str, arguments: dict[str, Any]
) -> tuple[set[str], Any]:
    (program, *rest), environ = started
    target = StdioServerParameters(command=program, args=rest, env=servers.environ(environ))
    with anyio.fail_after(SECONDS):
        async with Client(target) as client:
            tools = {each.name for each in (await client.list_tools()).tools}
            return tools, await client.call_tool(tool, arguments)


def _allowed(name: str) -> set[str]:
    return {each for each in _named()[name].tools.allow if "*" not in each}


async def test_notions_server_searches_pages():
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer ntn_test"
        return web.json_response({"object": "list", "results": [{"id": "page-1"}]})

    async with upstream(answer) as seen:
        started = servers.notion(seen.url)
        tools, result = await _called(started, "API-post-search", {"query": "refunds"})

    assert tools >= _allowed("notion")
    assert seen.asked == ["POST /v1/search"]
    assert msgspec.json.decode(seen.bodies[0])["query"] == "refunds"
    assert "page-1" in result.content[0].text


async def test_slacks_server_posts_a_message():
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.json_response({"ok": True, "ts": "1.2"})

    message = {"channel_id": "C1", "text": "Who knows lamps?"}
    async with upstream(answer) as seen:
        started = servers.slack(seen.url)
        tools, result = await _called(started, "slack_post_message", message)

    assert tools >= _allowed("slack")
    assert seen.asked == ["POST /api/chat.postMessage"]
    assert msgspec.json.decode(seen.bodies[0]) == {"channel": "C1", "text": "Who knows lamps?"}
    assert seen.authorizations == ["Bearer xoxb-test"]
    assert '"ts":"1.2"' in result.content[0].text
