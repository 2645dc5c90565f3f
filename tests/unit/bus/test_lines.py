"""Lanes, priorities and times of work, from an owner to a worker."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import anyio
import pytest

from bus.memory import MemoryProcess, memory_bus
from bus.work.worker import Job
from schemas.work import Granted, WorkFailure, WorkItem
from tests.hirer import SINCE, item
from tests.integration.waiting import until
from tests.unit.bus.test_worker import TIMING, Asked, Begun, Item, failed, working
from tests.virtual import VIRTUAL_TIME, Backend

HOUR = timedelta(hours=1)


class Hanging(Begun):
    """A lane in which nothing ends until it is let go."""

    def __init__(self, lane: str = "") -> None:
        super().__init__()
        self.lane = lane
        self.freed = anyio.Event()

    def job(self) -> Job[Item]:
        return Job(queue="q", body_type=Item, handle=self.hang)

    async def hang(self, item: WorkItem[Item]) -> WorkFailure:
        self.names.append(item.body.name)
        if item.lane == self.lane:
            await self.freed.wait()
        return failed("tried")


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(TIMING) as world, world.process() as process:
        yield process


async def test_a_lane_in_which_nothing_ends_stops_no_other_of_its_tenant(bus: MemoryProcess):
    hanging = Hanging("stuck")
    async with working(bus, hanging.job(), Asked(Granted())) as (worker, hirer):
        for number in range(6):
            await hirer.send(item(f"s{number}", lane="stuck"))
        await until(lambda: worker.running >= 2)
        for number in range(3):
            await hirer.send(item(f"o{number}", lane="other"))
        await until(lambda: {"o0", "o1", "o2"} <= set(hanging.names))
        assert len(hanging.names) < 9
        hanging.freed.set()
        await until(lambda: len(hanging.names) == 9)


async def test_of_what_waits_in_a_line_the_highest_priority_goes_first(bus: MemoryProcess):
    hanging = Hanging()
    async with working(bus, hanging.job(), Asked(Granted()), capacity=1) as (worker, hirer):
        await hirer.send(item("first"))
        await until(lambda: worker.running == 1)
        for name, priority, age in (("low", -1, 9), ("new", 0, 1), ("old", 0, 5), ("high", 5, 0)):
            await hirer.send(item(name, priority=priority, since=SINCE - age * HOUR))
        hanging.freed.set()
        await until(lambda: len(hanging.names) == 5)
    assert hanging.names == ["first", "high", "old", "new", "low"]


@pytest.mark.parametrize("seconds", [0.02, 30.0])
async def test_an_item_is_given_to_nobody_before_its_time_and_then_at_once(
    bus: MemoryProcess, seconds: float
):
    begun = Begun()
    async with working(bus, begun.job(), Asked(Granted())) as (_, hirer):
        at = bus.clock() + timedelta(seconds=seconds)
        await hirer.send(item("late", not_before=at))
        await hirer.send(item("gone", not_before=at))
        await hirer.send(item("now", not_before=bus.clock()))
        hirer.registry.closed("gone")
        await until(lambda: begun.names == ["now"])
        assert hirer.registry.has("late")
        await anyio.sleep((at - bus.clock()).total_seconds() - 0.005)
        assert begun.names == ["now"]
        await anyio.sleep(0.005 + TIMING.heartbeat_seconds / 2)
        assert begun.names == ["now", "late"]
