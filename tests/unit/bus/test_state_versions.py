"""States stored by older versions of an entity are read, those of newer ones never."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import (
    CorruptJournalError,
    ProblemError,
    StateVersionError,
    UnavailableError,
)
from bus.membership import Membership
from bus.memory import MemoryBus, memory_bus
from bus.memory.bus import MemoryProcess
from bus.ports import Journal, StoredMessage
from bus.shard import ShardHost
from bus.shard.entity import Codec
from bus.shard.recovery import take_over
from bus.subjects import journal_subject
from schemas.entity import Entity
from schemas.fleet import Alive
from schemas.journal import Commit, Entry, SlotImage, Snapshot, SnapshotRef
from tests.unit.bus.shard_entity import ENTITY, Added, Counter
from tests.virtual import VIRTUAL_TIME, Backend

SUBJECT = journal_subject("counter", 0)
AT = datetime(2026, 1, 2, tzinfo=UTC)
SECONDS = 8.0
QUICK = Timing(
    heartbeat_seconds=0.02,
    member_gone_seconds=0.15,
    join_seconds=0.06,
    reconcile_seconds=0.03,
    corrupt_retry_seconds=5.0,
)


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


def _from_sum(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called the total ``sum``."""
    return {"count": old["sum"]}


def _from_count(old: dict[str, Any]) -> dict[str, Any]:
    """Version 2 called it ``count``."""
    return {"total": old["count"]}


THIRD = replace(ENTITY, version=3, upgrades={1: _from_sum, 2: _from_count})
WITHOUT_UPGRADE = replace(ENTITY, version=2)


def raw(plain: object) -> msgspec.Raw:
    return msgspec.Raw(encode(plain))


def added(n: int, amount: int, **more: Any) -> Commit:
    events, place = [raw(Added(amount=amount))], {"n": n, "after": n - 1}
    entry = Entry(tenant="acme", key="c", command=str(n), events=events, **place, **more)
    return Commit(n=n, epoch=1, turn=f"t.{n}", at=AT, entries=[entry])


async def stored(bus: MemoryProcess, *commits: Commit) -> None:
    journal = bus.journal("counter")
    for commit in commits:
        last = await journal.last(SUBJECT)
        await journal.append(SUBJECT, encode(commit), expected=last.sequence if last else 0)


async def snapshot(bus: MemoryProcess, state: dict[str, Any], version: int) -> SnapshotRef:
    """Store a snapshot after commit 2."""
    slots = [SlotImage(tenant="acme", key="c", state=raw(state), n=2, last=2)]
    image = Snapshot(entity="counter", version=version, n=2, at=AT, slots=slots)
    return SnapshotRef(blob=await bus.blobs.put(encode(image)), n=2, sequence=2)


async def state_of(bus: MemoryProcess, entity: Entity[Any, Any, Any]) -> Counter:
    recovered = await take_over(
        entity,
        SUBJECT,
        "test",
        journal=bus.journal("counter"),
        blobs=bus.blobs,
        states=bus.states("counter"),
    )
    return recovered.book.slots["acme", "c"].state


@asynccontextmanager
async def opened() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(QUICK) as world, world.process() as bus:
        yield bus


def pointing(commit: Commit, ref: SnapshotRef, version: int = 1) -> Commit:
    return msgspec.structs.replace(commit, snapshot=ref, version=version)


async def test_an_older_snapshot_is_upgraded_step_by_step():
    async with opened() as bus:
        ref = await snapshot(bus, {"sum": 40}, version=1)
        await stored(bus, added(1, 1), added(2, 1), pointing(added(3, 2), ref))

        assert await state_of(bus, THIRD) == Counter(total=42)


async def test_a_state_within_an_older_commit_is_upgraded():
    async with opened() as bus:
        base = msgspec.structs.replace(added(1, 2, base=raw({"count": 5})), version=2)
        await stored(bus, base)

        assert await state_of(bus, THIRD) == Counter(total=7)


async def test_without_an_upgrade_the_state_is_rebuilt_from_all_events():
    async with opened() as bus:
        ref = await snapshot(bus, {"sum": 999}, version=1)
        await stored(bus, added(1, 1), added(2, 1), pointing(added(3, 2), ref))

        assert await state_of(bus, WITHOUT_UPGRADE) == Counter(total=4)


async def test_without_an_upgrade_and_without_all_events_a_shard_is_refused_by_name():
    async with opened() as bus:
        ref = await snapshot(bus, {"sum": 999}, version=1)
        await stored(bus, added(1, 1), added(2, 1), pointing(added(3, 2), ref))
        await bus.journal("counter").purge(SUBJECT, below=ref.sequence)

        with pytest.raises(CorruptJournalError, match="no upgrade to version 2"):
            await state_of(bus, WITHOUT_UPGRADE)


async def test_what_a_newer_version_has_written_is_left_as_it_is():
    async with opened() as bus:
        await stored(bus, msgspec.structs.replace(added(1, 2), version=2))

        with pytest.raises(StateVersionError, match="start a newer one") as refused:
            await state_of(bus, ENTITY)
        last = await bus.journal("counter").last(SUBJECT)

    assert (refused.value.found, refused.value.known) == (2, 1)
    assert last is not None
    assert last.sequence == 1


async def test_an_owner_notes_its_version_in_every_commit():
    async with opened() as bus:
        await stored(bus, added(1, 2))
        await state_of(bus, replace(ENTITY, version=2, upgrades={1: _from_sum}))
        last = await bus.journal("counter").last(SUBJECT)

    assert last is not None
    assert decode(Commit, last.data).version == 2


@pytest.mark.parametrize("version", [1, 5])
def test_a_state_from_which_no_way_leads_here_is_refused(version: int):
    with pytest.raises(ProblemError, match="has no upgrade"):
        Codec(replace(ENTITY, version=4, upgrades={2: _from_count})).state(b"{}", version)


@asynccontextmanager
async def hosting(
    world: MemoryBus, name: str, entity: Entity[Any, Any, Any], *, ahead: float = 0.0
) -> AsyncGenerator[ShardHost]:
    """Own shards in a process whose clock is ``ahead`` by so many seconds."""
    alive = Alive(process=name, actor="test", entities=["counter"])
    async with world.process(name) as right, anyio.create_task_group() as tasks:
        bus = replace(right, clock=lambda: right.clock() + timedelta(seconds=ahead))
        membership = Membership(bus.transport, lambda: alive, QUICK)
        host = ShardHost(entity, 1, name, membership, bus, QUICK)
        tasks.start_soon(membership.run)
        tasks.start_soon(host.run)
        yield host
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_a_process_that_is_too_old_leaves_a_shard_to_one_that_is_not(names: tuple[str, str]):
    old, new = names
    async with memory_bus(QUICK) as world:
        async with world.process() as bus:
            await stored(bus, msgspec.structs.replace(added(1, 2), version=2))
        async with (
            hosting(world, old, ENTITY) as behind,
            hosting(world, new, WITHOUT_UPGRADE) as ahead,
        ):
            with anyio.fail_after(SECONDS):
                while ahead.owned != [0]:
                    await anyio.sleep(0.01)
                while not (behind.settled and ahead.settled):
                    await anyio.sleep(0.01)
            assert behind.owned == []


@pytest.mark.parametrize("ahead", [86_400.0, -86_400.0])
async def test_a_process_whose_clock_is_a_day_off_owns_nothing_and_says_why(ahead: float):
    async with (
        memory_bus(QUICK) as world,
        hosting(world, "wrong", ENTITY, ahead=ahead) as wrong,
    ):
        with anyio.fail_after(SECONDS):
            while "86400 s" not in (wrong.not_ready_reason() or ""):
                await anyio.sleep(0.01)
        async with hosting(world, "right", ENTITY) as right:
            with anyio.fail_after(SECONDS):
                while right.owned != [0]:
                    await anyio.sleep(0.01)
        assert wrong.owned == []


async def test_a_process_that_can_read_nothing_stops_at_once_when_it_is_told_to():
    async with memory_bus(QUICK) as world:
        async with world.process() as bus:
            await stored(bus, msgspec.structs.replace(added(1, 2), version=2))
        async with hosting(world, "old", ENTITY) as host:
            with anyio.fail_after(SECONDS):
                while not (host.settled and host.refusing):
                    await anyio.sleep(0.01)
            with anyio.fail_after(QUICK.corrupt_retry_seconds / 2):
                await host.drain()
            assert host.owned == []


async def test_a_journal_that_is_not_shown_to_its_end_is_looked_at_again_soon():
    async with opened() as bus:
        await stored(bus, added(1, 2))

        with pytest.raises(UnavailableError, match="shown up to commit 1, not 2"):
            await take_over(
                ENTITY,
                SUBJECT,
                "test",
                journal=_Behind(bus.journal("counter")),
                blobs=bus.blobs,
                states=bus.states("counter"),
            )


class _Behind:
    """A journal whose reader does not see the newest message, as one who was cut off."""

    def __init__(self, journal: Journal) -> None:
        self.append, self.last, self.purge = journal.append, journal.last, journal.purge
        self.first, self.fill = journal.first, journal.fill
        self._journal = journal

    async def read(self, subject: str, *, start: int) -> AsyncGenerator[StoredMessage]:
        newest = await self.last(subject)
        async for message in self._journal.read(subject, start=start):
            if message != newest:
                yield message
