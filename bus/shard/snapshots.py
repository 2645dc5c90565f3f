"""Snapshots of a shard: taken after a commit, stored beside the turns, named by a later commit."""

from collections import deque
from datetime import datetime, timedelta

from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.errors import TransientError
from bus.ports import Blobs, Journal
from bus.shard.book import Book
from schemas.journal import Snapshot, SnapshotRef


class Snapshots:
    """Takes snapshots of one shard and purges what lies below old ones."""

    def __init__(self, subject: str, journal: Journal, blobs: Blobs, timing: Timing) -> None:
        self._subject = subject
        self._journal = journal
        self._blobs = blobs
        self._timing = timing
        self._busy = False
        self._history: deque[tuple[datetime, SnapshotRef]] = deque()
        self._blobs_in_use: dict[str, int] = {}
        self._unnamed: deque[SnapshotRef] = deque()
        self._newest: SnapshotRef | None = None

    def to_name(self, book: Book, settled: int) -> SnapshotRef | None:
        """Return the snapshot that the next commit names.

        Recovery sees nothing of the commits below it, so all they led to must be stored by then.
        """
        named = book.snapshot
        while self._unnamed and self._unnamed[0].n <= settled:
            named = self._unnamed.popleft()
        return named

    def take_if_due(self, book: Book, sequence: int, now: datetime, tasks: TaskGroup) -> None:
        """Begin a snapshot of the book as it stands after its newest commit, at ``sequence``.

        Its age counts from ``now``: before a shard's first turn its last commit has no moment.
        """
        newest = self._newest or book.snapshot
        if self._busy or book.n - (newest.n if newest else 0) < self._timing.snapshot_commits:
            return
        self._busy = True
        if book.snapshot is not None:
            self._blobs_in_use[book.snapshot.blob] = book.snapshot.n
        tasks.start_soon(self._take, book.image(), sequence, now, book.snapshot)

    async def _take(
        self, image: Snapshot, sequence: int, now: datetime, committed: SnapshotRef | None
    ) -> None:
        try:
            await self._forget_below(committed)
            blob = await self._blobs.put(encode(image))
            self._newest = SnapshotRef(blob=blob, n=image.n, sequence=sequence)
            self._unnamed.append(self._newest)
            self._blobs_in_use[blob] = image.n
            self._history.append((now, self._newest))
            await self._purge(now)
        except TransientError:
            return
        finally:
            self._busy = False

    async def _forget_below(self, committed: SnapshotRef | None) -> None:
        """Remove the blobs of snapshots that a committed newer one has replaced."""
        replaced = [
            blob
            for blob, n in self._blobs_in_use.items()
            if committed is not None and n < committed.n
        ]
        for blob in replaced:
            await self._blobs.remove(blob)
            del self._blobs_in_use[blob]

    async def _purge(self, now: datetime) -> None:
        """Remove commits below the newest snapshot that is itself older than the retention."""
        oldest = now - timedelta(days=self._timing.journal_retention_days)
        below = 0
        while self._history and self._history[0][0] < oldest:
            below = self._history.popleft()[1].sequence
        if below:
            await self._journal.purge(self._subject, below=below)
