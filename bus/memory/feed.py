"""A whole journal in memory."""

from anyio.lowlevel import checkpoint

from bus.memory.store import MemoryStore
from bus.ports import FeedEnd, Filed

PAGE_MESSAGES = 256


class MemoryFeed:
    """See ``Feed``."""

    def __init__(self, store: MemoryStore, stream: str) -> None:
        self._store = store
        self._stream = stream

    async def end(self) -> FeedEnd:
        """See ``Feed.end``."""
        await checkpoint()
        sequences = [filed.sequence for filed in self._all()] or [0]
        return FeedEnd(min(sequences), max(sequences), self._stream)

    async def page(self, *, start: int) -> list[Filed]:
        """See ``Feed.page``."""
        await checkpoint()
        return sorted(filed for filed in self._all() if filed.sequence >= start)[:PAGE_MESSAGES]

    def _all(self) -> list[Filed]:
        everything = self._store.everything(self._stream)
        return [Filed(stored.sequence, subject, stored.data) for subject, stored in everything]
