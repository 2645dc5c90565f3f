"""Work that waits for workers, and who has it, on both buses."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus

from bus.config import Timing
from bus.errors import ProblemError
from bus.ports import Delivery
from bus.subjects import demand_subject
from bus.testing import Process, World
from bus.work.inventory import ask_holder
from bus.work.worker import Job, Worker
from schemas.fleet import Held, InventoryRequest
from schemas.journal import CommandEnvelope
from schemas.problems import Problem
from schemas.work import Done, WorkItem
from tests.hirer import Hirer, hiring, item
from tests.integration.conftest import QUICK
from tests.integration.waiting import SECONDS, until

Handle = Callable[[str], Awaitable[None]]


class Reports:
    """A ``Principal``: whoever waits for an item hears of its end, unless it is away."""

    def __init__(self, hirer: Hirer) -> None:
        self.heard: list[str] = []
        self.is_away = False
        self._hirer = hirer

    async def ask(self, envelope: CommandEnvelope, *, timeout: float) -> bytes:
        assert timeout > 0
        await anyio.lowlevel.checkpoint()
        if self.is_away:
            raise ProblemError(Problem(code="unavailable", message="away", retryable=True))
        name = envelope.id.removesuffix(".result")
        self.heard.append(name)
        self._hirer.registry.closed(name)
        return b'{"type":"settled","accepted":true}'


class Crew:
    """Workers of one queue, each a process of its own, and what each has begun."""

    def __init__(self, world: World, queue: str, reports: Reports, tasks: TaskGroup) -> None:
        self.begun: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self._world = world
        self._queue = queue
        self._reports = reports
        self._tasks = tasks
        self.go = anyio.Event()

    async def start(self, name: str, *, capacity: int = 4) -> anyio.CancelScope:
        """Start a worker; cancel what is returned to let it die."""
        return await self._tasks.start(self._run, name, capacity)

    @property
    def all_begun(self) -> Counter[str]:
        return Counter(name for begun in self.begun.values() for name in begun)

    async def _run(
        self, name: str, capacity: int, *, task_status: TaskStatus[anyio.CancelScope]
    ) -> None:
        begun = self.begun[name] = []

        async def handle(work: WorkItem[Any]) -> Done:
            begun.append(work.id)
            await self.go.wait()
            return Done(work=work.work, attempt=work.attempt)

        job = Job(queue=self._queue, body_type=dict, handle=handle)
        with anyio.CancelScope() as scope:
            async with self._world.process(name) as bus, anyio.create_task_group() as tasks:
                worker = Worker(job, lambda _: self._reports, name, bus, QUICK, capacity=capacity)
                tasks.start_soon(worker.run)
                await until(lambda: worker.ready)
                self.names[name] = worker._endpoint.name
                task_status.started(scope)


class Setting:
    """A registry with items of its own, and workers for them."""

    def __init__(self, bus: Process, hirer: Hirer, pool: Crew, reports: Reports) -> None:
        self.bus = bus
        self.hirer = hirer
        self.pool = pool
        self.reports = reports


@asynccontextmanager
async def setting(world: World, queue: str, timing: Timing = QUICK) -> AsyncGenerator[Setting]:
    async with (
        world.process("owner") as bus,
        hiring(bus, timing, name=f"registry-{queue}") as hirer,
        anyio.create_task_group() as tasks,
    ):
        reports = Reports(hirer)
        yield Setting(bus, hirer, Crew(world, queue, reports, tasks), reports)
        tasks.cancel_scope.cancel()


async def test_what_waits_is_done_by_the_worker_that_comes(world: World, fresh: str):
    async with setting(world, fresh) as here:
        here.pool.go.set()
        await here.hirer.send(item("i1", queue=fresh))
        await here.pool.start("one")
        await until(lambda: here.reports.heard == ["i1"])


async def test_each_of_many_items_is_begun_once_by_one_of_several_workers(world: World, fresh: str):
    names = {f"i{number}" for number in range(200)}
    async with setting(world, fresh) as here:
        here.pool.go.set()
        await here.pool.start("one")
        await here.pool.start("two")
        for name in names:
            await here.hirer.send(item(name, f"tenant{name[-1]}", queue=fresh))
        await until(lambda: len(here.reports.heard) == len(names))

    assert here.pool.all_begun == Counter(names)
    assert all(here.pool.begun.values())


async def test_more_than_fits_waits_until_a_place_frees(world: World, fresh: str):
    async with setting(world, fresh) as here:
        await here.pool.start("one", capacity=2)
        for number in range(6):
            await here.hirer.send(item(f"i{number}", queue=fresh))
        await until(lambda: len(here.pool.begun["one"]) == 2)
        await anyio.sleep(3 * QUICK.heartbeat_seconds)
        assert len(here.pool.begun["one"]) == 2
        here.pool.go.set()
        await until(lambda: len(here.reports.heard) == 6)


async def test_what_a_dead_worker_had_is_lost_and_what_waits_goes_to_another(
    world: World, fresh: str
):
    async with setting(world, fresh) as here:
        doomed = await here.pool.start("doomed", capacity=1)
        await here.hirer.send(item("held", queue=fresh))
        await until(lambda: here.pool.begun["doomed"] == ["held"])
        await here.hirer.send(item("waits", queue=fresh))
        await until(lambda: "waits" in here.hirer.registry._waiting)
        doomed.cancel()
        await here.pool.start("other")
        await until(lambda: here.hirer.losses == ["held"])
        await until(lambda: here.pool.begun["other"] == ["waits"])


async def test_the_new_owner_of_a_shard_hears_what_a_worker_holds_or_that_it_has_gone(
    world: World, fresh: str
):
    async with setting(world, fresh) as here:
        doomed = await here.pool.start("doomed")
        await here.hirer.send(item("held", queue=fresh))
        await until(lambda: here.pool.begun["doomed"] == ["held"])
        call, worker = InventoryRequest(shard="s", epoch=2), here.pool.names["doomed"]
        here.hirer.registry.meet(worker, fresh)
        around = (here.bus.transport, here.hirer.registry, QUICK)
        held = await ask_holder(worker, call, *around)
        doomed.cancel()
        with anyio.fail_after(SECONDS):
            while await ask_holder(worker, call, *around) is not None:
                await anyio.sleep(0.01)

    assert held == Held(items=["held"], epoch=2)


async def test_where_nothing_waits_nothing_is_asked_for(world: World, fresh: str):
    asked: list[Delivery] = []
    async with (
        setting(world, fresh) as here,
        here.bus.transport.reception(demand_subject(fresh), asked.append),
    ):
        here.pool.go.set()
        await here.pool.start("one")
        await until(lambda: bool(here.hirer.registry._workers))
        for number in range(20):
            await here.hirer.send(item(f"i{number}", queue=fresh))
            await until(lambda number=number: len(here.reports.heard) == number + 1)
        await anyio.sleep(3 * QUICK.heartbeat_seconds)

    assert asked == []


async def test_a_tenant_whose_work_hangs_stops_no_other(world: World, fresh: str):
    async with setting(world, fresh) as here:
        await here.pool.start("one", capacity=4)
        for number in range(20):
            await here.hirer.send(item(f"h{number}", "hung", queue=fresh))
        await here.hirer.send(item("o", "other", queue=fresh))
        await until(lambda: "o" in here.pool.begun["one"])


@pytest.mark.single_server
async def test_after_a_restart_of_the_bus_what_is_held_and_what_waits_go_on(mortal_world: World):
    async with setting(mortal_world, "q") as here:
        await here.pool.start("one", capacity=1)
        await here.hirer.send(item("held", queue="q"))
        await until(lambda: here.pool.begun["one"] == ["held"])
        await here.hirer.send(item("waits", queue="q"))
        await mortal_world.restart()
        here.pool.go.set()
        await until(lambda: here.reports.heard == ["held", "waits"], seconds=SECONDS)

    assert here.hirer.losses == []
