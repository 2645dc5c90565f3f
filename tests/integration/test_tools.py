"""An agent uses tools: real processes, and a pool of servers that stands in for the real one."""

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from bus.actor import Actor, Here, serve
from bus.requests.caller import Caller
from bus.requests.service import answers
from bus.work.worker import Job
from schemas.lifecycle import EXECUTION_ENTITY
from schemas.tools import (
    TOOL_QUEUE,
    FinishTool,
    ListTools,
    ServerTool,
    ToolHints,
    ToolList,
    ToolResult,
    ToolText,
    ToolWork,
)
from schemas.work import WorkItem
from tests.fleet import running_fleet

LONG = "line of a log\n" * 4000


class StandIn:
    """Has one server with a tool that reads and one that writes."""

    def __init__(self, here: Here) -> None:
        del here

    @answers(ListTools)
    async def list(self, caller: Caller, wanted: ListTools) -> ToolList:
        """List the tools."""
        del caller, wanted
        reads = ServerTool(server="notes", tool="read.log", hints=ToolHints(read_only=True))
        return ToolList(tools=[reads, ServerTool(server="notes", tool="write")])


async def call(here: Here, item: WorkItem[ToolWork]) -> FinishTool:
    """Answer with what was asked, or with a long log."""
    work = item.body
    text = LONG if work.tool == "read.log" else f"wrote {work.arguments}"
    result = ToolResult(content=[ToolText(text=text)])
    return FinishTool(
        work=item.work, attempt=item.attempt, result=result, started_at=here.bus.clock()
    )


POOL = Actor(
    name="standin",
    services=[StandIn],
    jobs=[Job(queue=TOOL_QUEUE, body_type=ToolWork, handle=call)],
    asks=[EXECUTION_ENTITY],
)


async def test_calls_go_to_their_server_and_results_to_the_model_and_to_who_reads_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script: list[Any] = [
        {"calls": [{"name": "read_log"}, {"name": "write", "arguments": {"a": 1}}]},
        {"calls": [{"name": "write", "arguments": {"b": 2}}], "text": "One more."},
        "All is done.",
    ]
    stored: Any = None
    record: Any = None
    one: Any = None
    events: list[Any] = []
    async with running_fleet(tmp_path) as fleet, anyio.create_task_group() as tasks:
        monkeypatch.setenv("NATS_URL", ",".join(fleet.server.urls))
        monkeypatch.setenv("CALLBOARD_DURABILITY", fleet.server.durability)
        tasks.start_soon(partial(serve, POOL))
        await fleet.ready(2)
        async with fleet.client() as client:
            provider = {"type": "scripted", "responses": script, "delay_ms": 0}
            agent = {"id": "scribe", "provider": provider, "tools": ["notes/*"]}
            stored = await client.ask("agents.apply", agent)
            handle = await _begun(client)
            record = await client.ended(handle["execution_id"])
            events = await client.events(handle["execution_id"])
            alone = {"server": "notes", "tool": "write", "arguments": {"c": 3}}
            called = await client.ask("tools.call", alone)
            one = await client.ended(called["execution_id"])
        tasks.cancel_scope.cancel()

    assert stored.get("type") != "problem", stored
    assert record["output"] == "All is done."
    assert [(each["tool"], each["outcome"]) for each in record["tools"]] == [
        ("read.log", "ok"),
        ("write", "ok"),
        ("write", "ok"),
    ]
    told = [type(event).__name__ for event in events]
    assert told.count("ToolCalled") == told.count("ToolReturned") == 3
    assert one["output"] == 'wrote {"c":3}'


async def _begun(client: Any) -> Any:
    """Ask until the pool is there: it has just been started."""
    wanted = {"agent_id": "scribe", "task": "Write it down."}
    with anyio.fail_after(20):
        while True:
            handle = await client.ask("agents.execute", wanted)
            if handle.get("type") != "problem":
                return handle
            await anyio.sleep(0.5)
