"""Blobs on JetStream: chunks of a content under the content's hash.

There is no manifest: the hash over the chunks says whether all are there. Storing the same content
again replaces each chunk by itself.
"""

from base64 import b64decode
from hashlib import sha256

from bus.connection import NatsTransport
from bus.errors import UnavailableError, problem
from bus.jetstream.direct_get import read_page
from bus.jetstream.publishing import store
from bus.streams.api import NO_MESSAGE, JetStream, JetStreamError
from bus.streams.spec import BLOBS
from bus.subjects import fill, filter_for, parse

CHUNK_BYTES = 512 * 1024
"""Half of a server's default limit for one message."""

SUBJECT = "_cb.blob.{name}.{chunk}"


class StreamBlobs:
    """See ``Blobs``."""

    def __init__(self, transport: NatsTransport, jetstream: JetStream) -> None:
        self._transport = transport
        self._jetstream = jetstream

    async def put(self, data: bytes) -> str:
        """See ``Blobs.put``.

        Raises:
            UnavailableError: not known to be stored.
        """
        name = sha256(data).hexdigest()
        for chunk, start in enumerate(range(0, max(len(data), 1), CHUNK_BYTES)):
            subject = fill(SUBJECT, name=name, chunk=str(chunk))
            try:
                await store(self._transport, subject, data[start : start + CHUNK_BYTES])
            except JetStreamError as error:
                raise UnavailableError(subject, error.description) from None
        return name

    async def has_room(self, size: int, *, reserve: float) -> bool:
        """See ``Blobs.has_room``."""
        try:
            info = await self._jetstream.stream_info(BLOBS)
        except JetStreamError as error:
            raise UnavailableError(BLOBS, error.description) from None
        most: int = info["config"]["max_bytes"]
        used: int = info["state"]["bytes"]
        return most <= 0 or used + size <= most * (1 - reserve)

    async def get(self, name: str) -> bytes:
        """See ``Blobs.get``.

        Raises:
            ProblemError: ``not_found``, also where a chunk is missing.
            UnavailableError: no answer.
        """
        for read in (self._from_any_replica, self._from_leader):
            data = await read(name)
            if data is not None and sha256(data).hexdigest() == name:
                return data
        raise problem("not_found", f"no blob {name}")

    async def remove(self, name: str) -> None:
        """See ``Blobs.remove``."""
        pattern = filter_for(SUBJECT, name=name)
        try:
            await self._jetstream.call(f"STREAM.PURGE.{BLOBS}", {"filter": pattern})
        except JetStreamError as error:
            raise UnavailableError(pattern, error.description) from None

    async def _from_any_replica(self, name: str) -> bytes | None:
        pattern = filter_for(SUBJECT, name=name)
        chunks: dict[int, bytes] = {}
        position = 1
        while page := await read_page(self._transport, BLOBS, pattern, position):
            for sequence, subject, data, _ in page:
                tokens = parse(SUBJECT, subject) or {}
                chunks[int(tokens["chunk"])] = data
                position = sequence + 1
        return b"".join(chunks[chunk] for chunk in sorted(chunks)) if chunks else None

    async def _from_leader(self, name: str) -> bytes | None:
        """Read chunk by chunk, because a replica may not have what was just stored."""
        chunks: list[bytes] = []
        while (chunk := await self._chunk(name, len(chunks))) is not None:
            chunks.append(chunk)
        return b"".join(chunks) if chunks else None

    async def _chunk(self, name: str, chunk: int) -> bytes | None:
        subject = fill(SUBJECT, name=name, chunk=str(chunk))
        try:
            query = {"last_by_subj": subject}
            answer = await self._jetstream.call(f"STREAM.MSG.GET.{BLOBS}", query)
        except JetStreamError as error:
            if error.code == NO_MESSAGE:
                return None
            raise UnavailableError(subject, error.description) from None
        return b64decode(answer["message"].get("data", ""))
