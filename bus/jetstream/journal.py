"""A journal on JetStream: the subjects of one stream, each fenced by its own last sequence."""

from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import structlog

from bus.connection import NatsTransport
from bus.errors import FencedError, FullError, UnavailableError
from bus.jetstream.direct_get import read_page
from bus.jetstream.publishing import store
from bus.ports import Filed, Fill, StoredMessage
from bus.streams.api import (
    NO_MESSAGE,
    WRONG_LAST_SEQUENCE,
    JetStream,
    JetStreamError,
    fill_of,
)

log = structlog.get_logger()

EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class JetStreamJournal:
    """See ``Journal``. The stream's leader says what is true now, any replica what was before."""

    def __init__(self, transport: NatsTransport, jetstream: JetStream, stream: str) -> None:
        self._transport = transport
        self._jetstream = jetstream
        self._stream = stream

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        """See ``Journal.append``."""
        try:
            ack = await store(self._transport, subject, data, headers={EXPECTED: str(expected)})
        except JetStreamError as error:
            if error.code in WRONG_LAST_SEQUENCE:
                raise FencedError(subject, expected) from None
            if error.is_full:
                raise FullError(subject, error.description) from None
            log.warning("journal.refused", stream=self._stream, error=error.description)
            raise UnavailableError(subject, error.description) from None
        return ack.seq

    async def last(self, subject: str) -> StoredMessage | None:
        """See ``Journal.last``. A replica could be behind, and then the wrong owner would go on."""
        return await self._from_leader(subject, {"last_by_subj": subject})

    async def first(self, subject: str, *, since: datetime | None = None) -> StoredMessage | None:
        """See ``Journal.first``."""
        start = {"start_time": since.isoformat()} if since else {"seq": 1}
        return await self._from_leader(subject, {**start, "next_by_subj": subject})

    async def fill(self) -> Fill:
        """See ``Journal.fill``."""
        try:
            return fill_of(await self._jetstream.stream_info(self._stream))
        except JetStreamError as error:
            raise UnavailableError(self._stream, error.description) from None

    async def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        """See ``Journal.read``.

        Raises:
            UnavailableError: no answer; begin again behind what was yielded.
        """
        newest = await self.last(subject)
        end = newest.sequence if newest else 0
        position = max(start, 1)
        while position <= end:
            for stored in await self._page(subject, position):
                yield stored
                position = stored.sequence + 1

    async def purge(self, subject: str, *, below: int) -> None:
        """See ``Journal.purge``.

        Raises:
            UnavailableError: not known to be done.
        """
        try:
            await self._jetstream.call(
                f"STREAM.PURGE.{self._stream}", {"filter": subject, "seq": below}
            )
        except JetStreamError as error:
            raise UnavailableError(subject, error.description) from None

    async def _page(self, subject: str, position: int) -> list[StoredMessage]:
        """Return what follows; where the replica that was asked knows nothing, ask the leader."""
        page = await read_page(self._transport, self._stream, subject, position)
        if page:
            return [StoredMessage(read.sequence, read.data, read.time) for read in page]
        following = await self._from_leader(subject, {"seq": position, "next_by_subj": subject})
        if following is None:
            raise UnavailableError(subject, "was purged while it was read")
        return [following]

    async def filed(self, subject: str, query: dict[str, Any]) -> tuple[Filed, str] | None:
        """Return the message that a query of JetStream's leads to, with its time, by the leader.

        Raises:
            UnavailableError: no answer.
        """
        try:
            answer = await self._jetstream.call(f"STREAM.MSG.GET.{self._stream}", query)
        except JetStreamError as error:
            if error.code == NO_MESSAGE:
                return None
            raise UnavailableError(subject, error.description) from None
        message = answer["message"]
        data = b64decode(message.get("data", ""))
        return Filed(message["seq"], message["subject"], data), message.get("time", "")

    async def _from_leader(self, subject: str, query: dict[str, Any]) -> StoredMessage | None:
        found = await self.filed(subject, query)
        return StoredMessage(found[0].sequence, found[0].data, found[1]) if found else None
