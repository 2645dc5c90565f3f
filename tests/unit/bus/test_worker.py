"""When a worker must ask before it begins an item."""

import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.memory import MemoryProcess, memory_bus
from bus.rpc import Owners
from bus.worker import Job, Worker
from schemas.journal import Mail
from schemas.lifecycle import (
    Claim,
    Deltas,
    FailGeneration,
    Granted,
    Settled,
    Superseded,
    WorkAnswer,
)
from schemas.problems import Problem
from tests.integration.waiting import until

TIMING = Timing(ack_wait_seconds=0.2, in_progress_seconds=0.05)


class Item(msgspec.Struct):
    name: str


class Asked:
    """Stands for the owners of all shards: notes what it is asked, and answers claims as told."""

    def __init__(self, claims: WorkAnswer, *, seconds: float = 0) -> None:
        self.claims = claims
        self.seconds = seconds
        self.kinds: list[str] = []

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        assert timeout > 0
        kind = decode(dict[str, Any], mail.body)["type"]
        self.kinds.append(kind)
        await anyio.sleep(self.seconds)
        return encode(self.claims if kind == "claim" else Settled(accepted=True))


class Begun:
    """Notes which items are worked on."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def job(self) -> Job[Item]:
        return Job(
            queue="q",
            item_type=Item,
            name=lambda item: item.name,
            address=lambda item: ("acme", item.name),
            claim=lambda _, lost: Claim(step=1, attempt=1, lost=lost),
            handle=self.handle,
            stopped=lambda _: failed("stopped"),
            crashed=lambda _, reason: failed(reason),
        )

    async def handle(self, item: Item) -> FailGeneration:
        self.names.append(item.name)
        return failed("tried")


def failed(message: str) -> FailGeneration:
    return FailGeneration(
        step=1,
        attempt=1,
        problem=Problem(code="internal", message=message),
        deltas=Deltas(count=0, sha256=""),
        started_at=datetime(2026, 11, 21, tzinfo=UTC),
    )


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(TIMING) as world, world.process() as process:
        yield process


async def worked(bus: MemoryProcess, claims: WorkAnswer, life: str | None) -> tuple[Asked, Begun]:
    """Send one item and let a worker deal with it."""
    asked, begun = Asked(claims), Begun()
    worker = Worker(begun.job(), cast("Owners", asked), "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await bus.queue.send("q", "acme", encode(Item("item")), item="item", life=life)
        await until(lambda: bool(asked.kinds))
        await worker.drain()
        tasks.cancel_scope.cancel()
    return asked, begun


async def test_a_fresh_item_is_begun_unasked_and_reported(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), life=None)
    assert (begun.names, asked.kinds) == (["item"], ["fail_generation"])


async def test_an_item_sent_again_in_the_same_life_of_the_queue_is_begun_unasked(
    bus: MemoryProcess,
):
    asked, begun = await worked(bus, Granted(), life=await bus.queue.generation())
    assert (begun.names, asked.kinds) == (["item"], ["fail_generation"])


async def test_an_item_of_an_earlier_life_of_the_queue_is_claimed_first(bus: MemoryProcess):
    asked, begun = await worked(bus, Superseded(reason="a twin runs"), life="an earlier life")
    assert (begun.names, asked.kinds) == ([], ["claim"])


async def test_a_claim_that_is_granted_is_worked_on(bus: MemoryProcess):
    asked, begun = await worked(bus, Granted(), life="an earlier life")
    assert (begun.names, asked.kinds) == (["item"], ["claim", "fail_generation"])


async def test_an_item_that_came_while_the_worker_stood_still_is_claimed_first(
    bus: MemoryProcess,
):
    asked, begun = Asked(Superseded(reason="another worker has it")), Begun()
    worker = Worker(begun.job(), cast("Owners", asked), "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await until(lambda: worker.ready)
        await bus.queue.send("q", "acme", encode(Item("item")), item="item")
        time.sleep(TIMING.ack_wait_seconds)  # noqa: ASYNC251  the whole process stands still
        await until(lambda: bool(asked.kinds))
        tasks.cancel_scope.cancel()

    assert (begun.names, asked.kinds) == ([], ["claim"])


async def test_a_grant_that_comes_late_is_not_used_and_the_item_is_given_back(bus: MemoryProcess):
    asked, begun = Asked(Granted(), seconds=TIMING.ack_wait_seconds), Begun()
    worker = Worker(begun.job(), cast("Owners", asked), "me", bus, TIMING, capacity=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await bus.queue.send("q", "acme", encode(Item("item")), item="item", life="an earlier life")
        await until(lambda: len(asked.kinds) > 1)
        tasks.cancel_scope.cancel()

    assert (begun.names, asked.kinds) == ([], ["claim", "claim"])
