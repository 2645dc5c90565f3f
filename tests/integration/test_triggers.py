"""What workflows do to the outside, and are told by it: events, waits, requests, loops that end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import nats
import nats.errors
import pytest

from actors.workflow.actor import ACTOR
from bus.actor import serve
from bus.config import Timing
from tests.fleet import PlainClient
from tests.http_servers import Asked, serving
from tests.servers import PATIENCE, local_server

QUICK = Timing(join_seconds=0.1)
SECONDS = 40 * PATIENCE


@asynccontextmanager
async def fleet(folder: Path, env: pytest.MonkeyPatch) -> AsyncGenerator[PlainClient]:
    """Run the workflow actor alone in this process, on a server of its own."""
    async with local_server(folder / "nats") as server, anyio.create_task_group() as tasks:
        for name, value in {
            "NATS_URL": ",".join(server.urls),
            "CALLBOARD_DURABILITY": server.durability,
            "CALLBOARD_DATA": str(folder),
            "CALLBOARD_SHARDS": "2",
            "CALLBOARD_ALLOW_LOOPBACK": "true",
        }.items():
            env.setenv(name, value)
        tasks.start_soon(partial(serve, ACTOR, timing=QUICK))
        client = await nats.connect(server.url)
        yield PlainClient(client, "acme")
        await client.close()
        tasks.cancel_scope.cancel()


def net(action: dict[str, Any], *triggers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a net of one transition."""
    return {
        "places": [{"id": "new", "type": "initial"}, {"id": "done", "type": "terminal"}],
        "transitions": [
            {"id": "go", "from_places": ["new"], "to_place": "done", "action": action, **more}
        ],
        "triggers": list(triggers),
    }


async def applied(client: PlainClient, name: str, wanted: dict[str, Any]) -> None:
    with anyio.fail_after(SECONDS):
        while True:
            try:
                answer = await client.ask("workflows.apply", {"id": name, "net": wanted})
            except nats.errors.NoRespondersError:
                await anyio.sleep(0.05)
                continue
            if answer.get("code") != "unavailable":
                break
    assert answer.get("type") != "problem", answer


async def run(client: PlainClient, instance: str, *statuses: str) -> dict[str, Any]:
    """Return an instance once it stands and has one of these states."""
    with anyio.fail_after(SECONDS):
        while True:
            found = await client.ask("workflows.get_run", {"instance_id": instance})
            if found.get("status") in statuses:
                return found
            await anyio.sleep(0.02)


async def listed(client: PlainClient, workflow: str, count: int) -> list[dict[str, Any]]:
    """Return the instances of a workflow once all of so many have ended."""
    with anyio.fail_after(SECONDS):
        while True:
            query = {"workflow_id": workflow, "status": "COMPLETED"}
            runs = (await client.ask("workflows.list_runs", query))["runs"]
            if len(runs) >= count:
                return runs
            await anyio.sleep(0.05)


async def test_events_start_instances_wake_those_that_wait_and_end_in_no_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bodies: list[Any] = []

    async def play(asked: Asked) -> None:
        bodies.append(msgspec.json.decode(asked.body))
        answer = b'{"ok":true}'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}"
        await asked.send(head.encode() + b"\r\n\r\n" + answer)

    async with serving(play) as server, fleet(tmp_path, monkeypatch) as client:
        paid = {"type": "event", "subject": "pay.*", "condition": "event.data.sum > 5"}
        lead = {"type": "event", "id": "lead", "subject": "crm.lead", "key": "event.data.name"}
        await applied(client, "lead", net(paid, lead))
        post = {"type": "http", "url": f"{server.url}/audit", "input_mapping": {"who": "data.who"}}
        post["output_mapping"] = {"data.answer": "body"}
        audit = {"type": "event", "id": "audit", "subject": "events.lead.paid"}
        await applied(client, "audit", net(post, audit | {"condition": "event.data.who != ''"}))
        tick = {"type": "publish", "subject": "events.loop.tick"}
        again = {"type": "event", "id": "again", "subject": "events.loop.*"}
        await applied(client, "loop", net(tick, again))
        failed = await client.nats.subscribe("cb.acme.events.workflow.trigger_failed.loop")

        # What passes: the subscription follows the definition, so it is said until it is heard.
        with anyio.fail_after(SECONDS):
            while "status" not in await client.ask("workflows.get_run", {"instance_id": "Ada"}):
                await client.nats.publish("cb.acme.crm.lead", b'{"name":"Ada"}')
                await anyio.sleep(0.05)
        await run(client, "Ada", "WAITING", "RUNNING")
        await client.nats.publish("cb.acme.pay.small", b'{"sum":1}')
        await client.nats.publish("cb.acme.pay.large", b'{"sum":9}')
        assert (await run(client, "Ada", "COMPLETED"))["labels"]["trigger"] == "lead"

        # What streams keep, told twice under one id: one instance.
        js = client.nats.jetstream()
        for _ in range(2):
            headers = {"Nats-Msg-Id": "paid-1"}
            await js.publish("cb.acme.events.lead.paid", b'{"who":"Ada"}', headers=headers)
        await js.publish("cb.acme.events.lead.paid", b'{"who":""}')
        (found,) = await listed(client, "audit", 1)
        ended = await run(client, found["instance_id"], "COMPLETED")
        assert ended["data"]["answer"] == {"ok": True}
        assert bodies == [{"who": "Ada"}]

        # A trigger that causes itself.
        await js.publish("cb.acme.events.loop.tick", b"{}")
        told = msgspec.json.decode((await failed.next_msg(SECONDS)).data)
        assert (told["trigger"], told["problem"]["code"]) == ("again", "conflict")
        assert len(await listed(client, "loop", 8)) == 8
