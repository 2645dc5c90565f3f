"""Entities that never end: they begin with a state, keep no replies, and lose no journal."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import anyio
import msgspec
import pytest

from bus.config import Timing
from bus.memory import memory_bus
from bus.ports import Stored
from bus.shard.book import Book
from bus.shard.snapshots import Snapshots
from bus.shard.turn import take_turn
from tests.unit.bus.shard_entity import ENTITY, Add, Counter, letter
from tests.virtual import VIRTUAL_TIME, Backend

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADDRESS = ("acme", "c")
ENDLESS = replace(ENTITY, keeps_replies=False, initial=lambda _tenant, _key: Counter(total=100))


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class Journal:
    """A journal that only notes what is purged."""

    def __init__(self) -> None:
        self.purged: list[int] = []

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        raise AssertionError(subject, data, expected)

    async def last(self, subject: str) -> Stored | None:
        raise AssertionError(subject)

    def read(self, subject: str, *, start: int) -> AsyncIterator[Stored]:
        raise AssertionError(subject, start)

    async def purge(self, subject: str, *, below: int) -> None:
        del subject
        self.purged.append(below)


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


async def purged_by(*, purges: bool) -> list[int]:
    """Take snapshots many weeks apart, and return what was purged."""
    timing = msgspec.structs.replace(Timing(), snapshot_commits=1)
    journal, book = Journal(), Book(ENTITY)
    async with memory_bus(timing=timing) as world, world.process() as bus:
        taken = Snapshots("_cb.journal.counter.0", journal, bus.blobs, timing, purges=purges)
        for n in range(1, 5):
            book.n, book.at = n, NOW + timedelta(days=40 * n)
            async with anyio.create_task_group() as tasks:
                taken.take_if_due(book, n, book.at, tasks)
    return journal.purged


async def test_old_commits_below_a_snapshot_are_purged():
    assert await purged_by(purges=True) == [1, 2, 3]


async def test_a_journal_that_is_kept_is_never_purged():
    assert await purged_by(purges=False) == []
