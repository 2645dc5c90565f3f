"""Snapshots of a shard: taken after a commit, stored beside the turns, named by a later commit."""

from collections import deque
from collections.abc import Callable

import structlog
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.errors import TransientError
from bus.ports import Blobs
from bus.shard.blob_names import blobs_under
from bus.shard.book import Picture, ShardBook
from bus.shard.parts import Parts
from bus.shard.purging import Purge
from bus.streams.capacity import HISTORY_GOES, Rooms
from bus.tasks import loop_clock
from schemas.journal import SnapshotRef

log = structlog.get_logger()

LEAST_PAUSE, MOST_PAUSE = 0.5, 8.0
"""Seconds from one round to the next where room is wanted: doubled as long as none comes of it."""

RETRY_SECONDS = 1.0


class Snapshots:
    """Takes snapshots of one shard, and lets go what they make superfluous."""

    def __init__(
        self,
        subject: str,
        blobs: Blobs,
        purge: Purge,
        parts: Parts,
        rooms: Rooms,
        timing: Timing,
    ) -> None:
        self._subject = subject
        self._parts = parts
        self._blobs = blobs
        self._purge = purge
        self._rooms = rooms
        self._timing = timing
        self._time = loop_clock()
        self._busy = False
        self._not_before = 0.0
        self._pause = LEAST_PAUSE
        self._unnamed: deque[tuple[int, SnapshotRef]] = deque()
        self._newest: SnapshotRef | None = None
        self._tidied: tuple[SnapshotRef | None] | None = None
        self._erase_at: float | None = None

    def to_name(self, book: ShardBook, settled: int) -> SnapshotRef | None:
        """Return the snapshot that the next commit names.

        Recovery sees nothing of the commits below it, so all they led to must be stored by then.
        """
        return self.usable(book.snapshot, settled) if self._unnamed else book.snapshot

    def is_named(self, ref: SnapshotRef | None) -> None:
        """Note that a commit which names a snapshot is stored."""
        while self._unnamed and ref is not None and self._unnamed[0][1].n <= ref.n:
            self._unnamed.popleft()

    def usable(self, named: SnapshotRef | None, settled: int) -> SnapshotRef | None:
        """Return the newest snapshot below which nothing is needed, be it named or not."""
        found = [each for needed, each in self._unnamed if needed <= settled]
        return found[-1] if found else named

    async def make_room(
        self, usable: SnapshotRef | None, named: SnapshotRef | None, settled: int
    ) -> None:
        """Purge below the newest snapshot that has all it needs, be it ``named`` or not.

        Raises:
            UnavailableError: not known to be done.
        """
        below = self.usable(usable, settled)
        if below is not None:
            await self._purge.relieve(below, named)
            await self._purge.forget(below)
            await self._rooms.look()

    def wants_a_name(self, settled: Callable[[], int]) -> bool:
        """Say whether a commit that names a snapshot would let something go that has to."""
        can_name = bool(self._unnamed) and self._unnamed[0][0] <= settled()
        return can_name and (self._rooms.pressed or self._erase_at is not None)

    def keep(self, book: ShardBook, sequence: int, needed: int, tasks: TaskGroup) -> None:
        """Begin what is due with the book as it stands after its newest commit, at ``sequence``.

        ``needed`` is the last commit that has led to anything: once that is settled the snapshot
        may be named, because those after it have no entries. What is due is a snapshot, after so
        many commits or where history has to go, and the removal of what the one that is named
        makes superfluous.
        """
        if self._busy or self._time() < self._not_before:
            return
        pressed = self._rooms.pressed
        takes = self._is_snapshot_due(book, pressed=pressed)
        if takes or self._is_untidy(book.snapshot, pressed=pressed):
            self._busy = True
            taken = (book.picture(), sequence, needed) if takes else None
            tasks.start_soon(self._round, taken, book.snapshot, book.deleted)

    def _is_snapshot_due(self, book: ShardBook, *, pressed: bool) -> bool:
        newest = self._newest or book.snapshot
        fresh = book.n - (newest.n if newest else 0)
        # One commit more may be the one that names it. Before that the next would help nobody.
        is_wanted = pressed and fresh > 1 and not self._unnamed
        is_wanted = is_wanted or self._is_to_erase(book, newest.n if newest else 0)
        return is_wanted or fresh >= self._timing.snapshot_commits

    def _is_to_erase(self, book: ShardBook, newest: int) -> bool:
        """Say whether what was deleted has been in the journal for long enough."""
        named = book.snapshot.n if book.snapshot else 0
        if book.deleted <= named:
            self._erase_at = None
            return False
        if self._erase_at is None:
            self._erase_at = self._time() + self._timing.erase_seconds
        return newest < book.deleted and self._time() >= self._erase_at

    def _is_untidy(self, named: SnapshotRef | None, *, pressed: bool) -> bool:
        """Say whether there may be something to remove. After a take-over nobody knows."""
        # Where room is wanted, what could not go before may be archived meanwhile.
        return pressed or self._tidied is None or self._tidied[0] is not named

    async def _round(
        self, taken: tuple[Picture, int, int] | None, named: SnapshotRef | None, deleted: int
    ) -> None:
        pressed = self._rooms.pressed
        try:
            await self._purge.tidy(named, pressed=pressed, deleted=deleted)
            await self._parts.forget(named)
            self._tidied = (named,)
            if pressed and named is not None:
                await self._forget(named)
            if taken is not None:
                await self._take(*taken)
            await self._pace(pressed=pressed)
        except TransientError as error:
            log.warning("shard.not_tidied", subject=self._subject, error=str(error))
            self._not_before = self._time() + RETRY_SECONDS
        finally:
            self._busy = False

    async def _forget(self, named: SnapshotRef) -> None:
        """Let states of ended entities go where the journal is still too full without history."""
        await self._rooms.journal.look()
        if self._rooms.journal.share >= HISTORY_GOES:
            await self._purge.forget(named)

    async def _take(self, picture: Picture, sequence: int, needed: int) -> None:
        image = await self._parts.drawn(picture)
        under = blobs_under(self._subject, "snapshot", image.n)
        data = encode(image)
        blob = await self._blobs.put(data, under=under)
        self._rooms.blobs.add(len(data))
        self._newest = SnapshotRef(blob=blob, n=image.n, sequence=sequence)
        self._unnamed.append((needed, self._newest))

    async def _pace(self, *, pressed: bool) -> None:
        """See what has come of it, and wait the longer for the next round the less that was."""
        if not pressed:
            return
        await self._rooms.look()
        self._not_before = self._time() + self._pause
        self._pause = min(2 * self._pause, MOST_PAUSE) if self._rooms.pressed else LEAST_PAUSE
