"""Shards follow the processes that come and go, under running executions."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from bus.connection import NatsAddress, connect
from bus.membership import rendezvous
from bus.shard.report import owned_shards
from schemas.fleet import Alive
from tests.fleet import PlainClient, RunningFleet, running_fleet

SECONDS = 30.0
ASK_SECONDS = 1.0
SHARDS = 16

Owners = dict[int, str]


async def owners(fleet: RunningFleet) -> Owners:
    """Return who serves which shard, once each is served by one process."""
    async with connect(NatsAddress(urls=(fleet.server.url,), name="test")) as transport:
        with anyio.fail_after(SECONDS):
            while True:
                said = await owned_shards(transport, seconds=ASK_SECONDS)
                claims = [
                    (shard.shard, answer.process)
                    for answer in said
                    for shard in answer.owned
                    if shard.serving
                ]
                if sorted(shard for shard, _ in claims) == list(range(SHARDS)):
                    return dict(claims)


def wanted(agents: list[str]) -> Owners:
    return {shard: rendezvous(agents, f"execution.{shard}") or "" for shard in range(SHARDS)}


async def placed(fleet: RunningFleet, agents: list[str]) -> Owners:
    """Return the owners once the shards lie as they should among these processes."""
    with anyio.fail_after(SECONDS):
        while (found := await owners(fleet)) != wanted(agents):
            await anyio.sleep(0.05)
    return found


def names(alive: list[Alive]) -> list[str]:
    return [beat.process for beat in alive if beat.actor == "agents"]


class Load:
    """Executions one after another, until told to stop."""

    def __init__(self, client: PlainClient) -> None:
        self._client = client
        self.stopping = False
        self.statuses: list[str] = []

    async def run(self) -> None:
        while not self.stopping:
            handle = await self._client.ask("agents.execute", {"agent_id": "talker", "task": "x"})
            record = await self._client.ended(handle["execution_id"], timeout=SECONDS)
            self.statuses.append(record["status"])


@asynccontextmanager
async def loaded(client: PlainClient) -> AsyncGenerator[Load]:
    """Keep eight executions running while the context is open; let them end after it."""
    await client.script("talker", "one two three four five", delay_ms=20)
    load = Load(client)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(load.run)
        yield load
        load.stopping = True


@pytest.mark.timeout(150)
async def test_a_third_process_takes_only_its_own_shards_and_they_go_back(tmp_path: Path):
    async with running_fleet(tmp_path, agents=2) as fleet, fleet.client() as client:
        two = names(await fleet.ready(3))
        async with loaded(client) as load:
            before = await placed(fleet, two)
            await fleet.start("agents.2")
            three = names(await fleet.ready(4))
            joined = await placed(fleet, three)
            assert await fleet.drain("agents.2") == 0
            assert await placed(fleet, two) == before

    (newcomer,) = set(three) - set(two)
    moved = {shard for shard in before if joined[shard] != before[shard]}
    assert {joined[shard] for shard in moved} <= {newcomer}
    assert moved == {shard for shard, owner in wanted(three).items() if owner == newcomer}
    assert set(load.statuses) == {"COMPLETED"}
