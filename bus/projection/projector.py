"""Follows a journal into the file of a projection, and answers questions from it."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from bus.archive import archive_of
from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import CorruptJournalError, UnavailableError
from bus.ports import Bus, Delivery, Feed, FeedEnd, Filed
from bus.projection.checkpoint import Checkpoint
from bus.projection.definition import EXPIRED_AT_ONCE, Projection
from bus.projection.file import Batch, ProjectionFile, is_damaged
from bus.projection.slot import claimed
from bus.shard.fetching import all_fetched
from bus.shard.salvage import commit_of
from bus.tasks import Wakeup, background, loop_time
from bus.telemetry import metrics
from schemas.fleet import (
    PROJECTIONS_SUBJECT,
    REBUILD_SUBJECT,
    ProjectionState,
    RebuildProjection,
)
from schemas.journal import Commit

log = structlog.get_logger()

T = TypeVar("T")

VIEWS_AT_ONCE = 256
EXPIRY_SECONDS = 60.0
"""Rows may stay so much longer than they have to."""


@dataclass(frozen=True, slots=True)
class ProjectionAnswer(Generic[T]):
    """What a question came to, and how many commits it does not know of yet."""

    value: T
    behind_commits: int


@dataclass(slots=True)
class ProjectionWatch(Generic[T]):
    """A question that is answered anew whenever a copy has come to the end of its journal.

    ``question`` makes it, at its moment. ``take`` is given the answer, and a moment of the loop's
    clock: whatever was committed before that is in it. Where nothing was committed it is worked out
    again after ``seconds``.
    """

    question: Callable[[], Callable[[sqlite3.Connection], T]]
    take: Callable[[T, float], None]
    seconds: float
    _answer: tuple[T, int, float] | None = None

    async def answer(self, file: ProjectionFile, began: float, most: float) -> None:
        """Hand on an answer that has all that was committed before ``began``.

        Raises:
            TimeoutError: it takes more than ``most`` seconds.
        """
        position, known = file.checkpoint.position, self._answer
        if known is None or known[1] != position or began > known[2] + self.seconds:
            value, _ = await _in_thread(partial(file.ask, self.question(), most))
            known = self._answer = (value, position, began)
        self.take(known[0], began)


class Projector:
    """Keeps this process's copy of a projection up to date.

    ``retention`` is for how long the rows of what has ended stay; None keeps them.
    """

    def __init__(
        self,
        projection: Projection,
        feed: Feed,
        bus: Bus,
        *,
        directory: Path,
        process: str,
        timing: Timing,
        retention: timedelta | None = None,
    ) -> None:
        self._projection = projection
        self._feed = feed
        self._bus = bus
        self._archive = archive_of(bus, projection.entity)
        self._directory = directory
        self._process = process
        self._timing = timing
        self._retention = retention
        self._watch: ProjectionWatch[Any] | None = None
        self._file: ProjectionFile | None = None
        self._end = FeedEnd(0, 0, "")
        self._known: tuple[FeedEnd, float] | None = None
        self._refused: str | None = None
        self._rebuild_wanted = self._bears_gaps = False
        self._expires_at = 0.0
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

    def not_ready_reason(self) -> str | None:
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

    def watch(self, watch: ProjectionWatch[Any]) -> None:
        """Answer a question anew whenever more is known, from the next look on."""
        self._watch = watch
        self._wakeup.set()

    async def ask(
        self,
        question: Callable[[sqlite3.Connection], T],
        *,
        fresh: bool = True,
        within: float | None = None,
    ) -> ProjectionAnswer[T]:
        """Answer a question from all that was committed when it was asked.

        The copy may take ``within`` seconds to get there. With ``fresh`` off it is answered at
        once, and the answer says how far it is behind.

        Raises:
            UnavailableError: the copy does not get there in time, or cannot go on.
            TimeoutError: the question takes too long.
        """
        asked_at, end = loop_time(), await self._feed.end()
        if fresh:
            await self._reach(end, asked_at, within or self._timing.projection_wait_seconds)
        value, checkpoint = await self._asked(question)
        behind = checkpoint.behind(end)
        if fresh and behind:
            raise self._unavailable(f"is {behind} commits behind")
        return ProjectionAnswer(value, behind)

    async def peek(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Answer a question from the copy as it is, however far it has come.

        Raises:
            UnavailableError: the copy is not open.
            TimeoutError: the question takes too long.
        """
        value, _ = await self._asked(question)
        return value

    async def _asked(self, question: Callable[[sqlite3.Connection], T]) -> tuple[T, Checkpoint]:
        if self._file is None:
            raise self._unavailable("is not open")
        seconds = self._timing.projection_query_seconds
        return await _in_thread(partial(self._file.ask, question, seconds))

    async def _reach(self, end: FeedEnd, asked_at: float, seconds: float) -> None:
        """Wait for the copy to reach the journal's end, as long as it may take."""
        if self._file is None or self._file.checkpoint.behind(end):
            if self._known is None or self._known[0].sequence < end.sequence:
                self._known = (end, asked_at)
            self._wakeup.set()
        with anyio.move_on_after(seconds):
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
            began = await self._look_for_end()
            await self._begin_anew_if_needed(file)
            await self._advance(file)
            self._refused, self._bears_gaps = None, False
            self._note()
            await self._expire(file)
            if self._watch is not None and not file.checkpoint.behind(self._end):
                await self._watch.answer(file, began, self._timing.projection_query_seconds)
        except (UnavailableError, TimeoutError):
            log.debug("projection.waits", projection=self._projection.name)
        except (CorruptJournalError, sqlite3.Error) as error:
            pause = 0 if self._begins_with_views(error) else await self._refuse(file, error)
        self._note()
        await self._wakeup.wait(pause)

    def _begins_with_views(self, error: Exception) -> bool:
        """Have the rows made anew of stored views, which tell of commits that are missing.

        What is missing of the journal even then is purged or lost; it cannot be had in any way.
        """
        can = self._projection.views is not None and isinstance(error, CorruptJournalError)
        if can:
            log.warning("projection.begins_with_views", projection=self._projection.name)
            self._rebuild_wanted = self._bears_gaps = True
        return can

    async def _look_for_end(self) -> float:
        """Learn where the journal ends; return a moment before which all of it was committed.

        Whoever waits for the copy has just learnt it.
        """
        known, self._known = self._known, None
        began = loop_time()
        self._end, began = known or (await self._feed.end(), began)
        return began

    async def _begin_anew_if_needed(self, file: ProjectionFile) -> None:
        """Drop the rows where that is wanted, or where they come from another journal."""
        if self._rebuild_wanted or file.checkpoint.incarnation != self._end.incarnation:
            log.info("projection.begins_anew", projection=self._projection.name)
            await _in_thread(partial(file.reset, ""))
            await self._show_views(file)
            await _in_thread(partial(file.adopt, self._end.incarnation))
            self._rebuild_wanted = False

    async def _show_views(self, file: ProjectionFile) -> None:
        """Make rows of all stored views, which tell of what the journal no longer has."""
        views = self._projection.views
        if views is None:
            return
        page: list[bytes] = []
        async for stored in self._bus.records.read(views.subject, start=1):
            page.append(stored.data)
            if len(page) == VIEWS_AT_ONCE:
                await _in_thread(partial(file.show, page))
                page = []
        await _in_thread(partial(file.show, page))

    async def _expire(self, file: ProjectionFile) -> None:
        """Remove what has ended so long ago that nobody is told of it any more."""
        now = loop_time()
        if self._retention is None or now < self._expires_at:
            return
        clock = self._bus.clock()
        expire = partial(file.expire, clock - self._retention, clock)
        if await _in_thread(expire) < EXPIRED_AT_ONCE:
            self._expires_at = now + EXPIRY_SECONDS

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
                apply = partial(file.apply, batch, gaps=self._bears_gaps, more=more)
                return await _in_thread(apply)
            except CorruptJournalError as gap:
                if self._projection.views is not None:
                    raise
                if not await self._from_archive(file, gap.subject):
                    raise

    async def _from_archive(self, file: ProjectionFile, subject: str) -> bool:
        """Apply what is archived of a shard behind the checkpoint; say whether it was anything."""
        shard, known = int(subject.rpartition(".")[2]), file.checkpoint.commits.get(subject, 0)
        batches = self._archive.batches(shard, file.checkpoint.incarnation, after=known)
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
