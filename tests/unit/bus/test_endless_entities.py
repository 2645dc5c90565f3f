"""Entities that never end: they begin with a state, keep no replies, and lose no journal."""

from dataclasses import replace
from datetime import UTC, datetime

from bus.codec import encode
from bus.config import Timing
from bus.memory import memory_bus
from bus.shard.book import Book
from bus.shard.purging import Purge
from bus.shard.turn import take_turn
from schemas.journal import Commit, SnapshotRef
from tests.unit.bus.shard_entity import ENTITY, Add, Counter, letter

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADDRESS = ("acme", "c")
ENDLESS = replace(ENTITY, keeps_replies=False, initial=lambda _tenant, _key: Counter(total=100))


def test_the_first_command_finds_the_initial_state():
    book = Book(ENDLESS)
    take_turn(book, [letter("1", "c", Add(amount=2))], NOW)

    assert book.slots[ADDRESS].state == Counter(total=102)


def test_a_repeat_is_decided_again_and_nothing_of_replies_is_kept_or_stored():
    book = Book(ENDLESS)
    for _ in range(3):
        outcome = take_turn(book, [letter("1", "c", Add(amount=2))], NOW)

        assert [bytes(entry.reply) for entry in outcome.entries] == [b"null"]
        assert len(outcome.replies) == 1
    assert book.slots[ADDRESS].replies == {}
    assert book.slots[ADDRESS].state == Counter(total=106)


async def left_by(*, keeps: bool) -> int:
    """Purge a journal of five commits below a snapshot of the fourth; return what is left."""
    subject = "_cb.journal.counter.0"
    async with memory_bus(Timing()) as world, world.process() as bus:
        journal = bus.journal("counter")
        for n in range(5):
            await journal.append(subject, encode(Commit(n=n, epoch=1, turn="", at=NOW)), expected=n)
        purge = Purge(subject, journal, bus.blobs, Timing(), keeps=keeps)
        await purge.tidy(SnapshotRef(blob="", n=4, sequence=4), pressed=True)
        return len([stored async for stored in journal.read(subject, start=1)])


async def test_old_commits_below_a_snapshot_are_purged():
    assert await left_by(keeps=False) == 2


async def test_a_journal_that_is_kept_is_never_purged():
    assert await left_by(keeps=True) == 5
