"""Writes the commits of a shard as its owner does."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bus.codec import encode
from bus.shard.book import ShardBook
from bus.shard.turn import PendingCommand, take_turn
from schemas.entity import Entity
from schemas.journal import Commit, Entry, SnapshotRef

BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class GoldenJournal(msgspec.Struct):
    """A shard's life as bytes: message ``n`` of the stream is ``commits[n - 1]``."""

    commits: list[msgspec.Raw]
    snapshot: msgspec.Raw


class Recorder:
    """Takes turns as an owner does and keeps the bytes that it would store."""

    def __init__(self, entity: Entity[Any, Any, Any]) -> None:
        self.book: ShardBook = ShardBook(entity)
        self.now = BEGAN
        self._commits: list[msgspec.Raw] = []
        self._snapshot = msgspec.Raw(b"null")
        self._newest: SnapshotRef | None = None

    def take_over(self) -> None:
        """Begin the next epoch."""
        self._store(epoch=self.book.epoch + 1, owner=f"agents-{self.book.epoch + 1}", entries=[])

    def turn(self, *batch: PendingCommand, seconds: float = 1.0) -> None:
        """Decide letters, so many seconds later."""
        self.now += timedelta(seconds=seconds)
        entries = take_turn(self.book, batch, self.now).entries
        self._store(epoch=self.book.epoch, entries=entries)

    def take_snapshot(self) -> None:
        """Take a snapshot; the next commit points to it."""
        self._snapshot = msgspec.Raw(encode(self.book.image()))
        name = hashlib.sha256(self._snapshot).hexdigest()
        self._newest = SnapshotRef(blob=name, n=self.book.n, sequence=self.book.n)

    def golden(self) -> GoldenJournal:
        """Return all of it."""
        return GoldenJournal(self._commits, self._snapshot)

    def _store(self, *, epoch: int, entries: Sequence[Entry], owner: str | None = None) -> None:
        n = self.book.n + 1
        commit = Commit(
            n=n,
            epoch=epoch,
            turn=f"agents-{epoch}.{epoch}.{n}",
            at=self.now,
            version=self.book.entity.version,
            owner=owner,
            settled=max(0, n - 3),
            snapshot=self._newest,
            entries=list(entries),
        )
        self._commits.append(msgspec.Raw(encode(commit)))
        self.book.mark(commit)
