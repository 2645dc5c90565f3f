"""Owners that were replaced without knowing it; each test is a defect that a seed has shown."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.abc import TaskGroup

from actors.agents.core.entity import EXECUTION
from bus.config import Timing
from bus.errors import FencedError
from bus.memory import MemoryBus
from bus.ports import Bus
from bus.requests.rpc import command
from bus.shard.owner import ShardOwner
from bus.testing import memory_bus
from schemas.lifecycle import Look
from tests.simulation.fleet import QUICK, SECONDS, TENANT, fleet, nobody


class Owned:
    """One shard and the processes that own it, or believe so."""

    def __init__(self, bus: Bus, tasks: TaskGroup, timing: Timing) -> None:
        self._bus = bus
        self._timing = timing
        self.lost: list[str] = []
        self._tasks = tasks

    async def take(self, name: str) -> ShardOwner:
        owner = ShardOwner(EXECUTION, 0, name, nobody(name, self._bus), self._bus, self._timing)
        self._tasks.start_soon(self._run, owner, name)
        with anyio.fail_after(SECONDS):
            while not owner.serving:
                await anyio.sleep(0.005)
        return owner

    async def has_lost(self, name: str) -> None:
        with anyio.fail_after(SECONDS):
            while name not in self.lost:
                await anyio.sleep(0.005)

    async def _run(self, owner: ShardOwner, name: str) -> None:
        try:
            await owner.run()
        except* FencedError:
            self.lost.append(name)


@asynccontextmanager
async def shard(world: MemoryBus, timing: Timing = QUICK) -> AsyncGenerator[Owned]:
    async with world.process() as bus, anyio.create_task_group() as tasks:
        yield Owned(bus, tasks, timing)
        tasks.cancel_scope.cancel()


async def test_an_idle_owner_learns_that_another_has_taken_its_shard():
    async with memory_bus(QUICK) as world, shard(world) as owned:
        await owned.take("former")
        await owned.take("heir")

        await owned.has_lost("former")


async def test_a_former_owner_does_not_say_that_it_knows_nothing():
    timing = msgspec.structs.replace(QUICK, housekeeping_seconds=SECONDS)
    answers: list[bytes] = []
    async with memory_bus(timing) as world, shard(world, timing) as owned:
        former = await owned.take("former")
        heir = await owned.take("heir")
        envelope = command("", TENANT, "e1", Look())

        former.offer(envelope, answers.append)
        await owned.has_lost("former")
        heir.offer(envelope, answers.append)
        with anyio.fail_after(SECONDS):
            while not answers:
                await anyio.sleep(0.005)

    assert len(answers) == 1


async def test_a_snapshot_is_named_when_all_that_lies_below_it_is_stored():
    timing = msgspec.structs.replace(QUICK, snapshot_commits=2, resend_window_seconds=60.0)
    async with memory_bus(timing) as world, fleet(world, timing) as running:
        await running.start_owner("one")
        await running.start_worker("worker")
        names = await running.execute_all(20)
        await running.ended(*names)
        commits = [commit for number in range(4) for commit in await running.commits(number)]

    assert [commit.n for commit in commits if commit.snapshot is not None] == []


async def test_what_happened_before_a_snapshot_is_published_by_the_next_owner_too():
    timing = msgspec.structs.replace(QUICK, snapshot_commits=2, resend_window_seconds=60.0)
    subject = "cb.acme.events.execution.completed.e1"
    async with memory_bus(timing) as world, fleet(world, timing) as running:
        await running.start_owner("one")
        await running.start_worker("worker")
        for name in ("e1", "e2", "e3", "e4", "e5", "e6"):
            await running.execute(name)
            await running.ended(name)
        running.kill("one")
        world.store.restart(lost_seconds=60.0)
        await running.start_owner("two")
        await running.settled_hosts()
        found = [stored.data for stored in world.store.read("EVENTS", subject)]

    assert len(found) == 1
