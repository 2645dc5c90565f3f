"""A bucket on JetStream. Every operation is one request to the leader of its stream."""

from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from bus import codec
from bus.connection import NatsTransport
from bus.errors import FencedError, ProblemError, UnavailableError, problem
from bus.jetstream.publishing import store
from bus.kv.bucket import BucketEntry, BucketWatch, Watcher
from bus.kv.message import OPERATION, Cell, newest
from bus.kv.nats_watch import WatchSource, following
from bus.streams.api import WRONG_LAST_SEQUENCE, JetStream, JetStreamError

T = TypeVar("T")

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
MESSAGE_TOO_LARGE = 10054

MARK_SECONDS = 60
"""How long the mark of an erased key stands: the server sends it to those who watch meanwhile."""


class NatsBucket(Generic[T]):
    """Values of ``kind`` in a bucket that is provisioned already."""

    def __init__(
        self, transport: NatsTransport, jetstream: JetStream, bucket: str, kind: type[T]
    ) -> None:
        self._transport = transport
        self._jetstream = jetstream
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._kind = kind

    async def get(self, key: str) -> BucketEntry[T] | None:
        """See ``Bucket.get``."""
        cell = await self._newest(key)
        if cell is None or cell.data is None:
            return None
        try:
            return BucketEntry(key, cell.revision, codec.decode(self._kind, cell.data))
        except ProblemError as error:
            raise problem("internal", f"stored entry {key}: {error.problem.message}") from None

    async def put(self, key: str, value: T, *, expected: int) -> int:
        """See ``Bucket.put``."""
        data = codec.encode(value)
        try:
            return await self._write(key, data, expected, {})
        except FencedError:
            # A removed key still has a revision: that of its removal.
            standing = await self._newest(key) if expected == 0 else None
            if standing is None or standing.data is not None:
                raise
        return await self._write(key, data, standing.revision, {})

    async def remove(self, key: str, *, expected: int) -> None:
        """See ``Bucket.remove``."""
        await self._write(key, b"", expected, {OPERATION: "DEL"})

    async def erase(self, key: str) -> None:
        """See ``Bucket.erase``. The mark of removal is for those who watch; then it goes as well.

        Who is away for longer does not see it, and learns of the removal when it begins anew.
        """
        cell = await self._newest(key)
        if cell is None or cell.data is None:
            return
        mark = {OPERATION: "DEL", "Nats-TTL": f"{MARK_SECONDS}s"}
        await self._write(key, b"", cell.revision, mark)
        subject = self._prefix + key
        try:
            request = {"filter": subject, "keep": 1}
            await self._jetstream.call(f"STREAM.PURGE.{self._stream}", request)
        except JetStreamError as error:
            raise UnavailableError(subject, error.description) from None

    def watch(self, pattern: str, watcher: Watcher[T]) -> AbstractAsyncContextManager[BucketWatch]:
        """See ``Bucket.watch``."""
        return following(self._source(pattern), self._kind, watcher)

    def watch_sizes(
        self, pattern: str, watcher: Watcher[int]
    ) -> AbstractAsyncContextManager[BucketWatch]:
        """See ``Bucket.watch_sizes``."""
        return following(self._source(pattern)._replace(sizes=True), int, watcher)

    def _source(self, pattern: str) -> WatchSource:
        return WatchSource(self._transport, self._jetstream, self._stream, self._prefix, pattern)

    async def _newest(self, key: str) -> Cell | None:
        subject = self._prefix + key
        try:
            return await newest(self._jetstream, self._stream, subject)
        except JetStreamError as error:
            raise UnavailableError(subject, error.description) from None

    async def _write(self, key: str, data: bytes, expected: int, headers: dict[str, str]) -> int:
        subject = self._prefix + key
        headers[EXPECTED] = str(expected)
        try:
            ack = await store(self._transport, subject, data, headers=headers)
        except JetStreamError as error:
            if error.code in WRONG_LAST_SEQUENCE:
                raise FencedError(subject, expected) from None
            if error.code == MESSAGE_TOO_LARGE:
                raise problem("validation", f"{key} is too large for its bucket") from None
            raise UnavailableError(subject, error.description) from None
        return ack.seq
