"""The pool on a nats-server: servers over real transports, work items, questions, changed tools."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner

from actors.cli.commands import main
from actors.mcp_pool.actor import ACTOR
from bus.actor import serve
from bus.client import Client
from bus.codec import decode, encode
from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.errors import ProblemError
from bus.ports import Delivery
from bus.testing import NatsWorld, Server
from schemas.journal import CommandEnvelope
from schemas.tool_servers import (
    ApplyServer,
    CheckServer,
    ListServers,
    RemoteServer,
)
from schemas.tools import TOOL_QUEUE, ListTools, ToolWork
from schemas.work import Granted, ReplyTo, Settled, WorkItem
from tests.hirer import hiring
from tests.servers import local_server

TENANT, SECONDS = "acme", 60
QUICK = Timing(join_seconds=0.1)

SOURCE = '''
import os
from mcp.server import MCPServer

server = MCPServer("shelf")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def told() -> str:
    """Tell what the environment holds."""
    return ",".join(name for name in ("SHELF_TOKEN", "OTHER_TOKEN") if name in os.environ)


server.run("stdio")
'''


@asynccontextmanager
async def pool(folder: Path, env: pytest.MonkeyPatch) -> AsyncGenerator[Server]:
    """Run the actor in this process, with a server that it starts itself."""
    program = folder / "shelf.py"
    program.write_text(SOURCE, encoding="utf-8")
    file = folder / "servers.json"
    command = f'["{sys.executable}", "{program}"]'
    file.write_text(f'{{"shelf": {{"command": {command}, "env_from": ["SHELF_TOKEN"]}}}}')
    async with local_server(folder / "nats") as server, anyio.create_task_group() as tasks:
        for name, value in {
            "NATS_URL": ",".join(server.urls),
            "CALLBOARD_DURABILITY": server.durability,
            "CALLBOARD_DATA": str(folder),
            "CALLBOARD_TENANT": TENANT,
            "MCP_SERVERS_FILE": str(file),
            "SHELF_TOKEN": "t",
            "OTHER_TOKEN": "o",
        }.items():
            env.setenv(name, value)
        tasks.start_soon(partial(serve, ACTOR, timing=QUICK))
        yield server
        tasks.cancel_scope.cancel()


async def callboard(*arguments: str) -> str:
    done = await anyio.to_thread.run_sync(partial(CliRunner().invoke, main, arguments))
    assert done.exit_code == 0, done.output
    return done.output


async def test_questions_are_answered_by_a_server_that_the_pool_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with anyio.fail_after(SECONDS):
        async with (
            pool(tmp_path, monkeypatch) as server,
            connect(NatsAddress(urls=server.urls, name="test")) as transport,
        ):
            client = Client(transport)
            assert "1 ready of 1 alive" in await callboard(
                "doctor", "--expect", "mcp_pool=1", "--wait", "30"
            )
            listed = await client.request(TENANT, ListTools(patterns=["shelf"]))
            assert [tool.tool for tool in listed.tools] == ["add", "told"]
            state = await client.request(TENANT, CheckServer(server="shelf"))
            assert (state.reachable, state.lane, state.tools) == (True, "stdio", 2)
            assert state.ledger.open["processes"] >= 1

            wanted = ApplyServer(id="mine", server=RemoteServer(url="https://example.com/mcp"))
            assert (await client.request(TENANT, wanted)).version == 1
            rows = await client.request(TENANT, ListServers())
            assert [row.id for row in rows.servers] == ["mine", "shelf"]
            with pytest.raises(ProblemError) as refused:
                await client.request(
                    TENANT, ApplyServer(id="x", server=RemoteServer(url="http://169.254.1.1/"))
                )
            assert refused.value.problem.code == "forbidden"

            shown = await callboard("mcp", "check", "shelf")
            assert "shelf" in shown
            assert "2 tools" in shown


async def test_a_work_item_is_claimed_called_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """From an offer of an owner to its commands, with what the owner would answer."""
    told: list[dict[str, Any]] = []

    with anyio.fail_after(SECONDS):
        async with (
            pool(tmp_path, monkeypatch) as server,
            NatsWorld(server, ("execution",)).process("hirer") as bus,
            hiring(bus, Timing()) as hirer,
        ):

            async def answer(delivery: Delivery) -> None:
                body = decode(dict[str, Any], decode(CommandEnvelope, delivery.data).body)
                told.append(body)
                said = Granted() if body["type"] == "claim" else Settled(accepted=True)
                await bus.transport.publish(delivery.reply, encode(said))

            async with bus.transport.subscription("_cb.cmd.execution.*", answer):
                await callboard("doctor", "--expect", "mcp_pool=1", "--wait", "30")
                await hirer.send(work(bus.clock(), "told", "{}", once=True))
                await hirer.send(work(bus.clock(), "add", '{"a": 1, "b": "x"}'))
                while len(told) < 3:
                    await anyio.sleep(0.02)

    assert told[0]["type"] == "claim"
    kinds = {each["type"]: each for each in told[1:]}
    text = kinds["finish_tool"]["result"]["content"][0]["text"]
    assert text == "SHELF_TOKEN", "the server has got more than was named"
    assert kinds["fail_tool"]["outcome"] == "rejected"
    assert kinds["fail_tool"]["sent"] is False


def work(now: datetime, tool: str, arguments: str, *, once: bool = False) -> WorkItem[Any]:
    body = ToolWork(
        execution_id=tool,
        tenant=TENANT,
        call_id="c",
        server="shelf",
        tool=tool,
        arguments=arguments,
        attempt=1,
        deadline=now + timedelta(seconds=30),
        once=once,
    )
    return WorkItem(
        id=f"execution.{TENANT}.{tool}.1.1.1",
        work="1.1",
        attempt=1,
        queue=TOOL_QUEUE,
        tenant=TENANT,
        reply_to=ReplyTo(entity="execution", tenant=TENANT, key=tool),
        since=now,
        body=body,
        once=once,
        lane="shelf",
    )
