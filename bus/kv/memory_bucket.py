"""A bucket in memory: the counterpart of the one on NATS, for tests and simulation."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Generic, NamedTuple, TypeVar

from bus import codec, subjects
from bus.errors import FencedError
from bus.kv.bucket import BucketEntry, BucketWatch, Watcher

T = TypeVar("T")


class MemoryBucket(Generic[T]):
    """Values are kept encoded, so that what comes out has been through the codec.

    Watchers are told within the write, so a watch is always fresh.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._revision = 0
        self._cells: dict[str, _Cell] = {}
        self._watchers: list[tuple[str, Watcher[T]]] = []
        self._size_watchers: list[tuple[str, Watcher[int]]] = []

    async def get(self, key: str) -> BucketEntry[T] | None:
        """See ``Bucket.get``."""
        cell = self._cells.get(key)
        return (
            None
            if cell is None or cell.data is None
            else self._entry(key, cell.revision, cell.data)
        )

    async def put(self, key: str, value: T, *, expected: int) -> int:
        """See ``Bucket.put``."""
        return self._write(key, codec.encode(value), expected)

    async def remove(self, key: str, *, expected: int) -> None:
        """See ``Bucket.remove``."""
        self._write(key, None, expected)

    async def erase(self, key: str) -> None:
        """See ``Bucket.erase``."""
        cell = self._cells.get(key)
        if cell is not None and cell.data is not None:
            self._write(key, None, cell.revision)
        self._cells.pop(key, None)

    @asynccontextmanager
    async def watch_sizes(self, pattern: str, watcher: Watcher[int]) -> AsyncGenerator[BucketWatch]:
        """See ``Bucket.watch_sizes``."""
        watcher.cleared()
        for key, cell in sorted(self._cells.items(), key=lambda item: item[1].revision):
            _tell_size(pattern, watcher, key, cell)
        following = (pattern, watcher)
        self._size_watchers.append(following)
        try:
            yield _Present()
        finally:
            self._size_watchers.remove(following)

    @asynccontextmanager
    async def watch(self, pattern: str, watcher: Watcher[T]) -> AsyncGenerator[BucketWatch]:
        """See ``Bucket.watch``."""
        watcher.cleared()
        for key, cell in sorted(self._cells.items(), key=lambda item: item[1].revision):
            self._tell(pattern, watcher, key, cell)
        following = (pattern, watcher)
        self._watchers.append(following)
        try:
            yield _Present()
        finally:
            self._watchers.remove(following)

    def _write(self, key: str, data: bytes | None, expected: int) -> int:
        standing = self._cells.get(key)
        if expected != (0 if standing is None or standing.data is None else standing.revision):
            raise FencedError(key, expected)
        self._revision += 1
        self._cells[key] = _Cell(self._revision, data)
        for pattern, watcher in self._watchers:
            self._tell(pattern, watcher, key, self._cells[key])
        for pattern, sizes in self._size_watchers:
            _tell_size(pattern, sizes, key, self._cells[key])
        return self._revision

    def _tell(self, pattern: str, watcher: Watcher[T], key: str, cell: "_Cell") -> None:
        if not subjects.matches(pattern, key):
            return
        if cell.data is None:
            watcher.removed(key, cell.revision)
        else:
            watcher.changed(self._entry(key, cell.revision, cell.data))

    def _entry(self, key: str, revision: int, data: bytes) -> BucketEntry[T]:
        return BucketEntry(key, revision, codec.decode(self._kind, data))


class _Cell(NamedTuple):
    revision: int
    data: bytes | None


def _tell_size(pattern: str, watcher: Watcher[int], key: str, cell: _Cell) -> None:
    if not subjects.matches(pattern, key):
        return
    if cell.data is None:
        watcher.removed(key, cell.revision)
    else:
        watcher.changed(BucketEntry(key, cell.revision, len(cell.data)))


class _Present:
    fresh = True

    async def catch_up(self, *, timeout: float) -> None:
        """Nothing is ever behind."""
