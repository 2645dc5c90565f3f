"""Archives what is due of the shards that a process owns, outside of their turns.

Two processes may do it at once, after a takeover: the same commits make the same parts, and of two
``Archived`` that follow the same one the second is refused.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from math import inf

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog

from bus.archive.batch import NEVER, ArchiveBatch, TakenCommit, end_of_month
from bus.archive.packing import PackedBatch
from bus.archive.reading import ArchiveHead, archive_of, part_subject
from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import (
    CallboardError,
    CorruptJournalError,
    FencedError,
    ProblemError,
    TransientError,
)
from bus.ports import Bus, StoredMessage
from bus.shard.fetching import fetched
from bus.shard.salvage import commit_of
from bus.subjects import archived_subject, journal_subject
from bus.telemetry import metrics
from schemas.archive import Archived
from schemas.journal import Commit, Entry

log = structlog.get_logger()

_HURRY = 10
"""So much more often it is looked where a journal fills."""

_SLICE_BYTES = 256 * 1024
"""Of commits read, about a millisecond of decoding; then the event loop goes on."""


class Archiver:
    """Archives shards of one entity type. ``owned`` returns those that are this process's.

    They need not be served: a journal that is full up to its bound lets no new owner begin, and
    only what is archived can be purged.
    """

    def __init__(
        self, entity: str, bus: Bus, timing: Timing, *, owned: Callable[[], Iterable[int]]
    ) -> None:
        self._entity = entity
        self._bus = bus
        self._timing = timing
        self._owned = owned
        self._archive = archive_of(bus, entity)
        self._grace = timedelta(days=timing.archive_grace_days)
        self._not_before: dict[int, datetime] = {}
        self._looked: dict[int, float] = {}
        self._least = 0
        self._failing: set[int] = set()

    async def run(self) -> None:
        """Archive what is due, again and again, until cancelled."""
        pause = self._timing.archive_look_seconds
        while True:
            is_pressed = await self.round()
            await anyio.sleep(pause / _HURRY if is_pressed else pause)

    async def round(self) -> bool:
        """Archive all that is due now of the shards owned here; say whether room is wanted."""
        try:
            incarnation, fill = (
                (await self._archive.feed.end()).incarnation,
                await self._archive.journal.fill(),
            )
        except CallboardError:
            return False
        is_pressed = not fill.leaves(0, reserve=1 - self._timing.archive_above)
        self._least = round(self._timing.archive_least * fill.most)
        for shard in list(self._owned()):
            if self._may_be_due(shard, is_pressed=is_pressed):
                await self._try(shard, incarnation, is_pressed=is_pressed)
        return is_pressed

    def _may_be_due(self, shard: int, *, is_pressed: bool) -> bool:
        """Say whether a look is worth it: one reads what is not archived, up to a batch."""
        if not is_pressed:
            return self._bus.clock() >= self._not_before.get(shard, NEVER)
        looked = self._looked.get(shard, -inf)
        return anyio.current_time() >= looked + self._timing.archive_look_seconds

    async def _try(self, shard: int, incarnation: str, *, is_pressed: bool) -> None:
        """Archive a shard as far as it goes; what fails now is tried again in the next round."""
        try:
            while await self._archive_next(shard, incarnation, is_pressed=is_pressed):
                pass
            self._failing.discard(shard)
        except (TransientError, FencedError) as error:
            self._say("archive.waits", shard, error)
        except CallboardError as error:
            self._say("archive.failed", shard, error)

    def _say(self, event: str, shard: int, error: CallboardError) -> None:
        """Say once why a shard is not archived: its journal fills until it is."""
        if shard not in self._failing:
            log.warning(event, entity=self._entity, shard=shard, error=str(error))
        self._failing.add(shard)

    async def _archive_next(self, shard: int, incarnation: str, *, is_pressed: bool) -> bool:
        """Archive the next batch of a shard if it is due; say whether there may be more."""
        head = await self._archive.head(shard, incarnation)
        batch = await self._collected(shard, head)
        is_over = batch.is_over(self._bus.clock(), self._grace)
        if not is_over and not (is_pressed and self._is_worthwhile(batch)):
            self._not_before[shard] = self._due(batch)
            self._looked[shard] = anyio.current_time()
            return False
        await self._store(batch, incarnation, head.expected)
        return batch.is_full

    def _is_worthwhile(self, batch: ArchiveBatch) -> bool:
        """Say whether a batch of a month that goes on is archived where there is little room."""
        return batch.is_full or batch.size >= max(self._least, 1)

    def _due(self, batch: ArchiveBatch) -> datetime:
        """Return when a batch may be over; one that nothing is in yet can not be so soon."""
        begun = batch.until > NEVER
        return (end_of_month(batch.until) if begun else self._bus.clock()) + self._grace

    # A batch

    async def _collected(self, shard: int, head: ArchiveHead) -> ArchiveBatch:
        """Read the commits that follow what is archived, as far as they form a batch.

        Raises:
            CorruptJournalError: commits are missing before them.
        """
        subject, read = journal_subject(self._entity, shard), 0
        most = self._timing.archive_batch_bytes
        batch = ArchiveBatch(self._entity, shard, head.through + 1, most, until=head.until)
        async for stored in self._archive.journal.read(subject, start=head.sequence + 1):
            taken = await self._taken(stored, batch)
            if taken.commit.n != batch.next:
                reason = f"commit {taken.commit.n} follows commit {batch.next - 1}"
                raise CorruptJournalError(subject, reason)
            if not batch.take(taken):
                break
            read += len(stored.data)
            if read >= _SLICE_BYTES:
                read = 0
                await anyio.lowlevel.checkpoint()
        return batch

    async def _taken(self, stored: StoredMessage, batch: ArchiveBatch) -> TakenCommit:
        """Return a commit with its entries in place; as it is where something is damaged."""
        try:
            commit = decode(Commit, stored.data)
        except ProblemError:
            found = commit_of(stored.data) or Commit(n=batch.next, epoch=0, turn="", at=batch.until)
            return TakenCommit(found, None, stored.sequence, stored.data)
        entries = [await self._whole(entry) for entry in commit.entries]
        return TakenCommit(commit, entries, stored.sequence, stored.data)

    async def _whole(self, entry: Entry) -> Entry:
        """Return an entry with its events in place; where they are gone, it still says so."""
        try:
            return await fetched(entry, self._bus.blobs)
        except ProblemError:
            return entry

    async def _store(self, batch: ArchiveBatch, incarnation: str, expected: int) -> None:
        """Store the parts, and when all are stored say so.

        Raises:
            FencedError: another process was faster.
            UnavailableError: not known to be stored.
        """
        packs = await anyio.to_thread.run_sync(batch.pack)
        archived = batch.archived(packs)
        for tenant, pack in packs.items():
            await self._store_parts(archived, tenant, pack)
        subject = archived_subject(self._entity, batch.shard, incarnation)
        await self._archive.store.append(subject, encode(archived), expected=expected)
        metrics.ARCHIVED_BATCHES.at(self._entity).inc()
        log.info("archive.stored", entity=self._entity, shard=batch.shard, through=archived.through)

    async def _store_parts(self, archived: Archived, tenant: str, pack: PackedBatch) -> None:
        for number, part in enumerate(pack.parts):
            subject = part_subject(archived, tenant, pack.checksum, number)
            try:
                await self._archive.store.append(subject, part, expected=0)
            except FencedError:
                # It is there already, from a try that was not finished: the name is the content.
                continue
