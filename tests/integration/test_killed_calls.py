"""Pools of tool servers are killed in the middle of calls, and a server counts what it has done."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import msgspec

from tests.fleet import PlainClient, RunningFleet, running_fleet

KILLS = 3
SECONDS = 120

SOURCE = '''
import sys

import anyio
from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("counter")


async def count(line: str, seconds: float) -> str:
    with open(sys.argv[1], "a+", encoding="utf-8") as ledger:
        ledger.write(line + "\\n")
        ledger.flush()
        ledger.seek(0)
        is_first = ledger.read().split("\\n").count(line) == 1
    await anyio.sleep(seconds if is_first else 0)
    return line


@server.tool()
async def pay(to: str, seconds: float = 0) -> str:
    """Pay once."""
    return await count(f"pay {to}", seconds)


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
async def look(at: str, seconds: float = 0) -> str:
    """Look, which does no harm."""
    return await count(f"look {at}", seconds)


server.run("stdio")
'''


def called(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def script() -> list[Any]:
    """Return answers that make two calls which hang, as often as the pool is killed, and one."""
    hanging = [
        {"calls": [called("pay", to=f"a{n}", seconds=60), called("look", at=f"a{n}", seconds=60)]}
        for n in range(KILLS)
    ]
    return [*hanging, {"calls": [called("pay", to="last")]}, "All is paid."]


async def test_no_call_is_silently_made_twice_when_its_pool_is_killed(tmp_path: Path):
    ledger, file, program = (tmp_path / name for name in ("ledger", "servers.json", "counter.py"))
    program.write_text(SOURCE, encoding="utf-8")
    ledger.touch()
    command = [sys.executable, str(program), str(ledger)]
    file.write_bytes(msgspec.json.encode({"counter": {"command": command}}))
    with anyio.fail_after(SECONDS):
        async with running_fleet(tmp_path, MCP_SERVERS_FILE=str(file)) as fleet:
            await fleet.start("mcp_pool.0")
            await fleet.ready(3)
            async with fleet.client() as client:
                execution = await _begun(client)
                for n in range(KILLS):
                    await _kill_during(fleet, ledger, n)
                record = await client.ended(execution)
                told = [type(event).__name__ for event in await client.events(execution)]

    outcomes = [(each["tool"], each["outcome"]) for each in record["tools"]]
    assert (record["status"], record["output"]) == ("COMPLETED", "All is paid.")
    assert outcomes == [*KILLS * [("pay", "outcome_unknown"), ("look", "ok")], ("pay", "ok")]
    assert told.count("ToolReturned") == len(outcomes)
    assert Counter(ledger.read_text().split("\n")[:-1]) == {
        **{f"pay a{n}": 1 for n in range(KILLS)},
        **{f"look a{n}": 2 for n in range(KILLS)},
        "pay last": 1,
    }


async def _begun(client: PlainClient) -> str:
    provider = {"type": "scripted", "responses": script(), "delay_ms": 0}
    agent = {"id": "payer", "provider": provider, "tools": ["counter"]}
    await client.reached("counter")
    applied = await client.ask("agents.apply", agent)
    assert applied.get("type") != "problem", applied
    begun = await client.ask("agents.execute", {"agent_id": "payer", "task": "Pay them."})
    return begun["execution_id"]


async def _kill_during(fleet: RunningFleet, ledger: Path, n: int) -> None:
    """Kill the pool once both calls of a round have come to their server; start another."""
    wanted = {f"pay a{n}", f"look a{n}"}
    while not wanted <= set((await anyio.Path(ledger).read_text()).split("\n")):
        await anyio.sleep(0.02)
    await fleet.kill(f"mcp_pool.{n}")
    await fleet.start(f"mcp_pool.{n + 1}")
