"""Entities that never end: they begin with a state and keep no replies."""

from dataclasses import replace
from datetime import UTC, datetime

import anyio
import msgspec

from bus.codec import encode
from bus.config import Timing
from bus.membership import Membership
from bus.memory import memory_bus
from bus.shard import ShardHost
from bus.shard.book import ShardBook
from bus.shard.purging import Purge
from bus.shard.turn import take_turn
from bus.streams.spec import RECORDS
from schemas.fleet import Alive
from schemas.journal import Commit, SnapshotRef
from tests.unit.bus.shard_entity import ENTITY, Add, Counter, pending

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADDRESS = ("acme", "c")
ENDLESS = replace(ENTITY, keeps_replies=False, initial=lambda _tenant, _key: Counter(total=100))


def test_the_first_command_finds_the_initial_state():
    book = ShardBook(ENDLESS)
    take_turn(book, [pending("1", "c", Add(amount=2))], NOW)

    assert book.slots[ADDRESS].state == Counter(total=102)


def test_a_repeat_is_decided_again_and_nothing_of_replies_is_kept_or_stored():
    book = ShardBook(ENDLESS)
    for _ in range(3):
        outcome = take_turn(book, [pending("1", "c", Add(amount=2))], NOW)

        assert [bytes(entry.reply) for entry in outcome.entries] == [b"null"]
        assert len(outcome.replies) == 1
    assert book.slots[ADDRESS].replies == {}
    assert book.slots[ADDRESS].state == Counter(total=106)


async def test_of_an_entity_without_a_record_nothing_is_stored_and_its_commits_settle():
    timing = msgspec.structs.replace(
        Timing(),
        heartbeat_seconds=0.02,
        join_seconds=0.06,
        reconcile_seconds=0.03,
        housekeeping_seconds=0.05,
        record_delay_seconds=0.01,
    )
    entity = replace(ENDLESS, record=None, record_subject=None)
    alive = Alive(process="one", actor="test", entities=[entity.name])
    async with (
        memory_bus(timing) as world,
        world.process("one") as bus,
        anyio.create_task_group() as tasks,
    ):
        membership = Membership(bus.transport, lambda: alive, timing)
        host = ShardHost(entity, 1, "one", membership, bus, timing)
        tasks.start_soon(membership.run)
        tasks.start_soon(host.run)
        with anyio.fail_after(8):
            while host.owned != [0]:
                await anyio.sleep(0.01)
            (owner,) = host._running.values()
            assert host.offer(0, pending("1", "c", Add(amount=2)).envelope, lambda _: None)
            while owner.book.settled < 2:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()

        assert owner.book.slots[ADDRESS].state == Counter(total=102)
        assert list(world.store.everything(RECORDS)) == []


async def test_old_commits_below_a_snapshot_are_purged():
    subject = "_cb.journal.counter.0"
    async with memory_bus(Timing()) as world, world.process() as bus:
        journal = bus.journal("counter")
        for n in range(5):
            await journal.append(subject, encode(Commit(n=n, epoch=1, turn="", at=NOW)), expected=n)
        purge = Purge(subject, journal, bus.blobs, bus.states("counter"), Timing())
        await purge.tidy(SnapshotRef(blob="", n=4, sequence=4), pressed=True)
        assert len([stored async for stored in journal.read(subject, start=1)]) == 2
