"""What a shard needs no more goes, by what the store says, however short its owners live."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import decode
from bus.config import Timing
from bus.memory import MemoryBus, MemoryProcess, memory_bus
from bus.requests.rpc import Owners, command
from bus.shard.blob_names import blobs_under, outdated, stored_snapshots
from bus.shard.owner import ShardOwner
from bus.shard.recovery import take_over
from schemas.journal import Commit
from tests.simulation.fleet import nobody
from tests.simulation.loop import VirtualLoop
from tests.unit.bus.shard_entity import ENTITY, Add

SUBJECT = "_cb.journal.counter.0"
DAY = 86_400.0
SLOW = msgspec.structs.replace(
    Timing(),
    housekeeping_seconds=DAY / 4,
    rest_seconds=DAY / 4,
    room_look_seconds=DAY,
    snapshot_commits=20,
)
"""As a fleet runs, but for what happens all the time: months of it are to be played."""

LARGE = msgspec.structs.replace(
    Timing(),
    blob_bytes=10,
    snapshot_commits=5,
    journal_retention_days=0.0,
    housekeeping_seconds=0.01,
    resend_window_seconds=0.02,
    record_delay_seconds=0.005,
)
"""Every entry is too large for the journal, and nothing is kept longer than it is needed."""


@asynccontextmanager
async def owning(world: MemoryBus, name: str, timing: Timing) -> AsyncGenerator[ShardOwner]:
    """Own the only shard of counters until the context is left, as one who is killed does."""
    async with world.process(name) as bus, anyio.create_task_group() as tasks:
        owner = ShardOwner(ENTITY, 0, name, nobody(name, bus), bus, timing)
        tasks.start_soon(owner.run)
        while not owner.serving:
            await anyio.sleep(0.01)
        yield owner
        tasks.cancel_scope.cancel()


async def add(bus: MemoryProcess, key: str, name: str) -> None:
    """Add one to a counter."""
    owners = Owners(bus.transport, "counter", 1, Timing())
    await owners.ask(command(name, "acme", key, Add(amount=1)), timeout=5)


async def commits(bus: MemoryProcess) -> list[Commit]:
    journal = bus.journal("counter")
    return [decode(Commit, stored.data) async for stored in journal.read(SUBJECT, start=1)]


async def _a_life_of_weeks(days: int, lives: int) -> tuple[int, int, float, int]:
    """Let owners live for so many days each; return first and last commit, ages, the sum."""
    async with memory_bus(SLOW) as world, world.process() as bus:
        for incarnation in range(lives):
            async with owning(world, f"owner-{incarnation}", SLOW):
                for day in range(days):
                    for place in range(5):
                        await add(bus, f"{incarnation}-{day}", str(place))
                    await anyio.sleep(DAY)
        kept = await commits(bus)
        age = (kept[-1].at - kept[0].at).total_seconds() / DAY
        states = bus.states("counter")
        last = await take_over(
            ENTITY, SUBJECT, "last", journal=bus.journal("counter"), blobs=bus.blobs, states=states
        )
        for resting in [each async for each in states.read_all(0)]:
            if (resting.tenant, resting.key) in last.book.sleepers:
                last.book.wake(resting)
        total = sum(slot.state.total for slot in last.book.slots.values())
        assert len([name for name in world.blobs.kept if ".snapshot." in name]) <= 2
        return kept[0].n, kept[-1].n, age, total


@pytest.mark.parametrize("days", [7, 29])
def test_journals_are_purged_though_no_owner_lives_as_long_as_the_retention(days: int):
    lives = 120 // days
    first, last, age, total = anyio.run(
        _a_life_of_weeks, days, lives, backend_options={"loop_factory": lambda: VirtualLoop(0)}
    )

    assert total == 5 * days * lives
    assert 1 < first < last
    assert 29 <= age < 45


def referred(kept: list[Commit]) -> set[str]:
    """Return all blobs that commits lead to."""
    entries = {entry.blob for commit in kept for entry in commit.entries if entry.blob}
    named = kept[-1].snapshot
    return entries | ({named.blob} if named else set())


async def _tidied(world: MemoryBus, bus: MemoryProcess, n: int) -> list[Commit]:
    """Return the commits once none below ``n`` is left, nor blobs but for the newest snapshot."""
    with anyio.fail_after(8):
        while True:
            kept = await commits(bus)
            if kept[0].n >= n and len(world.blobs.kept) <= len(referred(kept)) + 2:
                return kept
            await anyio.sleep(0.01)


async def test_blobs_go_with_the_commits_that_refer_to_them_whoever_has_stored_them():
    async with memory_bus(LARGE) as world, world.process() as bus:
        async with owning(world, "one", LARGE):
            for place in range(20):
                await add(bus, f"c{place}", "a")
        # Left behind by one who died before its commit, and in the middle of storing a snapshot.
        dead = [
            await bus.blobs.put(b"entry", under=blobs_under(SUBJECT, "entry", 7)),
            await bus.blobs.put(b"snapshot", under=blobs_under(SUBJECT, "snapshot", 7)),
        ]
        strange = await bus.blobs.put(b"entry", under="counter.1.entry.7")
        async with owning(world, "two", LARGE):
            for place in range(20, 40):
                await add(bus, f"c{place}", "a")
            kept = await _tidied(world, bus, 30)

        names = set(world.blobs.kept)
        assert referred(kept) <= names
        assert names.isdisjoint(dead)
        assert strange in names
        journal, blobs = bus.journal("counter"), bus.blobs
        states = bus.states("counter")
        last = await take_over(ENTITY, SUBJECT, "last", journal=journal, blobs=blobs, states=states)
        assert [slot.state.total for slot in last.book.slots.values()] == [1] * 40
        assert not last.book.corrupt


async def test_what_the_journal_still_refers_to_stays():
    timing = msgspec.structs.replace(LARGE, journal_retention_days=30.0)
    async with memory_bus(timing) as world, world.process() as bus:
        async with owning(world, "one", timing) as owner:
            for place in range(20):
                await add(bus, f"c{place}", "a")
            with anyio.fail_after(8):
                while owner.book.snapshot is None or owner.book.snapshot.n < 15:
                    await add(bus, "more", f"{anyio.current_time()}")
        kept = await commits(bus)
        assert kept[0].n == 1
        assert referred(kept) <= set(world.blobs.kept)


NAMES = st.tuples(st.sampled_from(["entry", "snapshot", "other"]), st.integers(0, 50))


@given(st.lists(NAMES), st.integers(1, 50), st.integers(0, 50))
def test_only_what_nothing_can_refer_to_is_outdated(
    blobs: list[tuple[str, int]], first: int, snapshot: int
):
    names = [f"execution.3.{kind}.{n}.hash" for kind, n in blobs]
    gone = outdated([*names, "hash"], first=first, snapshot=snapshot)

    expected = {"entry": first, "snapshot": snapshot, "other": 0}
    assert sorted(gone) == sorted(
        name for name, (kind, n) in zip(names, blobs, strict=True) if n < expected[kind]
    )


@given(st.lists(NAMES), st.integers(1, 50))
def test_a_journal_follows_to_a_snapshot_of_the_commit_before_it_or_later(
    blobs: list[tuple[str, int]], first: int
):
    names = [f"execution.3.{kind}.{n}.hash" for kind, n in blobs]
    found = [each.n for each in stored_snapshots(names, first=first)]

    assert found == sorted(n for kind, n in blobs if kind == "snapshot" and n >= first - 1)
