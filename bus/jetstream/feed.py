"""A whole journal on JetStream, read in pages from whichever replica answers."""

from bus.connection import NatsTransport
from bus.errors import UnavailableError
from bus.jetstream.direct_get import read_page
from bus.ports import FeedEnd, Filed
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import journal_stream
from bus.subjects import journal_filter


class JetStreamFeed:
    """See ``Feed``. It needs no consumer: what is read, and how far, only the reader knows."""

    def __init__(self, transport: NatsTransport, jetstream: JetStream, entity: str) -> None:
        self._transport = transport
        self._jetstream = jetstream
        self._stream = journal_stream(entity)
        self._filter = journal_filter(entity)

    async def end(self) -> FeedEnd:
        """See ``Feed.end``."""
        try:
            info = await self._jetstream.stream_info(self._stream)
        except JetStreamError as error:
            raise UnavailableError(self._filter, error.description) from None
        state = info["state"]
        if not state["messages"]:
            return FeedEnd(0, 0, info["created"])
        return FeedEnd(state["first_seq"], state["last_seq"], info["created"])

    async def page(self, *, start: int) -> list[Filed]:
        """See ``Feed.page``."""
        page = await read_page(self._transport, self._stream, self._filter, start)
        return [Filed(read.sequence, read.subject, read.data) for read in page]
