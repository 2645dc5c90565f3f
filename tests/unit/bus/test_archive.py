"""The archive of a journal: the same history, whoever dies while it is made, and nothing twice."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.archive import archive_of
from bus.archive.packing import PART_BYTES, packed, unpacked
from bus.codec import encode
from bus.config import Timing
from bus.errors import CorruptJournalError, UnavailableError
from bus.memory import memory_bus
from bus.ports import FeedEnd, Filed, Journal, StoredMessage
from bus.shard.kept import KeptJournal
from bus.streams.spec import ARCHIVE
from bus.subjects import journal_subject
from schemas.archive import ArchivedEntry
from schemas.journal import Commit, Entry
from tests.archives import BEGAN, LATER, SMALL, Turn, archived, archiver, read, write
from tests.projections import ENTITY

SUBJECT = journal_subject(ENTITY, 0)
MONTHS = [
    Turn(day=day, amounts=[("acme", n), ("bolt", n + 1)])
    for n, day in enumerate([0, 1, 30.9, 31.1, 40, 40, 58, 60, 90], 1)
]

turns = st.builds(
    Turn,
    amounts=st.lists(st.tuples(st.sampled_from(["acme", "bolt", "cyd"]), st.integers(1, 9))),
    is_damaged=st.sampled_from([False, False, False, True]),
    in_blob=st.booleans(),
)


def entry(n: int, raw: bytes) -> ArchivedEntry:
    events = [msgspec.Raw(encode(raw.hex()))]
    whole = Entry(tenant="acme", key="k", command="c", events=events)
    return ArchivedEntry(n=n, sequence=n, epoch=1, at=BEGAN, entry=whole)


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_what_is_packed_is_unpacked(data: list[bytes]):
    entries = [entry(n, each) for n, each in enumerate(data)]
    parts, checksum = packed(entries)

    assert encode(unpacked(parts, checksum)) == encode(entries)
    assert packed(entries) == (parts, checksum)


def test_no_part_is_too_large_for_a_message_and_none_is_taken_for_another():
    parts, checksum = packed([entry(n, os.urandom(200_000)) for n in range(4)])

    assert len(parts) == -(-4 * 400_000 // PART_BYTES)
    assert max(map(len, parts)) <= 512 * 1024
    for wrong in (parts[1:], [*parts[:-1], parts[0]], [*parts[:-1], b"x"]):
        with pytest.raises(ValueError, match="part"):
            unpacked(wrong, checksum)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), turns), min_size=1, max_size=15),
    st.integers(200, 5000),
)
async def test_the_history_is_the_same_before_and_after_all_is_archived_and_purged(
    drawn: list[tuple[int, Turn]], batch_bytes: int
):
    day, written = 0, list[Turn]()
    for pause, turn in drawn:
        day += pause
        written.append(replace(turn, day=day))
    async with memory_bus() as world, world.process() as bus:
        sequence = await write(bus, written)
        before = await read(bus)
        await archiver(bus, timing=Timing(archive_batch_bytes=batch_bytes)).round()
        for blob in list(world.blobs.kept):
            await world.blobs.remove(blob)
        found = await archived(bus)
        # Where nothing can be read, nobody knows of which month it is.
        assert found or all(turn.is_damaged for turn in written)
        assert not found or found[-1].sequence == sequence or written[0].is_damaged
        below = found[-1].sequence + 1 if found else 0
        await bus.journal(ENTITY).purge(SUBJECT, below=below)

        assert await read(bus) == before
        assert [len(entries) for _, entries in before] == [
            0 if turn.is_damaged else len(turn.amounts) for turn in written
        ]


async def test_batches_follow_each_other_and_lie_within_a_month():
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        await archiver(bus, timing=Timing()).round()
        found = await archived(bus)

    assert [(one.period, one.first, one.through) for one in found] == [
        ("2026-01", 1, 3),
        ("2026-02", 4, 7),
        ("2026-03", 8, 8),
        ("2026-04", 9, 9),
    ]
    assert [one.entries for one in found] == [6, 8, 2, 2]
    assert [[each.tenant for each in one.tenants] for one in found] == [["acme", "bolt"]] * 4
    assert all(later.first == one.through + 1 for one, later in pairwise(found))


@pytest.mark.parametrize(
    ("days", "months"),
    [(33.9, []), (34.1, ["2026-01"]), (61.9, ["2026-01"]), (62.1, ["2026-01", "2026-02"])],
)
async def test_a_month_is_archived_when_it_and_its_grace_are_over(days: float, months: list[str]):
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        at_work = archiver(bus, BEGAN + timedelta(days=days), Timing())
        await at_work.round()
        await at_work.round()

        assert [one.period for one in await archived(bus)] == months


@pytest.mark.parametrize(("share", "is_archived"), [(0.4, False), (0.6, True)])
async def test_a_journal_that_fills_is_archived_before_its_months_are_over(
    share: float, is_archived: bool
):
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        size = (await bus.journal(ENTITY).fill()).used
    small = msgspec.structs.replace(SMALL, journal_max_bytes=round(size / share))
    async with memory_bus(small) as world, world.process() as bus:
        last = await write(bus, MONTHS)
        assert await archiver(bus, BEGAN, small).round() is is_archived
        assert [one.sequence for one in await archived(bus)][-1:] == [last] * is_archived


async def test_where_nothing_is_new_nothing_is_archived_however_little_is_worth_it():
    eager = msgspec.structs.replace(SMALL, archive_above=0.0, archive_least=0.0)
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        for _ in range(3):
            await archiver(bus, BEGAN, eager).round()
        found = await archived(bus)

    assert [one.first for one in found] == [1, *(one.through + 1 for one in found[:-1])]
    assert found[-1].through == len(MONTHS)


class Dying:
    """An archive that lets its writer down at an append: before it is stored, or after."""

    def __init__(self, journal: Journal, at: int, *, stored: bool) -> None:
        self._journal = journal
        self._left = at
        self._stored = stored
        self.last = journal.last
        self.read = journal.read
        self.purge = journal.purge

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        self._left -= 1
        if self._left == 0 and not self._stored:
            raise UnavailableError(subject, "killed before")
        sequence = await self._journal.append(subject, data, expected=expected)
        if self._left == 0:
            raise UnavailableError(subject, "killed after")
        return sequence


@pytest.mark.parametrize("stored", [False, True])
async def test_killed_at_any_append_it_is_completed_and_nothing_is_there_twice(stored: bool):
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        await archiver(bus).round()
        wanted, everything = await archived(bus), list(bus.store.everything(ARCHIVE))
        appends = len(everything)
    for at in range(1, appends + 1):
        async with memory_bus() as world, world.process() as bus:
            await write(bus, MONTHS)
            await archiver(replace(bus, archive=Dying(bus.archive, at, stored=stored))).round()
            assert len(list(bus.store.everything(ARCHIVE))) == at - (not stored)
            await archiver(bus).round()

            assert await archived(bus) == wanted
            found = [(subject, one.data) for subject, one in bus.store.everything(ARCHIVE)]
            assert sorted(found) == sorted((subject, one.data) for subject, one in everything)


async def test_of_two_that_archive_at_once_one_is_refused():
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        before = await read(bus)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(archiver(bus).round)
        found = await archived(bus)

        assert [one.first for one in found] == sorted({one.first for one in found})
        await archiver(bus).round()
        found = await archived(bus)
        assert all(later.first == one.through + 1 for one, later in pairwise(found))
        await bus.journal(ENTITY).purge(SUBJECT, below=found[-1].sequence + 1)
        assert await read(bus) == before


async def test_nothing_is_purged_that_is_not_archived():
    async with memory_bus() as world, world.process() as bus:
        last = await write(bus, MONTHS)
        kept = KeptJournal(bus.journal(ENTITY), bus.archive, bus.feed(ENTITY))
        await kept.purge(SUBJECT, below=last)
        assert [one.sequence async for one in kept.read(SUBJECT, start=1)] == list(range(1, 10))

        await archiver(bus, BEGAN + timedelta(days=40), Timing()).round()
        await kept.purge(SUBJECT, below=2)
        assert [one.sequence async for one in kept.read(SUBJECT, start=1)] == list(range(2, 10))
        await kept.purge(SUBJECT, below=last)
        assert [one.sequence async for one in kept.read(SUBJECT, start=1)] == list(range(4, 10))


class Anew:
    """A feed of a journal that was made anew: nothing of it is archived, whatever its name."""

    async def end(self) -> FeedEnd:
        return FeedEnd(1, 9, "another life")

    async def page(self, *, start: int) -> list[Filed]:
        raise AssertionError(start)


async def test_a_journal_that_was_made_anew_is_not_taken_for_the_archived_one():
    async with memory_bus() as world, world.process() as bus:
        last = await write(bus, MONTHS)
        await archiver(bus).round()
        kept = KeptJournal(bus.journal(ENTITY), bus.archive, Anew())
        await kept.purge(SUBJECT, below=last)

        assert [one.sequence async for one in kept.read(SUBJECT, start=1)] == list(range(1, 10))


class Without:
    """An archive in which the newest part of a tenant is missing, or is another one."""

    def __init__(self, journal: Journal, data: bytes | None) -> None:
        self._journal = journal
        self._data = data
        self.append = journal.append
        self.purge = journal.purge

    def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        return self._journal.read(subject, start=start)

    async def last(self, subject: str) -> StoredMessage | None:
        found = await self._journal.last(subject)
        if ".acme." not in subject or found is None:
            return found
        return found._replace(data=self._data) if self._data else None


@pytest.mark.parametrize("data", [None, b"x", packed([])[0][0]])
async def test_a_part_that_is_missing_or_another_one_is_found_out(data: bytes | None):
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        await archiver(bus).round()
        damaged = archive_of(replace(bus, archive=Without(bus.archive, data)), ENTITY)

        with pytest.raises(BaseExceptionGroup) as raised:
            _ = [one async for one in damaged.commits(0)]
        assert raised.group_contains(CorruptJournalError, match=r"acme.*(missing|part)")


async def test_a_gap_in_the_journal_is_not_archived():
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS[:2])
        await write(bus, MONTHS[3:], first=4)
        await archiver(bus).round()

        assert await archived(bus) == []
        with pytest.raises(CorruptJournalError, match="commit 4 follows commit 2"):
            await read(bus)


async def test_what_is_archived_while_it_is_read_is_read_once():
    async with memory_bus() as world, world.process() as bus:
        await write(bus, MONTHS)
        before, found = await read(bus), list[int]()
        async for one in archive_of(bus, ENTITY).commits(0):
            found.append(one.n)
            if one.n == 1:
                await archiver(bus, LATER).round()
                await bus.journal(ENTITY).purge(SUBJECT, below=9)

    assert found == [n for n, _ in before]


async def test_a_commit_of_which_a_part_is_damaged_is_archived_as_it_is():
    whole = Entry(tenant="acme", key="k", command="c", events=[msgspec.Raw(b"[1]")])
    commit = Commit(n=1, epoch=1, turn="t", at=BEGAN, entries=[whole, whole])
    data = encode(commit).replace(b'"events":[[1]]', b'"events":{}', 1)
    async with memory_bus() as world, world.process() as bus:
        journal = bus.journal(ENTITY)
        last = await journal.append(SUBJECT, data, expected=0)
        (before,) = [one async for one in archive_of(bus, ENTITY).commits(0)]
        await archiver(bus).round()
        await journal.purge(SUBJECT, below=last + 1)
        (after,) = [one async for one in archive_of(bus, ENTITY).commits(0)]

    assert encode(after.found.commit) == encode(before.found.commit)
    assert after.found.commit is not None
    assert len(after.found.commit.entries) == 1
    assert after.found.damaged == before.found.damaged
    assert list(after.found.damaged) == [("acme", "k")]
