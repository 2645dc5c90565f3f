"""The commits of a shard in order, those first that are only in the archive."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread

from bus.archive.batch import NEVER, total_checksum
from bus.archive.packing import unpacked
from bus.codec import decode
from bus.errors import CorruptJournalError, ProblemError
from bus.ports import Bus, Feed, Journal
from bus.shard.salvage import Salvaged, read_commit
from bus.subjects import archived_subject, fill, journal_subject
from schemas.archive import Archived, ArchivedEntry, TenantArchive
from schemas.journal import Commit

PART = "_cb.archive.{entity}.{shard}.{tenant}.{period}.{first}.{checksum}.{part}"
"""A part of what a batch holds of a tenant. Its name tells its content: it is never rewritten."""

PARTS_AT_ONCE = 16


class Numbered(NamedTuple):
    """A commit with its number, which is known also where nothing of it can be read.

    ``sequence`` is its place in the journal's stream.
    """

    n: int
    sequence: int
    found: Salvaged


class ArchiveHead(NamedTuple):
    """The newest ``Archived`` of a shard, and what an append after it has to expect."""

    archived: Archived | None
    expected: int

    @property
    def through(self) -> int:
        """The number of the last commit in the archive."""
        return self.archived.through if self.archived else 0

    @property
    def until(self) -> datetime:
        """The time up to which the shard is archived."""
        return self.archived.until if self.archived else NEVER

    @property
    def sequence(self) -> int:
        """The place of that commit in the journal's stream."""
        return self.archived.sequence if self.archived else 0


def archive_of(bus: Bus, entity: str) -> "Archive":
    """Return the archive of an entity type on a bus."""
    return Archive(entity, bus.journal(entity), bus.archive, bus.feed(entity))


@dataclass(frozen=True, slots=True)
class Archive:
    """Reads what an entity type's journal and its archive hold.

    ``incarnation`` is that of the journal: what was archived of another one does not count. All
    methods raise ``UnavailableError`` where there is no answer, and ``CorruptJournalError`` where
    an archived batch is not what was stored.
    """

    entity: str
    journal: Journal
    store: Journal
    feed: Feed

    async def head(self, shard: int, incarnation: str) -> ArchiveHead:
        """Return how far a shard is archived, by the leader of the archive."""
        subject = archived_subject(self.entity, shard, incarnation)
        newest = await self.store.last(subject)
        return (
            ArchiveHead(_archived(subject, newest.data), newest.sequence)
            if newest
            else ArchiveHead(None, 0)
        )

    async def batches(
        self, shard: int, incarnation: str, *, after: int = 0
    ) -> AsyncIterator[list[Numbered]]:
        """Yield the archived commits behind number ``after``, without gaps, a batch at a time."""
        subject = archived_subject(self.entity, shard, incarnation)
        async for stored in self.store.read(subject, start=1):
            archived = _archived(subject, stored.data)
            if archived.through > after:
                commits = await self._commits(subject, archived)
                yield [one for one in commits if one.n > after]

    async def commits(
        self, shard: int, *, after: int = 0, whole: bool = True
    ) -> AsyncIterator[Numbered]:
        """Yield all commits of a shard behind number ``after``, archived or not.

        Where not all of its history is ``whole``, it may begin with any commit.

        Raises:
            CorruptJournalError: a commit is in neither of them.
        """
        incarnation, subject = (
            (await self.feed.end()).incarnation,
            journal_subject(self.entity, shard),
        )
        while True:
            begun, gap = after, ""
            async for batch in self.batches(shard, incarnation, after=after):
                for one in batch:
                    yield one
                    after = one.n
            head = await self.head(shard, incarnation)
            last = head.through
            async for stored in self.journal.read(subject, start=head.sequence + 1):
                one = numbered(stored.sequence, stored.data, last + 1)
                last = one.n
                if last > after + 1 and (whole or after):
                    # It was archived and purged between the two readings.
                    gap = f"commit {last} follows commit {after}"
                    break
                if last > after:
                    yield one
                    after = last
            if not gap:
                return
            if after == begun:
                raise CorruptJournalError(subject, gap)

    async def _commits(self, subject: str, archived: Archived) -> list[Numbered]:
        if total_checksum(archived.tenants) != archived.checksum:
            raise CorruptJournalError(subject, f"batch {archived.first} has a wrong checksum")
        found: dict[str, list[ArchivedEntry]] = {}
        limiter = anyio.CapacityLimiter(PARTS_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for tenant in archived.tenants:
                tasks.start_soon(self._entries, archived, tenant, limiter, found)
        entries = [entry for tenant in archived.tenants for entry in found[tenant.tenant]]
        return list(rebuilt(archived, entries))

    async def _entries(
        self,
        archived: Archived,
        tenant: TenantArchive,
        limiter: anyio.CapacityLimiter,
        found: dict[str, list[ArchivedEntry]],
    ) -> None:
        async with limiter:
            parts: list[bytes] = []
            for part in range(tenant.parts):
                subject = part_subject(archived, tenant.tenant, tenant.checksum, part)
                stored = await self.store.last(subject)
                if stored is None:
                    raise CorruptJournalError(subject, "is missing in the archive")
                parts.append(stored.data)
            try:
                found[tenant.tenant] = await anyio.to_thread.run_sync(
                    partial(unpacked, parts, tenant.checksum)
                )
            except ValueError as error:
                subject = part_subject(archived, tenant.tenant, tenant.checksum, 0)
                raise CorruptJournalError(subject, str(error)) from None


def part_subject(archived: Archived, tenant: str, checksum: str, part: int) -> str:
    """Return where a part of what a batch holds of a tenant is stored."""
    return fill(
        PART,
        entity=archived.entity,
        shard=str(archived.shard),
        tenant=tenant,
        period=archived.period,
        first=str(archived.first),
        checksum=checksum,
        part=str(part),
    )


def numbered(sequence: int, data: bytes, otherwise: int) -> Numbered:
    """Return a stored commit with its number; ``otherwise`` where that cannot be read."""
    found = read_commit(data)
    return Numbered(found.commit.n if found.commit else otherwise, sequence, found)


def rebuilt(archived: Archived, entries: list[ArchivedEntry]) -> Iterator[Numbered]:
    """Yield the commits of a batch: the same entries in the same places. Pure.

    Of commits without entries only the number is known.
    """
    by_number: dict[int, list[ArchivedEntry]] = {}
    for entry in entries:
        by_number.setdefault(entry.n, []).append(entry)
    at, sequence, epoch = archived.until, 0, 0
    if entries:
        earliest = min(entries, key=lambda entry: entry.n)
        at, sequence, epoch = earliest.at, earliest.sequence, earliest.epoch
    for n in range(archived.first, archived.through + 1):
        kept = sorted(by_number.get(n, ()), key=lambda entry: entry.place)
        if kept:
            at, sequence, epoch = kept[0].at, kept[0].sequence, kept[0].epoch
        if kept and kept[0].commit is not None:
            yield Numbered(n, sequence, read_commit(kept[0].commit))
            continue
        commit = Commit(
            n=n,
            epoch=epoch,
            turn="",
            at=at,
            version=kept[0].version if kept else 1,
            entries=[entry.entry for entry in kept if entry.entry is not None],
        )
        yield Numbered(n, sequence, Salvaged(commit, {}))


def _archived(subject: str, data: bytes) -> Archived:
    try:
        return decode(Archived, data)
    except ProblemError as error:
        raise CorruptJournalError(subject, error.said()) from None
