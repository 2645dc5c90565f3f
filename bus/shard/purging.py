"""Removing what a shard needs no more: old commits, and the blobs that nothing refers to.

What may go is told by the store alone: the journal, when the server stored what is in it, and the
names of the blobs. So it does not matter how long an owner lives, or what it did before it died.
"""

from datetime import datetime, timedelta

from bus.config import Timing
from bus.ports import Blobs, Journal, States
from bus.shard.blob_names import outdated, shard_blobs
from bus.shard.salvage import commit_of
from schemas.journal import SnapshotRef


class Purge:
    """Removes what one shard needs no more."""

    def __init__(
        self, subject: str, journal: Journal, blobs: Blobs, states: States, timing: Timing
    ) -> None:
        self._subject = subject
        self._journal = journal
        self._blobs = blobs
        self._states = states
        self._retention = timedelta(days=timing.journal_retention_days)

    async def tidy(self, named: SnapshotRef | None, *, pressed: bool, deleted: int = 0) -> None:
        """Remove what lies below the snapshot that the newest commit names.

        Commits above the retention stay, unless the store is ``pressed`` for room, or they may tell
        of an entity that was ``deleted``, by that commit at the latest.

        Raises:
            UnavailableError: not known to be done.
        """
        if named is not None:
            goes = pressed or (named.n >= deleted and await self._tells_of(deleted))
            await self._purge(await self._below(named.sequence, pressed=goes))
        await self.sweep(named)

    async def relieve(self, settled: SnapshotRef, named: SnapshotRef | None) -> None:
        """Remove what lies below a snapshot that no commit names yet, for want of room.

        A new owner finds it by its name, so it stays, and so does the one that is named.
        """
        await self._purge(settled.sequence)
        await self.sweep(named)

    async def forget(self, usable: SnapshotRef) -> bool:
        """Remove some states of ended entities, for want of room; say whether any were there.

        Only those below a snapshot from which a new owner begins: entries above it may follow on
        the others.
        """
        shard = int(self._subject.rpartition(".")[2])
        return await self._states.forget(shard, below=usable.sequence)

    async def sweep(self, named: SnapshotRef | None) -> None:
        """Remove the blobs to which neither the journal nor its commits refer."""
        oldest = await self._journal.first(self._subject)
        commit = commit_of(oldest.data) if oldest is not None else None
        if commit is None:
            return
        names = await self._blobs.names(shard_blobs(self._subject))
        for name in outdated(names, first=commit.n, snapshot=named.n if named else 0):
            await self._blobs.remove(name)

    async def _tells_of(self, n: int) -> bool:
        """Say whether the journal still has commits up to ``n``."""
        oldest = await self._journal.first(self._subject) if n else None
        commit = commit_of(oldest.data) if oldest is not None else None
        return commit is not None and commit.n <= n

    async def _purge(self, below: int) -> None:
        oldest = await self._journal.first(self._subject)
        if oldest is not None and oldest.sequence < below:
            await self._journal.purge(self._subject, below=below)

    async def _below(self, sequence: int, *, pressed: bool) -> int:
        """Return below which sequence nothing is needed, at most that of a snapshot.

        Ages are told by the server's clock alone, because no owner's is to cost history.
        """
        newest = None if pressed else await self._journal.last(self._subject)
        if newest is None:
            return sequence
        since = datetime.fromisoformat(newest.time) - self._retention
        young = await self._journal.first(self._subject, since=since)
        return sequence if young is None else min(sequence, young.sequence)
