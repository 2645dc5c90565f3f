"""A whole journal on JetStream, read in pages from whichever replica answers."""

from bus.connection import NatsTransport
from bus.errors import UnavailableError
from bus.jetstream.direct_get import read_page
from bus.jetstream.journal import JetStreamJournal
from bus.ports import FeedEnd, Filed
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import journal_stream
from bus.subjects import journal_filter

PAGE_BYTES = 1024**2
"""To take in more at once would hold up the loop for tens of milliseconds."""


class JetStreamFeed:
    """See ``Feed``. It needs no consumer: what is read, and how far, only the reader knows."""

    def __init__(self, transport: NatsTransport, jetstream: JetStream, entity: str) -> None:
        self._transport = transport
        self._jetstream = jetstream
        self._stream = journal_stream(entity)
        self._filter = journal_filter(entity)
        self._leader = JetStreamJournal(transport, jetstream, self._stream)

    async def end(self) -> FeedEnd:
        """See ``Feed.end``."""
        try:
            info = await self._jetstream.stream_info(self._stream)
        except JetStreamError as error:
            raise UnavailableError(self._filter, error.description) from None
        # The stream holds states at rest as well, which are no part of the journal.
        newest = await self._leader.last(self._filter)
        if newest is None:
            return FeedEnd(0, 0, info["created"])
        query = {"seq": 1, "next_by_subj": self._filter}
        first = await self._leader.filed(self._filter, query)
        return FeedEnd(first[0].sequence if first else 0, newest.sequence, info["created"])

    async def page(self, *, start: int) -> list[Filed]:
        """See ``Feed.page``."""
        page = await read_page(
            self._transport, self._stream, self._filter, start, most_bytes=PAGE_BYTES
        )
        return [Filed(read.sequence, read.subject, read.data) for read in page]
