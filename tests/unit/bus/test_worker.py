"""What a worker takes, what it asks before it begins, and what it tells at the end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, ProblemError
from bus.memory import MemoryProcess, memory_bus
from bus.streams.spec import inbox_spec, inbox_stream
from bus.work.worker import LEAST_UNREPORTED_BYTES, Job, Worker
from schemas.fleet import UnheardResult
from schemas.journal import CommandEnvelope
from schemas.letters import DeadLetter
from schemas.problems import Problem
from schemas.work import (
    Granted,
    ReplyTo,
    Settled,
    Superseded,
    WorkAnswer,
    WorkFailure,
    WorkItem,
    item_id,
)
from tests.hirer import SINCE, Hirer, hiring, item
from tests.integration.waiting import until
from tests.virtual import VIRTUAL_TIME, Backend

TIMING = Timing(ack_wait_seconds=0.2, heartbeat_seconds=0.05, drain_seconds=4.0)


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
        self.denials: list[Problem] = []

    def of(self, item: WorkItem[Any]) -> "Asked":
        """Stand for whoever waits for an item."""
        assert item.reply_to.entity == "e"
        return self

    async def ask(self, envelope: CommandEnvelope, *, timeout: float) -> bytes:
        assert timeout > 0
        told = decode(dict[str, Any], envelope.body)
        self.kinds.append(told["type"])
        self.told.append(told)
        await anyio.sleep(self.seconds)
        is_question = told["type"] == "claim"
        if self.denials and is_question:
            raise ProblemError(self.denials.pop())
        if self.refusals and not is_question:
            raise ProblemError(self.refusals.pop())
        return encode(self.claims if is_question else Settled(accepted=True))


class Begun:
    """Notes which items are worked on."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def job(self) -> Job[Item]:
        return Job(queue="q", body_type=Item, handle=self.handle)

    async def handle(self, item: WorkItem[Item]) -> WorkFailure:
        self.names.append(item.body.name)
        return failed("tried")


def failed(message: str) -> WorkFailure:
    return WorkFailure(work="w", attempt=1, problem=Problem(code="internal", message=message))


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(TIMING) as world, world.process() as process:
        yield process


@asynccontextmanager
async def working(
    bus: MemoryProcess, job: Job[Item], asked: Asked, *, capacity: int = 2
) -> AsyncGenerator[tuple[Worker[Item], Hirer]]:
    """Run a worker, and who has items for it, which knows of its room."""
    worker = Worker(job, asked.of, "me", bus, TIMING, capacity=capacity)
    async with hiring(bus, TIMING) as hirer, anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await until(lambda: worker.ready and bool(hirer.registry._workers))
        yield worker, hirer
        tasks.cancel_scope.cancel()


async def worked(
    bus: MemoryProcess, claims: WorkAnswer, work: WorkItem[Any] | None = None
) -> tuple[Asked, Begun]:
    """Send one item and let a worker deal with it."""
    asked, begun = Asked(claims), Begun()
    async with working(bus, begun.job(), asked) as (worker, hirer):
        await hirer.send(work or item("item"))
        await until(lambda: bool(asked.kinds))
        await worker.drain()
    return asked, begun


async def test_an_item_is_begun_unasked_and_reported(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted())
    assert (begun.names, asked.kinds) == (["item"], ["failed"])


async def test_what_may_happen_once_alone_is_claimed_and_then_worked_on(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), item("item", once=True))
    assert (begun.names, asked.kinds) == (["item"], ["claim", "failed"])


async def test_a_claim_that_is_not_granted_is_not_worked_on(bus: MemoryProcess):
    denied = Superseded(reason="another worker has begun it")
    asked, begun = await worked(bus, denied, item("item", once=True))
    assert (begun.names, asked.kinds) == ([], ["claim"])


async def test_what_cannot_be_read_is_reported_as_failed_and_never_begun(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), item("item", body={"name": 7}))

    (told,) = asked.told
    assert begun.names == []
    assert (told["type"], told["work"], told["attempt"], told["sent"]) == ("failed", "w", 1, False)
    assert told["problem"]["retryable"] is True


@pytest.mark.parametrize(("once", "code"), [(True, "outcome_unknown"), (False, "internal")])
async def test_a_crash_is_reported_and_leaves_unknown_what_may_happen_once_alone(
    bus: MemoryProcess, once: bool, code: str
):
    asked = Asked(Granted())

    async def crash(item: WorkItem[Item]) -> WorkFailure:
        raise ZeroDivisionError(item.id)

    job = Job(queue="q", body_type=Item, handle=crash)
    async with working(bus, job, asked) as (_, hirer):
        await hirer.send(item("item", once=once))
        await until(lambda: "failed" in asked.kinds)

    assert asked.told[-1]["problem"]["code"] == code


AWAY = Problem(code="unavailable", message="no owner", retryable=True)


@pytest.mark.parametrize("once", [True, False])
async def test_a_result_is_reported_until_it_is_heard(bus: MemoryProcess, once: bool):
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [AWAY, AWAY]
    async with working(bus, begun.job(), asked) as (_, hirer):
        await hirer.send(item("item", once=once))
        await until(lambda: asked.kinds.count("failed") == 3)

    assert begun.names == ["item"]
    assert asked.kinds == ["claim"] * once + ["failed"] * 3


async def test_a_grant_that_comes_late_is_not_used_and_it_is_told_that_nothing_was_sent(
    bus: MemoryProcess,
):
    asked, begun = Asked(Granted(), seconds=TIMING.ack_wait_seconds), Begun()
    async with working(bus, begun.job(), asked) as (_, hirer):
        await hirer.send(item("item", once=True))
        await until(lambda: len(asked.kinds) > 1)

    assert (begun.names, asked.kinds) == ([], ["claim", "stopped"])
    assert asked.told[1]["sent"] is False


async def test_where_no_answer_to_a_claim_comes_it_is_told_that_nothing_was_sent(
    bus: MemoryProcess,
):
    asked, begun = Asked(Granted()), Begun()
    asked.denials = [AWAY]
    async with working(bus, begun.job(), asked) as (_, hirer):
        await hirer.send(item("item", once=True))
        await until(lambda: len(asked.kinds) > 1)

    assert (begun.names, asked.kinds, asked.told[1]["sent"]) == ([], ["claim", "stopped"], False)


async def test_results_that_nobody_hears_hold_no_place(bus: MemoryProcess):
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [AWAY] * 1000
    async with working(bus, begun.job(), asked, capacity=1) as (worker, hirer):
        for n in range(10):
            await hirer.send(item(f"i{n}"))
        await until(lambda: len(begun.names) == 10)
        assert worker.running == 0


async def test_above_a_bound_of_unheard_results_nothing_is_taken(
    bus: MemoryProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.work.worker.MOST_UNREPORTED_BYTES", 3 * LEAST_UNREPORTED_BYTES)
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [AWAY] * 60
    async with working(bus, begun.job(), asked, capacity=1) as (_, hirer):
        for n in range(10):
            await hirer.send(item(f"i{n}"))
        await until(lambda: len(begun.names) == 3)
        await anyio.sleep(2 * TIMING.heartbeat_seconds)
        assert len(begun.names) == 3
        asked.refusals.clear()
        await until(lambda: len(begun.names) == 10)


async def test_a_result_that_its_owner_refuses_for_good_is_laid_aside_as_the_command_it_is(
    bus: MemoryProcess,
):
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [Problem(code="validation", message="no such work")]
    async with working(bus, begun.job(), asked) as (_, hirer):
        await hirer.send(item("item"))
        await until(lambda: bool(list(bus.store.everything("DEAD"))))

    ((_, kept),) = bus.store.everything("DEAD")
    letter = decode(DeadLetter, kept.data)
    assert letter.subject == "_cb.cmd.e"
    assert decode(CommandEnvelope, letter.body.encode()).id == "item.result"


async def test_an_item_that_is_none_is_reported_to_whom_its_name_tells(bus: MemoryProcess):
    asked, begun = Asked(Granted()), Begun()
    async with working(bus, begun.job(), asked) as (worker, hirer):
        name = item_id(ReplyTo(entity="e", tenant="acme", key="k"), "w", 3)
        # A later version may have made of a field what this one cannot read.
        await hirer.send(msgspec.structs.replace(item(name), once="perhaps"))
        await until(lambda: bool(asked.kinds))
        await worker.drain()

    (told,) = asked.told
    assert (told["type"], told["work"], told["attempt"], told["sent"]) == ("failed", "w", 3, False)
    assert (begun.names, list(bus.store.everything("DEAD"))) == ([], [])


async def test_who_drains_takes_nothing_more_and_leaves_when_all_is_heard(bus: MemoryProcess):
    asked, held = Asked(Granted()), Held()
    asked.refusals = [AWAY]
    async with working(bus, held.job(), asked) as (worker, hirer):
        await hirer.send(item("first"))
        await until(lambda: held.begun == ["first"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.drain)
            await anyio.sleep(0.01)
            await hirer.send(item("second"))
            await until(lambda: hirer.refusals == ["second"])
            held.let_go()
        assert asked.kinds == ["failed", "failed"]
        await until(lambda: not hirer.registry._workers)
    assert (held.begun, hirer.losses) == (["first"], [])


async def test_what_nobody_hears_is_stored_before_a_worker_leaves(bus: MemoryProcess):
    bus.store.provide(inbox_spec("acme", TIMING))
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [AWAY] * 100_000
    async with working(bus, begun.job(), asked) as (worker, hirer):
        await hirer.send(item("item"))
        await until(lambda: bool(asked.kinds))
        with anyio.fail_after(TIMING.drain_seconds):
            await worker.drain()
        await until(lambda: not hirer.registry._workers)

    ((subject, kept),) = bus.store.everything(inbox_stream("acme"))
    result = decode(UnheardResult, kept.data)
    assert subject == "cb.acme.submit.work.report"
    assert (result.entity, result.envelope.id, result.envelope.key) == ("e", "item.result", "item")
    assert (hirer.losses, hirer.refusals) == ([], [])


async def test_a_worker_whose_results_cannot_be_stored_does_not_say_that_it_leaves(
    bus: MemoryProcess, monkeypatch: pytest.MonkeyPatch
):
    async def flush(*, timeout: float) -> None:
        raise DeadlineError("flush", timeout)

    monkeypatch.setattr(bus.outbox, "flush", flush)
    asked, begun = Asked(Granted()), Begun()
    asked.refusals = [AWAY] * 100_000
    async with working(bus, begun.job(), asked) as (worker, hirer):
        await hirer.send(item("item"))
        await until(lambda: bool(asked.kinds))
        await worker.drain()
        await anyio.sleep(TIMING.heartbeat_seconds)
        assert hirer.registry._workers


class Held:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = anyio.Event()

    def job(self) -> Job[Item]:
        return Job(queue="q", body_type=Item, handle=self.handle)

    async def handle(self, item: WorkItem[Item]) -> WorkFailure:
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
    async with working(bus, held.job(), Asked(Granted()), capacity=20) as (worker, hirer):
        for n in range(60):
            await hirer.send(item(f"a{n}", "a"))
        await until(lambda: worker.running == 20)
        for n in range(5):
            await hirer.send(item(f"b{n}", "b"))
        await until(lambda: "b0" in held.begun)
        await hirer.send(item("c0", "c"))
        await until(lambda: "c0" in held.begun)
        assert [name for name in held.begun if name[0] == "b"] == ["b0"]
        assert worker.running == 22


async def test_a_place_that_frees_goes_to_the_tenant_with_the_fewest_running(bus: MemoryProcess):
    held = Held()
    async with working(bus, held.job(), Asked(Granted()), capacity=4) as (worker, hirer):
        for n in range(40):
            await hirer.send(item(f"a{n}", "a"))
        await until(lambda: worker.running == 4)
        for n in range(9):
            await hirer.send(item(f"b{n}", "b"))
        await until(lambda: worker.running == 5)
        held.let_go()
        await until(lambda: len(held.begun) >= 9)
        running = [name[0] for name in held.begun[5:9]]
        assert running.count("b") == 2


async def test_what_waits_is_begun_oldest_first_whichever_came_first(bus: MemoryProcess):
    held = Held()
    async with working(bus, held.job(), Asked(Granted()), capacity=1) as (worker, hirer):
        await hirer.send(item("now"))
        await until(lambda: worker.running == 1)
        for n in (3, 1, 2):
            await hirer.send(item(f"i{n}", since=SINCE + timedelta(seconds=n)))
        for count in (2, 3, 4):
            held.let_go()
            await until(lambda count=count: len(held.begun) == count)
        assert held.begun == ["now", "i1", "i2", "i3"]


async def test_a_worker_takes_no_more_than_so_many_bytes(
    bus: MemoryProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.work.worker.MOST_HELD_BYTES", 3000)
    held = Held()
    async with working(bus, held.job(), Asked(Granted()), capacity=20) as (_, hirer):
        for n in range(10):
            await hirer.send(item(f"{n}" + "x" * 600, "a"))
        await until(lambda: len(held.begun) == 2)
        await anyio.sleep(0.3)
        assert len(held.begun) == 2
        held.let_go()
        await until(lambda: len(held.begun) == 4)


async def begun_one_by_one(hirer: Hirer, held: "Held", tenant: str, size: int) -> int:
    """Send items until one does not begin; say how many have begun."""
    for n in range(40):
        name = f"{tenant}{n}".ljust(size, "x")
        await hirer.send(item(name, tenant))
        with anyio.move_on_after(0.5):
            await until(lambda name=name: name in held.begun)
        if name not in held.begun:
            return n
    return 40


@pytest.mark.parametrize(
    ("capacity", "most_bytes", "size"),
    [(16, 10**6, 9), (160, 16 * len(encode(item("x" * 90, "a"))), 90)],
    ids=["places", "bytes"],
)
async def test_work_that_is_long_leaves_as_much_to_others_as_its_tenant_has(
    bus: MemoryProcess, monkeypatch: pytest.MonkeyPatch, capacity: int, most_bytes: int, size: int
):
    monkeypatch.setattr("bus.work.worker.MOST_HELD_BYTES", most_bytes)
    held = Held()
    job = replace(held.job(), is_long=True)
    async with working(bus, job, Asked(Granted()), capacity=capacity) as (_, hirer):
        assert await begun_one_by_one(hirer, held, "a", size) == 8
        assert await begun_one_by_one(hirer, held, "b", size) == 4
        assert await begun_one_by_one(hirer, held, "c", size) == 2


async def test_a_tenant_whose_work_hangs_stops_no_other(bus: MemoryProcess):
    hung, done = Held(), Begun()

    async def handle(work: WorkItem[Item]) -> WorkFailure:
        return await (hung if work.tenant == "hung" else done).handle(work)

    job = Job(queue="q", body_type=Item, handle=handle)
    async with working(bus, job, Asked(Granted()), capacity=4) as (_, hirer):
        for n in range(20):
            await hirer.send(item(f"h{n}", "hung"))
        for n in range(20):
            await hirer.send(item(f"o{n}", "other"))
        await until(lambda: len(done.names) == 20)
        assert len(hung.begun) == 4
