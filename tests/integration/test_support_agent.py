"""The support agent answers a customer: real servers, played APIs, a script as its model."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web

from actors.mcp_pool.actor import ACTOR
from bus.actor import serve
from tests.architecture.tree import ROOT
from tests.fleet import PlainClient, running_fleet
from tests.mcp import servers
from tests.mcp.upstreams import HelpDesk, Upstream, upstream

pytestmark = pytest.mark.timeout(servers.INSTALL_SECONDS)

EXAMPLES = ROOT / "deploy" / "examples"
SECONDS = 90

DESK = HelpDesk(
    {
        "/v2/conversations/7": {
            "id": 7,
            "subject": "Cracked kettle",
            "status": "active",
            "primaryCustomer": {"id": 21, "first": "Ben", "email": "ben@example.com"},
        },
        "/v2/conversations/7/threads": [
            {
                "_embedded": {"threads": [{"id": 1, "type": "customer", "body": "It leaks."}]},
                "page": {"number": 1, "totalPages": 1, "totalElements": 1},
            }
        ],
    }
)

REPLY = {"conversation_id": 7, "text": "A new kettle is on its way.", "draft": True}
POST = {"channel_id": "C1", "text": "Kettles crack."}


def _calls(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"calls": [{"name": name, "arguments": arguments} for name, arguments in calls]}


SCRIPT = [
    _calls(("getThreads", {"conversation_id": 7}), ("API-post-search", {"query": "kettle"})),
    _calls(("createReply", REPLY), ("slack_post_message", POST)),
    "A draft is written.",
]


def _servers_file(folder: Path, desk: Upstream, notion: Upstream, slack: Upstream) -> Path:
    """Write the example's file of servers with what each reaches exchanged, and nothing else."""
    named = msgspec.yaml.decode((EXAMPLES / "support" / "servers.yaml").read_bytes())
    keys = {"APP_ID": "app", "APP_SECRET": "app-secret", "BASE_URL": f"{desk.url}/v2"}
    started = {
        "helpscout": (
            [sys.executable, str(EXAMPLES / "helpscout" / "server.py")],
            {f"HELPSCOUT_{name}": value for name, value in keys.items()},
        ),
        "notion": servers.notion(notion.url),
        "slack": servers.slack(slack.url),
    }
    for name, (command, env) in started.items():
        named[name].pop("url", None)
        named[name].pop("env_from", None)
        named[name] |= {"command": command, "env": servers.environ(env)}
    file = folder / "servers.json"
    file.write_bytes(msgspec.json.encode(named))
    return file


async def _decided(client: PlainClient, execution: str) -> list[str]:
    """Approve of the reply and refuse the message, once both are asked for."""
    while True:
        record = await client.ask("executions.get", {"execution_id": execution})
        waiting = {call["tool"]: call["call_id"] for call in record["tools"][2:]}
        if record["status"] == "WAITING":
            break
        await anyio.sleep(0.05)
    wanted = {"execution_id": execution}
    await client.ask("executions.approve", {**wanted, "call_id": waiting["createReply"]})
    refusal = {"call_id": waiting["slack_post_message"], "reason": "Nobody need know."}
    await client.ask("executions.reject", {**wanted, **refusal})
    return sorted(waiting)


async def _begun(client: PlainClient) -> str:
    """Ask until the pool is there: it has just been started."""
    provider = {"type": "scripted", "responses": SCRIPT, "delay_ms": 0}
    wanted = {"agent_id": "support", "task": "Answer conversation 7.", "provider": provider}
    while True:
        handle = await client.ask("agents.execute", wanted)
        if handle.get("type") != "problem":
            return handle["execution_id"]
        await anyio.sleep(0.3)


async def test_the_agent_reads_with_three_servers_and_writes_what_a_person_has_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def notes(request: web.Request) -> web.Response:
        del request
        return web.json_response({"object": "list", "results": [{"id": "page-kettles"}]})

    async def channel(request: web.Request) -> web.Response:
        del request
        return web.json_response({"ok": True, "ts": "1.2"})

    record: Any = None
    asked: list[str] = []
    with anyio.fail_after(SECONDS):
        async with (
            upstream(DESK) as desk,
            upstream(notes) as notion,
            upstream(channel) as slack,
            running_fleet(tmp_path) as fleet,
            anyio.create_task_group() as tasks,
        ):
            monkeypatch.setenv("NATS_URL", ",".join(fleet.server.urls))
            monkeypatch.setenv("CALLBOARD_DURABILITY", fleet.server.durability)
            file = _servers_file(tmp_path, desk, notion, slack)
            monkeypatch.setenv("MCP_SERVERS_FILE", str(file))
            tasks.start_soon(partial(serve, ACTOR))
            await fleet.ready(2)
            async with fleet.client() as client:
                agent = (EXAMPLES / "support" / "agent.yaml").read_bytes()
                await client.ask("agents.apply", msgspec.yaml.decode(agent))
                execution = await _begun(client)
                asked = await _decided(client, execution)
                record = await client.ended(execution)
            tasks.cancel_scope.cancel()

    assert asked == ["createReply", "slack_post_message"]
    assert record["output"] == "A draft is written.", record
    assert [(call["tool"], call["outcome"]) for call in record["tools"]] == [
        ("getThreads", "ok"),
        ("API-post-search", "ok"),
        ("createReply", "ok"),
        ("slack_post_message", "declined"),
    ]
    assert [line for line in desk.asked if "/reply" in line] == ["POST /v2/conversations/7/reply"]
    assert notion.asked == ["POST /v1/search"]
    assert slack.asked == []
