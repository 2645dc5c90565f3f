"""An item goes to no worker that has said it lacks what it takes, unless there is no other."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from bus.codec import encode
from bus.config import Timing
from bus.memory import MemoryProcess, memory_bus
from bus.subjects import grant_subject
from schemas.fleet import WORKER_SUBJECT, Grant, WorkerAlive
from schemas.work import WorkItem
from tests.hirer import Hirer, hiring, item
from tests.integration.waiting import until
from tests.virtual import VIRTUAL_TIME, Backend

TIMING = Timing(heartbeat_seconds=0.05)


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class World:
    """A registry of workers, and these by their words alone."""

    def __init__(self, bus: MemoryProcess, hirer: Hirer) -> None:
        self.bus = bus
        self.hirer = hirer

    async def lives(self, worker: str, room: int) -> None:
        """Let a worker say how many places it has."""
        alive = encode(WorkerAlive(worker=worker, queue="q", room=room))
        while not self.hirer.registry.knows(worker):
            await self.bus.transport.publish(WORKER_SUBJECT, alive)
            await anyio.sleep(TIMING.heartbeat_seconds)

    def chosen(self, work: WorkItem[object]) -> str | None:
        """Return the worker that is to get an item."""
        assignment = self.hirer.registry.choose((work.tenant, work.id), work, self.hirer)
        return assignment.worker.name if assignment else None

    async def grants(self, worker: str, number: int) -> None:
        """Let a worker grant a place to an item that waits."""
        grant = Grant(worker=worker, queue="q", number=number, line="acme")
        await self.bus.transport.publish(grant_subject("hirer"), encode(grant))


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    async with (
        memory_bus() as memory,
        memory.process() as bus,
        hiring(bus, TIMING) as hirer,
    ):
        hirer.keeps = True
        yield World(bus, hirer)


def avoiding(*workers: str) -> WorkItem[object]:
    return msgspec.structs.replace(item("i1"), avoid=list(workers))


async def test_another_worker_is_chosen_as_long_as_there_is_one():
    async with world() as w:
        await w.lives("one", 9)
        await w.lives("two", 9)
        assert [w.chosen(avoiding("one")) for _ in range(4)] == ["two"] * 4
        assert w.chosen(avoiding("one", "two")) in {"one", "two"}


async def test_a_place_at_a_worker_to_avoid_is_given_back_and_the_item_waits_on():
    async with world() as w:
        await w.lives("one", 9)
        await w.lives("two", 0)
        work = avoiding("one")
        assert w.chosen(work) is None
        w.hirer.registry.wait((work.tenant, work.id), work, w.hirer)
        await w.grants("one", 1)
        await w.grants("two", 1)
        await until(lambda: bool(w.hirer.kept))
        assert [assignment.worker.name for assignment in w.hirer.kept] == ["two"]
