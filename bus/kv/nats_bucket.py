"""A bucket on JetStream: the stream ``KV_<bucket>`` with the subjects ``$KV.<bucket>.<key>``.

The layout is that of NATS key-value stores, so ``nats kv`` reads it. Reads go to the leader of the
stream, because a replica asked directly may lag behind a write that was answered.
"""

from contextlib import AbstractAsyncContextManager
from typing import Generic, NamedTuple, TypeVar, cast

import anyio
import nats.errors
from nats.js.api import Header
from nats.js.errors import APIError, NotFoundError

from bus import codec
from bus.errors import FencedError, ProblemError, UnavailableError, problem
from bus.kv.bucket import Entry, Watch, Watcher
from bus.kv.client import Connection, JetStream
from bus.kv.nats_watch import OPERATION, Source, following, value_of

T = TypeVar("T")

STREAM_NOT_FOUND = 10059
WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
MESSAGE_TOO_LARGE = 10054


class NatsBucket(Generic[T]):
    """Values of ``kind`` in a bucket that is provisioned already.

    ``timeout`` is how many seconds one read or write may take.
    """

    def __init__(
        self, nc: Connection, js: JetStream, bucket: str, kind: type[T], *, timeout: float = 2.0
    ) -> None:
        self._nc = nc
        self._js = js
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._kind = kind
        self._timeout = timeout

    async def get(self, key: str) -> Entry[T] | None:
        """See ``Bucket.get``."""
        cell = await self._last(key)
        if cell is None or cell.data is None:
            return None
        try:
            return Entry(key, cell.revision, codec.decode(self._kind, cell.data))
        except ProblemError as error:
            raise problem("internal", f"stored entry {key}: {error.problem.message}") from None

    async def put(self, key: str, value: T, *, expected: int) -> int:
        """See ``Bucket.put``."""
        data = codec.encode(value)
        try:
            return await self._write(key, data, expected, {})
        except FencedError:
            # A removed key still has a revision: its marker's.
            standing = await self._last(key) if expected == 0 else None
            if standing is None or standing.data is not None:
                raise
        return await self._write(key, data, standing.revision, {})

    async def remove(self, key: str, *, expected: int) -> None:
        """See ``Bucket.remove``."""
        await self._write(key, b"", expected, {OPERATION: "DEL"})

    def watch(self, pattern: str, watcher: Watcher[T]) -> AbstractAsyncContextManager[Watch]:
        """See ``Bucket.watch``."""
        source = Source(self._nc, self._js, self._stream, self._prefix, pattern)
        return following(source, self._kind, watcher)

    async def _last(self, key: str) -> "_Cell | None":
        try:
            with anyio.fail_after(self._timeout):
                found = await self._js.get_msg(self._stream, subject=self._prefix + key)
        except NotFoundError as error:
            if error.err_code == STREAM_NOT_FOUND:
                raise UnavailableError(self._stream, "there is no such bucket") from None
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise UnavailableError(self._prefix + key, _reason(error)) from error
        headers = cast("dict[str, str] | None", found.headers)
        return _Cell(found.seq or 0, value_of(headers, found.data))

    async def _write(self, key: str, data: bytes, expected: int, headers: dict[str, str]) -> int:
        headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(expected)
        subject = self._prefix + key
        try:
            ack = await self._js.publish(subject, data, timeout=self._timeout, headers=headers)
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise FencedError(subject, expected) from None
            if error.err_code == MESSAGE_TOO_LARGE:
                raise _too_large(key) from None
            raise UnavailableError(subject, _reason(error)) from error
        except nats.errors.MaxPayloadError:
            raise _too_large(key) from None
        except (nats.errors.Error, TimeoutError) as error:
            raise UnavailableError(subject, _reason(error)) from error
        return ack.seq


class _Cell(NamedTuple):
    revision: int
    data: bytes | None


def _too_large(key: str) -> ProblemError:
    return problem("validation", f"{key} is too large for one message")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
