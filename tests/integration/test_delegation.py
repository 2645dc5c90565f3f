"""An agent runs another one: real processes, a begin item, a callback, a cancellation."""

from pathlib import Path
from typing import Any

import anyio

from schemas.streams import StreamEvent, ToolProgressed, ToolReturned
from tests.fleet import PlainClient, running_fleet

MANY = "word " * 400


def calling(agent: str) -> dict[str, Any]:
    arguments = {"agent_id": agent, "task": "Judge it."}
    return {"calls": [{"name": "agents_execute", "arguments": arguments}]}


async def applied(client: PlainClient, name: str, *script: Any, delay_ms: int = 0) -> None:
    provider = {"type": "scripted", "responses": list(script), "delay_ms": delay_ms}
    wanted = {"id": name, "provider": provider, "tools": ["agents"]}
    answer = await client.ask("agents.apply", wanted)
    assert answer.get("type") != "problem", answer


async def run(client: PlainClient, name: str) -> str:
    handle = await client.ask("agents.execute", {"agent_id": name, "task": "Go on.", "user": "ann"})
    return handle["execution_id"]


async def child_of(client: PlainClient, parent: str) -> str:
    """Return the execution that another one runs, once that has begun."""
    with anyio.fail_after(20):
        while True:
            page = await client.ask("streams.read", {"execution_id": parent})
            for event in page.get("events", []):
                if event["type"] == "tool_progress":
                    return event["child"]
            await anyio.sleep(0.05)


async def test_an_agent_runs_another_and_is_told_its_answer_and_ends_it_when_it_ends(
    tmp_path: Path,
):
    async with running_fleet(tmp_path) as fleet, fleet.client() as client:
        await applied(client, "critic", "It is good.")
        await applied(client, "writer", calling("critic"), "The critic has spoken.")
        await applied(client, "chief", calling("writer"), "All is well.")
        await applied(client, "slow", MANY, delay_ms=50)
        await applied(client, "owner", calling("slow"), "Never said.")

        parent = await run(client, "chief")
        record = await client.ended(parent)
        events = await client.events(parent)
        middle = await client.ended(record["tools"][0]["execution_id"])
        inner = await client.ended(middle["tools"][0]["execution_id"])

        waiting = await run(client, "owner")
        child = await child_of(client, waiting)
        await client.ask("executions.cancel", {"execution_id": waiting, "reason": "enough"})
        cancelled = await client.ended(child, timeout=10)

    assert (record["output"], record["tools"][0]["outcome"]) == ("All is well.", "ok")
    assert (middle["output"], inner["output"]) == ("The critic has spoken.", "It is good.")
    assert (middle["agent_id"], middle["user"]) == ("writer", "ann")
    assert told(events) == [(middle["execution_id"], None), (middle["execution_id"], "ok")]
    assert (cancelled["status"], cancelled["agent_id"]) == ("CANCELLED", "slow")


def told(events: list[StreamEvent]) -> list[tuple[str | None, str | None]]:
    """Return which child the stream names, and how its call has ended."""
    return [
        (event.child, event.outcome if isinstance(event, ToolReturned) else None)
        for event in events
        if isinstance(event, ToolProgressed | ToolReturned)
    ]
