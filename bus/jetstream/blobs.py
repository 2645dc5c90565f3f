"""Blobs on JetStream: chunks of a content under the content's name, which ends with its hash.

There is no manifest: the hash over the chunks says whether all are there. Storing the same content
again replaces each chunk by itself.
"""

from base64 import b64decode
from hashlib import sha256
from typing import Any

import anyio.to_thread

from bus.connection import NatsTransport
from bus.connection.transport import status_of
from bus.errors import DeadlineError, FullError, UnavailableError, problem
from bus.jetstream.direct_get import PAGE_SECONDS, read_page
from bus.jetstream.publishing import store
from bus.ports import Fill, StoredMessage
from bus.streams.api import NO_MESSAGE, JetStream, JetStreamError, fill_of
from bus.streams.spec import BLOBS
from bus.subjects import token

CHUNK_BYTES = 512 * 1024
"""Half of a server's default limit for one message."""

HASHED_APART_BYTES = 256 * 1024
"""Above this the hash is computed in a thread: a millisecond of the loop's time for each MiB."""

PREFIX = "_cb.blob"
ANY = "*"


class StreamBlobs:
    """See ``Blobs``."""

    def __init__(self, transport: NatsTransport, jetstream: JetStream) -> None:
        self._transport = transport
        self._jetstream = jetstream

    async def put(self, data: bytes, *, under: str = "", ttl: int | None = None) -> str:
        """See ``Blobs.put``."""
        digest = await _digest(data)
        name = f"{under}.{digest}" if under else digest
        headers = {"Nats-TTL": f"{ttl}s"} if ttl is not None else None
        for chunk, start in enumerate(range(0, max(len(data), 1), CHUNK_BYTES)):
            subject, part = _subject(name, str(chunk)), data[start : start + CHUNK_BYTES]
            try:
                await store(self._transport, subject, part, headers=headers)
            except JetStreamError as error:
                kind = FullError if error.is_full else UnavailableError
                raise kind(subject, error.description) from None
        return name

    async def names(self, under: str) -> list[str]:
        """See ``Blobs.names``. One request for each 100,000 chunks."""
        pattern, found, offset = f"{_subject(under)}.>", dict[str, None](), 0
        while True:
            info = await self._info(pattern, offset)
            page: dict[str, int] = info["state"].get("subjects") or {}
            found |= dict.fromkeys(_name(subject) for subject in page)
            offset += len(page)
            if not page or offset >= int(info.get("total", 0)):
                return list(found)

    async def fill(self) -> Fill:
        """See ``Blobs.fill``."""
        return fill_of(await self._info())

    async def get(self, name: str) -> bytes:
        """See ``Blobs.get``.

        Raises:
            ProblemError: ``not_found``, also where a chunk is missing.
            UnavailableError: no answer.
        """
        for read in (self._alone, self._from_any_replica, self._from_leader):
            data = await read(name)
            if data is not None and await _digest(data) == name.rpartition(".")[2]:
                return data
        raise problem("not_found", f"no blob {name}")

    async def newest(self, name: str) -> StoredMessage | None:
        """See ``Blobs.newest``."""
        newest, position = None, 1
        while page := await read_page(self._transport, BLOBS, _subject(name, ANY), position):
            newest = page[-1]
            position = newest.sequence + 1
        return StoredMessage(newest.sequence, b"", newest.time) if newest is not None else None

    async def remove(self, name: str, *, below: int | None = None) -> None:
        """See ``Blobs.remove``."""
        pattern = _subject(name, ANY)
        query: dict[str, Any] = {"filter": pattern}
        if below is not None:
            query["seq"] = below
        try:
            await self._jetstream.call(f"STREAM.PURGE.{BLOBS}", query)
        except JetStreamError as error:
            raise UnavailableError(pattern, error.description) from None

    async def _alone(self, name: str) -> bytes | None:
        """Return a blob of a single chunk: its subject is looked up, and no block is searched."""
        subject = f"$JS.API.DIRECT.GET.{BLOBS}.{_subject(name, '0')}"
        try:
            found = await self._transport.request(subject, b"", timeout=PAGE_SECONDS)
        except DeadlineError as error:
            raise UnavailableError(subject, str(error)) from None
        is_whole = status_of(found) is None and len(found.data) < CHUNK_BYTES
        return found.data if is_whole else None

    async def _from_any_replica(self, name: str) -> bytes | None:
        pattern = _subject(name, ANY)
        chunks: dict[int, bytes] = {}
        position = 1
        while page := await read_page(self._transport, BLOBS, pattern, position):
            for sequence, subject, data, _ in page:
                chunks[int(subject.rpartition(".")[2])] = data
                position = sequence + 1
        return b"".join(chunks[chunk] for chunk in sorted(chunks)) if chunks else None

    async def _from_leader(self, name: str) -> bytes | None:
        """Read chunk by chunk, because a replica may not have what was just stored."""
        chunks: list[bytes] = []
        while (chunk := await self._chunk(name, len(chunks))) is not None:
            chunks.append(chunk)
        return b"".join(chunks) if chunks else None

    async def _chunk(self, name: str, chunk: int) -> bytes | None:
        subject = _subject(name, str(chunk))
        try:
            query = {"last_by_subj": subject}
            answer = await self._jetstream.call(f"STREAM.MSG.GET.{BLOBS}", query)
        except JetStreamError as error:
            if error.code == NO_MESSAGE:
                return None
            raise UnavailableError(subject, error.description) from None
        return b64decode(answer["message"].get("data", ""))

    async def _info(self, pattern: str | None = None, offset: int = 0) -> dict[str, Any]:
        try:
            return await self._jetstream.stream_info(BLOBS, subjects=pattern, offset=offset)
        except JetStreamError as error:
            raise UnavailableError(BLOBS, error.description) from None


async def _digest(data: bytes) -> str:
    if len(data) <= HASHED_APART_BYTES:
        return sha256(data).hexdigest()
    return await anyio.to_thread.run_sync(lambda: sha256(data).hexdigest())


def _subject(name: str, *chunk: str) -> str:
    """Return where a chunk of a blob lies, all chunks, or without one what blobs lie under."""
    return ".".join((PREFIX, *(token(part, "name") for part in name.split(".")), *chunk))


def _name(subject: str) -> str:
    return subject.removeprefix(f"{PREFIX}.").rpartition(".")[0]
