"""An owner that is cut off from JetStream alone, while everybody hears it, begins nothing twice."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import anyio
import pytest
from anyio.abc import TaskGroup

from actors.agents.core.entity import EXECUTION
from bus.codec import decode
from bus.errors import FencedError, UnavailableError
from bus.membership import Membership
from bus.memory import MemoryBus, MemoryProcess
from bus.ports import Fill, Journal, StoredMessage
from bus.requests.rpc import Owners, command
from bus.shard.owner import ShardOwner
from bus.testing import memory_bus
from bus.work.registry import WorkerRegistry
from bus.work.worker import Job, Worker, owners_of
from schemas.executions import ExecutionRecord
from schemas.fleet import Alive
from schemas.lifecycle import FinishGeneration, GenerateWork, Look, Looked
from schemas.work import WorkItem
from tests.integration.waiting import until
from tests.simulation.fleet import QUICK, TENANT, Gate, accept, finish
from tests.virtual import VIRTUAL_TIME, Backend


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class CutJournal:
    """A journal without answers while it is cut; ``stores`` says whether appends reach it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.is_cut = self.stores = False

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        if not self.is_cut:
            return await self._journal.append(subject, data, expected=expected)
        if self.stores:
            self.stores = False
            await self._journal.append(subject, data, expected=expected)
        raise UnavailableError(subject, "no answer")

    async def last(self, subject: str) -> StoredMessage | None:
        self._ask(subject)
        return await self._journal.last(subject)

    async def first(self, subject: str, *, since: datetime | None = None) -> StoredMessage | None:
        self._ask(subject)
        return await self._journal.first(subject, since=since)

    async def fill(self) -> Fill:
        self._ask("fill")
        return await self._journal.fill()

    def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        self._ask(subject)
        return self._journal.read(subject, start=start)

    async def purge(self, subject: str, *, below: int) -> None:
        self._ask(subject)
        await self._journal.purge(subject, below=below)

    def _ask(self, what: str) -> None:
        if self.is_cut:
            raise UnavailableError(what, "no answer")


class Scene:
    """One shard, its owners and its workers, of which the first has one place."""

    def __init__(self, bus: MemoryProcess, tasks: TaskGroup) -> None:
        self.bus = bus
        self.begun: list[str] = []
        self.gate = Gate()
        self.lost: list[str] = []
        self.owners = Owners(bus.transport, "execution", 1, QUICK)
        self.tasks = tasks

    async def own(self, name: str) -> tuple[ShardOwner, CutJournal]:
        """Let a process take the shard, whoever has it."""
        journal = CutJournal(self.bus.journal("execution"))
        bus = replace(self.bus, journal=lambda _: journal)
        alive = Alive(process=name, actor="agents")
        membership = Membership(bus.transport, lambda: alive, QUICK)
        registry = WorkerRegistry(name, membership, bus, QUICK)
        owner = ShardOwner(EXECUTION, 0, name, registry, bus, QUICK)
        self.tasks.start_soon(membership.run)
        self.tasks.start_soon(registry.run)
        self.tasks.start_soon(self._run, owner, name)
        await until(lambda: owner.serving and bool(registry._workers))
        return owner, journal

    async def work(self, capacity: int = 1) -> None:
        """Run a worker."""
        job = Job(queue="generate", body_type=GenerateWork, handle=self._handle)
        principals = owners_of({"execution": self.owners})
        await Worker(job, principals, "worker", self.bus, QUICK, capacity=capacity).run()

    async def execute(self, name: str, owner: ShardOwner) -> None:
        """Let an owner accept an execution."""
        answers: list[bytes] = []
        owner.offer(command("accept", TENANT, name, accept(name)), answers.append)
        await until(lambda: bool(answers))

    async def ended(self, name: str, owner: ShardOwner) -> ExecutionRecord:
        """Return an execution's record once an owner says that it has ended."""
        while True:
            answers: list[bytes] = []
            owner.offer(command("", TENANT, name, Look()), answers.append)
            await until(lambda answers=answers: bool(answers))
            record = decode(Looked, answers[0]).record
            if record.status != "RUNNING":
                return record
            await anyio.sleep(0.01)

    async def _run(self, owner: ShardOwner, name: str) -> None:
        try:
            await owner.run()
        except* FencedError:
            self.lost.append(name)

    async def _handle(self, item: WorkItem[GenerateWork]) -> FinishGeneration:
        self.begun.append(item.id)
        await self.gate.handle(item.body)
        return finish(item.attempt, self.bus)


@asynccontextmanager
async def scene() -> AsyncGenerator[Scene]:
    world: MemoryBus
    async with (
        memory_bus(QUICK) as world,
        world.process("fleet") as bus,
        anyio.create_task_group() as tasks,
    ):
        here = Scene(bus, tasks)
        tasks.start_soon(here.work)
        yield here
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("stores", [False, True], ids=["nothing arrives", "one commit arrives"])
@pytest.mark.parametrize("is_named", [False, True], ids=["while it waits", "before the offer"])
async def test_what_waits_with_an_owner_that_is_cut_off_is_begun_once_by_its_heir(
    *, stores: bool, is_named: bool
):
    async with scene() as here:
        former, journal = await here.own("former")
        await here.execute("e1", former)
        await until(lambda: len(here.begun) == 1)
        names = ["e1", "e2", "e3", "e4"]
        for name in names[1:]:
            await here.execute(name, former)
        journal.is_cut, journal.stores = True, stores
        if is_named:
            # The place that frees is granted to the owner that is cut off.
            here.gate.open()
            await anyio.sleep(QUICK.housekeeping_seconds)
        here.tasks.start_soon(here.work, 4)
        heir, _ = await here.own("heir")
        here.gate.open()
        with anyio.fail_after(30):
            records = [await here.ended(name, heir) for name in names]
        journal.is_cut = False
        await until(lambda: here.lost == ["former"])

    assert Counter(here.begun).most_common(1)[0][1] == 1
    assert {(each.status, each.attempts) for each in records} == {("COMPLETED", 1)}


async def test_an_owner_that_is_cut_off_does_not_keep_places_from_others():
    async with scene() as here:
        former, journal = await here.own("former")
        await here.execute("e1", former)
        await until(lambda: len(here.begun) == 1)
        await here.execute("e2", former)
        journal.is_cut = True
        await anyio.sleep(4 * QUICK.housekeeping_seconds)

        registry = former._registry
        here.gate.open()
        await anyio.sleep(4 * QUICK.heartbeat_seconds)

        assert not registry._granted
        assert not former._dispatch.can_name
