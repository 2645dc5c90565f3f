"""A journal in memory."""

from collections.abc import AsyncIterator
from datetime import datetime

from anyio.lowlevel import checkpoint

from bus.memory.store import MemoryStore
from bus.ports import Fill, StoredMessage


class MemoryJournal:
    """The subjects of one stream of a store."""

    def __init__(self, store: MemoryStore, stream: str) -> None:
        self._store = store
        self._stream = stream

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        """See ``Journal.append``."""
        await checkpoint()
        return self._store.append(self._stream, subject, data, expected)

    async def last(self, subject: str) -> StoredMessage | None:
        """See ``Journal.last``."""
        await checkpoint()
        return self._store.last(self._stream, subject)

    async def first(self, subject: str, *, since: datetime | None = None) -> StoredMessage | None:
        """See ``Journal.first``."""
        await checkpoint()
        return self._store.first(self._stream, subject, since)

    async def fill(self) -> Fill:
        """See ``Journal.fill``."""
        await checkpoint()
        return self._store.fill(self._stream)

    async def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        """See ``Journal.read``."""
        await checkpoint()
        for stored in self._store.read(self._stream, subject, start):
            yield stored

    async def purge(self, subject: str, *, below: int) -> None:
        """See ``Journal.purge``."""
        await checkpoint()
        self._store.purge(self._stream, subject, below)
