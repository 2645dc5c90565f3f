"""Submitted commands wait for a bus that cannot take subscriptions, as with a full disk."""

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from bus.codec import encode
from bus.config import Timing
from bus.service import Caller, Endpoint
from bus.streams.provision import provision
from bus.streams.spec import INBOX, stream_specs
from bus.submissions import Submissions
from bus.testing import nats_world
from schemas.agents import AgentList, ListAgents
from schemas.base import Message
from tests.integration.waiting import until
from tests.servers import local_server

TIMING = Timing(request_try_seconds=0.05)


@pytest.mark.single_server
async def test_commands_are_taken_as_soon_as_the_bus_can_hand_them_out(tmp_path: Path):
    handled: list[str] = []

    async def answer(caller: Caller, _: ListAgents) -> Message:
        handled.append(caller.tenant)
        return AgentList(agents=[], total=0, limit=1, offset=0)

    async with (
        nats_world(local_server(tmp_path), timing=TIMING) as world,
        world.process("test") as bus,
    ):
        await bus.jetstream.call(f"STREAM.DELETE.{INBOX}")
        with capture_logs() as logs:
            async with anyio.create_task_group() as tasks:
                submissions = Submissions("agents", [Endpoint(ListAgents, answer)], bus, TIMING)
                tasks.start_soon(submissions.run)
                await until(lambda: any("not_subscribed" in line["event"] for line in logs))

                await provision(
                    bus.jetstream,
                    stream_specs((), TIMING),
                    world.server.durability,
                    first_sequence=1,
                )
                await bus.outbox.post("cb.acme.submit.agents.list", encode(ListAgents()))
                await until(lambda: handled == ["acme"])
                tasks.cancel_scope.cancel()
