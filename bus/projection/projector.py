"""Follows a journal into the file of a projection, and answers questions from it."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from bus.archive import archive_of
from bus.codec import decode, encode
from bus.config import Timing
from bus.connection import background
from bus.errors import CorruptJournalError, UnavailableError
from bus.ports import Bus, Delivery, Feed, FeedEnd, Filed
from bus.projection.checkpoint import Checkpoint
from bus.projection.definition import Projection
from bus.projection.file import Batch, ProjectionFile, is_damaged
from bus.projection.slot import claimed
from bus.shard.fetching import all_fetched
from bus.shard.salvage import commit_of
from bus.telemetry import metrics
from bus.waiting import Wakeup
from schemas.fleet import (
    PROJECTIONS_SUBJECT,
    REBUILD_SUBJECT,
    ProjectionState,
    RebuildProjection,
)
from schemas.journal import Commit

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a question came to, and how many commits it does not know of yet."""

    value: T
    behind_commits: int


class Projector:
    """Keeps this process's copy of a projection up to date."""

    def __init__(
        self,
        projection: Projection,
        feed: Feed,
        bus: Bus,
        *,
        directory: Path,
        process: str,
        timing: Timing,
    ) -> None:
        self._projection = projection
        self._feed = feed
        self._bus = bus
        self._archive = archive_of(bus, projection.entity)
        self._directory = directory
        self._process = process
        self._timing = timing
        self._file: ProjectionFile | None = None
        self._end = FeedEnd(0, 0, "")
        self._refused: str | None = None
        self._rebuild_wanted = False
        self._wakeup = Wakeup()
        self._moved = anyio.Event()

    async def run(self) -> None:
        """Follow the journal until cancelled."""
        with claimed(self._directory, self._projection.name) as path:
            file = ProjectionFile(path, self._projection)
            await _in_thread(file.open)
            self._file = file
            try:
                async with (
                    self._bus.transport.subscription(PROJECTIONS_SUBJECT, self._tell),
                    self._bus.transport.subscription(REBUILD_SUBJECT, self._take_rebuild),
                ):
                    while True:
                        await self._round(file)
            finally:
                self._file = None
                with anyio.CancelScope(shield=True):
                    await _in_thread(file.close)

    def missing(self) -> str | None:
        """Say what is lacking until questions can be answered, if only with a delay."""
        return None if self._file else f"projection {self._projection.name} is not open"

    @property
    def state(self) -> ProjectionState | None:
        """How far the copy has come, None while it has no file."""
        if self._file is None:
            return None
        checkpoint, behind = self._file.checkpoint, self._file.checkpoint.behind(self._end)
        return ProjectionState(
            process=self._process,
            projection=self._projection.name,
            entity=self._projection.entity,
            version=self._projection.version,
            state="refused" if self._refused else "catching_up" if behind else "current",
            position=checkpoint.position,
            behind_commits=behind,
            file=str(self._file.path),
            file_bytes=self._file.size(),
            applied_at=checkpoint.at,
            reason=self._refused,
        )

    async def ask(
        self, question: Callable[[sqlite3.Connection], T], *, fresh: bool = True
    ) -> Answer[T]:
        """Answer a question from all that was committed when it was asked.

        With ``fresh`` off it is answered at once, and the answer says how far it is behind.

        Raises:
            UnavailableError: the copy does not get there in time, or cannot go on.
            TimeoutError: the question takes too long.
        """
        end = await self._feed.end()
        if fresh:
            await self._reach(end)
        if self._file is None:
            raise self._unavailable("is not open")
        seconds = self._timing.projection_query_seconds
        value, checkpoint = await _in_thread(partial(self._file.ask, question, seconds))
        behind = checkpoint.behind(end)
        if fresh and behind:
            raise self._unavailable(f"is {behind} commits behind")
        return Answer(value, behind)

    async def _reach(self, end: FeedEnd) -> None:
        """Wait for the copy to reach the journal's end, as long as it may take."""
        self._wakeup.set()
        with anyio.move_on_after(self._timing.projection_wait_seconds):
            while self._file is None or self._file.checkpoint.behind(end):
                if self._refused:
                    raise self._unavailable(self._refused)
                await self._moved.wait()

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(f"projection {self._projection.name}", reason)

    # Following

    async def _round(self, file: ProjectionFile) -> None:
        """Go to the end of the journal as it is now, then wait for more."""
        pause = self._timing.projection_poll_seconds
        try:
            await self._begin_anew_if_needed(file)
            await self._advance(file)
            self._refused = None
        except UnavailableError:
            log.debug("projection.waits", projection=self._projection.name)
        except (CorruptJournalError, sqlite3.Error) as error:
            pause = await self._refuse(file, error)
        self._note()
        await self._wakeup.wait(pause)

    async def _begin_anew_if_needed(self, file: ProjectionFile) -> None:
        """Drop the rows where that is wanted, or where they come from another journal."""
        self._end = await self._feed.end()
        if self._rebuild_wanted or file.checkpoint.life != self._end.life:
            log.info("projection.begins_anew", projection=self._projection.name)
            await _in_thread(partial(file.reset, self._end.life))
            self._rebuild_wanted = False

    async def _advance(self, file: ProjectionFile) -> None:
        if not file.checkpoint.behind(self._end):
            return
        pages, arriving = anyio.create_memory_object_stream[Batch](1)
        fetch = partial(self._fetch, pages, file.checkpoint.position + 1, self._end.sequence)
        async with arriving, background(fetch):
            async for page in arriving:
                await self._take(file, page)
        # The newest event may have had others behind it, or a predecessor has put this off.
        await _in_thread(file.settle)

    async def _fetch(self, pages: MemoryObjectSendStream[Batch], start: int, end: int) -> None:
        """Read and decode ahead of what is applied, by one page."""
        async with pages:
            while start <= end:
                page = await self._feed.page(start=start)
                if not page:
                    return
                start = page[-1].sequence + 1
                await pages.send(await _in_thread(partial(_decoded, page)))

    async def _take(self, file: ProjectionFile, page: Batch) -> None:
        batch = [(filed, commit and await self._whole(commit)) for filed, commit in page]
        more = bool(batch) and batch[-1][0].sequence < self._end.sequence
        count = await self._applied(file, batch, more=more)
        metrics.PROJECTION_EVENTS.at(self._projection.name).inc(count)
        self._note()

    async def _applied(self, file: ProjectionFile, batch: Batch, *, more: bool) -> int:
        """Apply commits; where some were purged before them, first those, from the archive.

        Raises:
            CorruptJournalError: commits are missing, and are not archived either.
        """
        while True:
            try:
                return await _in_thread(partial(file.apply, batch, more=more))
            except CorruptJournalError as gap:
                if not await self._from_archive(file, gap.subject):
                    raise

    async def _from_archive(self, file: ProjectionFile, subject: str) -> bool:
        """Apply what is archived of a shard behind the checkpoint; say whether it was anything."""
        shard, known = int(subject.rpartition(".")[2]), file.checkpoint.commits.get(subject, 0)
        batches = self._archive.batches(shard, file.checkpoint.life, after=known)
        found = False
        async for batch in batches:
            commits = [(Filed(0, subject, b""), one.found.commit) for one in batch]
            count = await _in_thread(partial(file.apply, commits, more=True))
            metrics.PROJECTION_EVENTS.at(self._projection.name).inc(count)
            found = True
        return found

    async def _whole(self, commit: Commit) -> Commit:
        """Return a commit with the entries in place that were too large for the journal.

        Those that are gone are left out: their entities are in quarantine.
        """
        if all(entry.blob is None for entry in commit.entries):
            return commit
        entries, lost = await all_fetched(commit, self._bus.blobs)
        if lost:
            log.warning("projection.entries_gone", projection=self._projection.name, n=commit.n)
        return msgspec.structs.replace(commit, entries=entries)

    def _note(self) -> None:
        """Tell whoever waits, and the metrics, how far the copy has come."""
        moved, self._moved = self._moved, anyio.Event()
        moved.set()
        if self._file is None:
            return
        name, checkpoint = self._projection.name, self._file.checkpoint
        behind = checkpoint.behind(self._end)
        metrics.PROJECTION_BEHIND_COMMITS.at(name).set(behind)
        metrics.PROJECTION_BEHIND_SECONDS.at(name).set(self._age(checkpoint) if behind else 0)

    def _age(self, checkpoint: Checkpoint) -> float:
        at = checkpoint.at
        return max((self._bus.clock() - at).total_seconds(), 0.0) if at else 0.0

    async def _refuse(
        self, file: ProjectionFile, error: CorruptJournalError | sqlite3.Error
    ) -> float:
        """Say why it does not go on, and return after how many seconds to try again."""
        log.error("projection.refused", projection=self._projection.name, reason=str(error))
        self._refused = str(error)
        if isinstance(error, sqlite3.Error) and is_damaged(error):
            await _in_thread(file.discard)
        return self._timing.corrupt_retry_seconds

    # What operators ask

    async def _tell(self, question: Delivery) -> None:
        state = self.state
        if state is not None and question.reply:
            await self._bus.transport.publish(question.reply, encode(state))

    async def _take_rebuild(self, order: Delivery) -> None:
        if decode(RebuildProjection, order.data).projection == self._projection.name:
            self._rebuild_wanted = True
            self._wakeup.set()


async def _in_thread(do: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(do)


def _decoded(page: Sequence[Filed]) -> Batch:
    return [(filed, commit_of(filed.data)) for filed in page]
