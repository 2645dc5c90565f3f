"""Bodies go with their entities: at the end, or when nobody ever committed what names them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from bus.bodies import Bodies, holder_of
from bus.codec import encode
from bus.config import Timing
from bus.memory import MemoryProcess, memory_bus
from bus.shard.bodies import Leftovers
from bus.shard.book import ShardBook
from bus.shard.turn import take_turn
from bus.subjects import journal_subject
from schemas.bodies import BodyReference
from schemas.journal import Commit, Entry, Sleeper
from tests.unit.bus.shard_entity import ENTITY, Add, Counter, pending
from tests.virtual import VIRTUAL_TIME, Backend

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SUBJECT = journal_subject("counter", 0)
TIMING = Timing(housekeeping_seconds=1.0, body_sweep_seconds=5.0, body_orphan_seconds=60.0)
KEY = "one"


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class Shard:
    """One shard whose only entity refers to the bodies of ``held``; below 0 it has ended."""

    def __init__(self, bus: MemoryProcess) -> None:
        self.bus = bus
        self.held: list[BodyReference] = []
        self.bodies = Bodies(bus.blobs)
        entity = replace(ENTITY, bodies=lambda _: self.held, ended=_has_ended)
        self.book = ShardBook(entity)
        self.journal = bus.journal("counter")
        self.left = Leftovers(self.book, 0, SUBJECT, self.journal, bus, TIMING)

    async def put(self, data: bytes, key: str = KEY) -> BodyReference:
        return await self.bodies.put(data, holder_of("counter", 1, "acme", key))

    async def turn(self, amount: int, *, settled: int = 0) -> None:
        """Commit a command to the entity, as its owner does."""
        book = self.book
        outcome = take_turn(book, [pending(str(book.n), KEY, Add(amount=amount))], NOW)
        await self.commit(settled, outcome.entries)
        self.left.touched(book.n, outcome.touched)

    async def commit(self, settled: int, entries: Sequence[Entry] = ()) -> None:
        """Append a commit that says up to which one all is stored."""
        book = self.book
        n = book.n + 1
        commit = Commit(n=n, epoch=1, turn=str(n), at=NOW, settled=settled, entries=list(entries))
        last = await self.journal.last(SUBJECT)
        expected = last.sequence if last else 0
        await self.journal.append(SUBJECT, encode(commit), expected=expected)
        book.mark(commit)

    async def names(self) -> list[str]:
        return await self.bus.blobs.names("body.counter.0")


def _has_ended(state: Counter) -> bool:
    return state.total < 0


@asynccontextmanager
async def running() -> AsyncGenerator[Shard]:
    async with memory_bus() as world, world.process() as bus, anyio.create_task_group() as tasks:
        shard = Shard(bus)
        tasks.start_soon(shard.left.run)
        yield shard
        tasks.cancel_scope.cancel()


async def test_a_body_stays_until_all_that_the_end_led_to_is_stored():
    async with running() as shard:
        shard.held = [await shard.put(b"prompt")]
        await shard.turn(1)
        await anyio.sleep(3)
        assert await shard.names() == [shard.held[0].name]

        await shard.turn(-2)
        await anyio.sleep(3)
        assert await shard.names() == [shard.held[0].name]

        await shard.commit(settled=2)
        await anyio.sleep(3)
        assert await shard.names() == []


async def test_a_body_that_nobody_committed_goes_when_it_is_old():
    async with running() as shard:
        await shard.put(b"prompt", "never")
        await shard.commit(settled=0)
        await anyio.sleep(50)
        await shard.commit(settled=0)
        await anyio.sleep(6)
        assert len(await shard.names()) == 1

        await anyio.sleep(20)
        await shard.commit(settled=0)
        await anyio.sleep(6)
        assert await shard.names() == []


async def test_a_body_that_is_stored_anew_is_young_again():
    async with running() as shard:
        await shard.put(b"prompt", "never")
        await anyio.sleep(70)
        await shard.put(b"prompt", "never")
        await shard.commit(settled=0)
        await anyio.sleep(6)
        assert len(await shard.names()) == 1


async def test_what_is_open_or_asleep_keeps_its_bodies_and_no_others():
    async with running() as shard:
        shard.held = [await shard.put(b"prompt")]
        other = await shard.put(b"of a request that was refused")
        await shard.put(b"prompt", "asleep")
        shard.book.sleepers["acme", "asleep"] = Sleeper(tenant="acme", key="asleep", n=1)
        await shard.turn(1)
        await anyio.sleep(100)
        await shard.turn(1)
        await anyio.sleep(6)

        names = await shard.names()

    assert shard.held[0].name in names
    assert other.name not in names
    assert len(names) == 2


async def test_a_body_that_an_owner_left_behind_that_died_is_found():
    async with running() as shard:
        shard.held = [await shard.put(b"prompt")]
        await shard.turn(-1)
        shard.left._ended.clear()
        await anyio.sleep(100)
        await shard.commit(settled=0)
        await anyio.sleep(6)
        assert len(await shard.names()) == 1

        await shard.commit(settled=1)
        await anyio.sleep(6)
        assert await shard.names() == []


async def test_where_nothing_has_ended_nobody_looks_but_to_sweep(monkeypatch: pytest.MonkeyPatch):
    timers, loop = 0, asyncio.get_running_loop()
    begin = loop.call_later

    def counted(delay: float, *rest: Any, **options: Any) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return begin(delay, *rest, **options)

    async with running():
        await anyio.sleep(1)
        monkeypatch.setattr(loop, "call_later", counted)
        await anyio.sleep(20 * TIMING.body_sweep_seconds)

    # A wait for the next sweep, and the pause behind it; there were five looks before.
    assert timers <= 2 * 20 + 2
