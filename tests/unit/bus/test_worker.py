"""When a worker must ask before it begins an item."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError
from bus.memory import MemoryProcess, memory_bus
from bus.worker import Job, Worker
from schemas.journal import Mail
from schemas.problems import Problem
from schemas.work import (
    Failed,
    Granted,
    ReplyTo,
    Settled,
    Superseded,
    WorkAnswer,
    WorkItem,
)
from tests.integration.waiting import until
from tests.virtual import VIRTUAL_TIME, Backend, stand_still

TIMING = Timing(ack_wait_seconds=0.2, in_progress_seconds=0.05)


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class Item(msgspec.Struct):
    name: str


class Asked:
    """Stands for the owners of all shards: notes what it is asked, and answers claims as told."""

    def __init__(self, claims: WorkAnswer, *, seconds: float = 0) -> None:
        self.claims = claims
        self.seconds = seconds
        self.kinds: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.refusals: list[Problem] = []

    def of(self, item: WorkItem[Any]) -> "Asked":
        """Stand for whoever waits for an item."""
        assert item.reply_to.entity == "e"
        return self

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        assert timeout > 0
        told = decode(dict[str, Any], mail.body)
        self.kinds.append(told["type"])
        self.told.append(told)
        await anyio.sleep(self.seconds)
        is_question = told["type"] in ("claim", "lost")
        if self.refusals and not is_question:
            raise ProblemError(self.refusals.pop())
        return encode(self.claims if is_question else Settled(accepted=True))


class Begun:
    """Notes which items are worked on."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def job(self) -> Job[Item]:
        return Job(queue="q", body_type=Item, handle=self.handle)

    async def handle(self, item: WorkItem[Item]) -> Failed:
        self.names.append(item.body.name)
        return failed("tried")


def failed(message: str) -> Failed:
    return Failed(work="w", attempt=1, problem=Problem(code="internal", message=message))


def enclosed(name: str, tenant: str = "acme", *, body: Any = None, once: bool = False) -> bytes:
    item = WorkItem(
        id=name,
        work="w",
        attempt=1,
        queue="q",
        tenant=tenant,
        reply_to=ReplyTo(entity="e", tenant=tenant, key=name),
        since=datetime(2026, 11, 21, tzinfo=UTC),
        body=body or Item(name),
        once=once,
    )
    return encode(item)


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(TIMING) as world, world.process() as process:
        yield process


async def worked(
    bus: MemoryProcess,
    claims: WorkAnswer,
    *,
    life: str | None = None,
    item: bytes | None = None,
) -> tuple[Asked, Begun]:
    """Send one item and let a worker deal with it."""
    asked, begun = Asked(claims), Begun()
    worker = Worker(begun.job(), asked.of, "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        data = item or enclosed("item")
        await bus.queue.send("q", "acme", data, item="item", life=life)
        await until(lambda: bool(asked.kinds))
        await worker.drain()
        tasks.cancel_scope.cancel()
    return asked, begun


async def test_a_fresh_item_is_begun_unasked_and_reported(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), life=None)
    assert (begun.names, asked.kinds) == (["item"], ["failed"])


async def test_an_item_sent_again_in_the_same_life_of_the_queue_is_begun_unasked(
    bus: MemoryProcess,
):
    asked, begun = await worked(bus, Granted(), life=await bus.queue.generation())
    assert (begun.names, asked.kinds) == (["item"], ["failed"])


async def test_an_item_of_an_earlier_life_of_the_queue_is_claimed_first(bus: MemoryProcess):
    asked, begun = await worked(bus, Superseded(reason="a twin runs"), life="an earlier life")
    assert (begun.names, asked.kinds) == ([], ["lost"])


async def test_what_may_happen_once_alone_is_claimed_and_then_worked_on(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), item=enclosed("item", once=True))
    assert (begun.names, asked.kinds) == (["item"], ["claim", "failed"])


async def test_a_claim_that_is_not_granted_is_not_worked_on(bus: MemoryProcess):
    denied = Superseded(reason="another worker has begun it")
    asked, begun = await worked(bus, denied, item=enclosed("item", once=True))
    assert (begun.names, asked.kinds) == ([], ["claim"])


async def test_what_cannot_be_read_is_reported_as_failed_and_never_begun(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), item=enclosed("item", body={"name": 7}))

    (told,) = asked.told
    assert begun.names == []
    assert (told["type"], told["work"], told["attempt"], told["sent"]) == ("failed", "w", 1, False)
    assert told["problem"]["retryable"] is True


@pytest.mark.parametrize(("once", "code"), [(True, "outcome_unknown"), (False, "internal")])
async def test_a_crash_is_reported_and_leaves_unknown_what_may_happen_once_alone(
    bus: MemoryProcess, once: bool, code: str
):
    asked = Asked(Granted())

    async def crash(item: WorkItem[Item]) -> Failed:
        raise ZeroDivisionError(item.id)

    job = Job(queue="q", body_type=Item, handle=crash)
    worker = Worker(job, asked.of, "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await bus.queue.send("q", "acme", enclosed("item", once=once), item="item")
        await until(lambda: "failed" in asked.kinds)
        tasks.cancel_scope.cancel()

    assert asked.told[-1]["problem"]["code"] == code


async def test_the_result_of_what_may_happen_once_alone_is_reported_until_it_is_heard(
    bus: MemoryProcess,
):
    away = Problem(code="unavailable", message="no owner", retryable=True)
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [away, away]
    worker = Worker(begun.job(), asked.of, "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await bus.queue.send("q", "acme", enclosed("item", once=True), item="item")
        await until(lambda: asked.kinds.count("failed") == 3)
        tasks.cancel_scope.cancel()

    assert (begun.names, asked.kinds) == (["item"], ["claim", "failed", "failed", "failed"])


async def test_an_item_that_came_while_the_worker_stood_still_is_claimed_first(
    bus: MemoryProcess,
):
    asked, begun = Asked(Superseded(reason="another worker has it")), Begun()
    worker = Worker(begun.job(), asked.of, "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await until(lambda: worker.ready)
        await bus.queue.send("q", "acme", enclosed("item"), item="item")
        stand_still(TIMING.ack_wait_seconds)
        await until(lambda: bool(asked.kinds))
        tasks.cancel_scope.cancel()

    assert (begun.names, asked.kinds) == ([], ["claim"])


async def test_a_grant_that_comes_late_is_not_used_and_the_item_is_given_back(bus: MemoryProcess):
    asked, begun = Asked(Granted(), seconds=TIMING.ack_wait_seconds), Begun()
    worker = Worker(begun.job(), asked.of, "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await bus.queue.send("q", "acme", enclosed("item", once=True), item="item")
        await until(lambda: len(asked.kinds) > 2)
        tasks.cancel_scope.cancel()

    assert (begun.names, asked.kinds[:3]) == ([], ["claim", "stopped", "lost"])
    assert asked.told[1]["sent"] is False


class Held:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = anyio.Event()

    def job(self) -> Job[Item]:
        return Job(queue="q", body_type=Item, handle=self.handle)

    async def handle(self, item: WorkItem[Item]) -> Failed:
        self.begun.append(item.body.name)
        go = self.go
        await go.wait()
        return failed("tried")

    def let_go(self) -> None:
        """Let what runs end; what begins after that lasts again."""
        self.go.set()
        self.go = anyio.Event()


async def test_long_work_of_one_tenant_leaves_a_place_for_each_of_some_others(bus: MemoryProcess):
    held = Held()
    worker = Worker(held.job(), Asked(Granted()).of, "me", bus, TIMING, capacity=20)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        for n in range(60):
            await bus.queue.send("q", "a", enclosed(f"a{n}", "a"), item=f"a{n}")
        await until(lambda: worker.running == 20)
        for n in range(5):
            await bus.queue.send("q", "b", enclosed(f"b{n}", "b"), item=f"b{n}")
        await until(lambda: "b0" in held.begun)
        await bus.queue.send("q", "c", enclosed("c0", "c"), item="c0")
        await until(lambda: "c0" in held.begun)
        assert [name for name in held.begun if name[0] == "b"] == ["b0"]
        assert worker.running == 22
        tasks.cancel_scope.cancel()


async def test_a_place_that_frees_goes_to_the_tenant_with_the_fewest_running(bus: MemoryProcess):
    held = Held()
    worker = Worker(held.job(), Asked(Granted()).of, "me", bus, TIMING, capacity=4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        for n in range(40):
            await bus.queue.send("q", "a", enclosed(f"a{n}", "a"), item=f"a{n}")
        await until(lambda: worker.running == 4)
        for n in range(9):
            await bus.queue.send("q", "b", enclosed(f"b{n}", "b"), item=f"b{n}")
        await until(lambda: worker.running == 5)
        held.let_go()
        await until(lambda: len(held.begun) >= 9)
        running = [name[0] for name in held.begun[5:9]]
        assert running.count("b") == 2
        tasks.cancel_scope.cancel()


async def test_a_worker_takes_no_more_than_so_many_bytes(
    bus: MemoryProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.worker.MOST_HELD_BYTES", 3000)
    held = Held()
    worker = Worker(held.job(), Asked(Granted()).of, "me", bus, TIMING, capacity=20)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await until(lambda: worker.ready)
        for n in range(10):
            name = f"{n}" + "x" * 600
            await bus.queue.send("q", "a", enclosed(name, "a"), item=name)
        await until(lambda: len(held.begun) == 2)
        await anyio.sleep(0.3)
        assert len(held.begun) == 2
        held.let_go()
        await until(lambda: len(held.begun) == 4)
        tasks.cancel_scope.cancel()


async def begun_one_by_one(bus: MemoryProcess, held: "Held", tenant: str, size: int) -> int:
    """Send items until one does not begin; say how many have begun."""
    for n in range(40):
        name = f"{tenant}{n}".ljust(size, "x")
        await bus.queue.send("q", tenant, enclosed(name, tenant), item=name)
        with anyio.move_on_after(0.5):
            await until(lambda name=name: name in held.begun)
        if name not in held.begun:
            return n
    return 40


@pytest.mark.parametrize(
    ("capacity", "most_bytes", "size"),
    [(16, 10**6, 9), (160, 16 * len(enclosed("x" * 90, "a")), 90)],
    ids=["places", "bytes"],
)
async def test_work_that_is_long_leaves_as_much_to_others_as_its_tenant_has(
    bus: MemoryProcess, monkeypatch: pytest.MonkeyPatch, capacity: int, most_bytes: int, size: int
):
    monkeypatch.setattr("bus.worker.MOST_HELD_BYTES", most_bytes)
    held = Held()
    job = replace(held.job(), is_long=True)
    worker = Worker(job, Asked(Granted()).of, "me", bus, TIMING, capacity=capacity)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await until(lambda: worker.ready)
        assert await begun_one_by_one(bus, held, "a", size) == 8
        assert await begun_one_by_one(bus, held, "b", size) == 4
        assert await begun_one_by_one(bus, held, "c", size) == 2
        tasks.cancel_scope.cancel()
