"""Storing the commits of a shard within the bounds of its journal and of the blobs."""

from collections.abc import Callable, Sequence

import anyio

from bus.codec import encode
from bus.config import Timing
from bus.errors import FullError
from bus.ports import Blobs
from bus.shard.blob_names import blobs_under
from bus.shard.fence import Fence
from bus.shard.snapshots import Snapshots
from bus.streams.capacity import TURNS_STOP, Rooms
from bus.tasks import loop_clock
from schemas.journal import Commit, Entry, SnapshotRef

ENTRY_BYTES = 400
"""What an entry takes in a commit besides events, base and reply; rather more."""

RETRY_SECONDS = 0.25
"""A commit for which there is no room tries again so soon, and makes some where it can."""


class Storing:
    """Appends the commits of one owner, with what is too large of them in the store of blobs."""

    def __init__(
        self, fence: Fence, snapshots: Snapshots, rooms: Rooms, blobs: Blobs, timing: Timing
    ) -> None:
        self._fence = fence
        self._snapshots = snapshots
        self._rooms = rooms
        self._blobs = blobs
        self._timing = timing
        self._time = loop_clock()

    async def compacted(self, entries: Sequence[Entry], n: int) -> tuple[list[Entry], int]:
        """Return the entries as commit ``n`` stores them, and how many bytes they take in it."""
        sizes = [_size(entry) for entry in entries]
        stored = list(entries)
        if max(sizes, default=0) > self._timing.blob_bytes:
            stored = [await self._compact(entry, n) for entry in entries]
            sizes = [_size(entry) for entry in stored]
        return stored, sum(sizes) + ENTRY_BYTES * len(sizes)

    async def append(
        self, commit: Commit, size: int, named: SnapshotRef | None, settled: Callable[[], int]
    ) -> bool:
        """Append a commit; wait for room where it lacks that, and make some.

        A turn leaves room for commits without entries, which may name what makes room. One of these
        for which there is none is let go; say whether it was stored. ``named`` is the snapshot that
        the commit before it names, ``settled`` tells up to which commit nothing can be lost.

        Raises:
            FencedError: the shard has another owner.
            FullError: there was no room for long. The shard is taken over again, without the turn.
        """
        room, until = self._rooms.journal, self._time() + self._timing.full_seconds
        while True:
            if not commit.entries or room.fits(size):
                try:
                    await self._fence.append(commit)
                except FullError:
                    await room.look()
                else:
                    room.add(size)
                    return True
            if self._snapshots.usable(commit.snapshot, settled()) is not None:
                await self._fence.confirm()
                await self._snapshots.make_room(commit.snapshot, named, settled())
            if not commit.entries:
                return False
            if self._time() > until:
                raise FullError(self._fence.subject, "there is no room for a commit")
            await anyio.sleep(RETRY_SECONDS)

    async def _compact(self, entry: Entry, n: int) -> Entry:
        """Move an entry of commit ``n`` that is too large for the journal into the blob store.

        Where that is full it stays in the journal: its command was small, or there was room for it.
        """
        room = self._rooms.blobs
        if _size(entry) <= self._timing.blob_bytes or room.share >= TURNS_STOP:
            return entry
        data = encode(entry)
        try:
            blob = await self._blobs.put(data, under=blobs_under(self._fence.subject, "entry", n))
        except FullError:
            return entry
        room.add(len(data))
        return Entry(
            tenant=entry.tenant,
            key=entry.key,
            command=entry.command,
            kind=entry.kind,
            blob=blob,
            n=entry.n,
            after=entry.after,
        )


def _size(entry: Entry) -> int:
    """Return how large that is of an entry which has no bound."""
    size = len(entry.base) + len(entry.reply)
    for event in entry.events:
        size += len(event)
    return size
