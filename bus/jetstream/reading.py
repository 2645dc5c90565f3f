"""Reading what streams hold of some subjects."""

from bus.connection import NatsTransport
from bus.jetstream.direct_get import PAGE_MESSAGES, DirectRead, read_page
from bus.ports import StoredMessage


class StreamReader:
    """Reads any stream, in pages, without a consumer. Methods raise ``UnavailableError``."""

    def __init__(self, transport: NatsTransport) -> None:
        self._transport = transport

    async def read_subject(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> list[StoredMessage]:
        """Return the first ``limit`` messages that match ``subject`` from a sequence on."""
        reads = await self._read(stream, subject, start, limit)
        return [StoredMessage(read.sequence, read.data) for read in reads]

    async def read_batch(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> list[StoredMessage]:
        """Return what one request brings of ``read_subject``: bounded in bytes, too.

        Fewer than ``limit`` do not prove the end of what is stored, only none do.
        """
        page = await read_page(self._transport, stream, subject, start, limit=limit)
        return [StoredMessage(read.sequence, read.data) for read in page]

    async def _read(self, stream: str, subject: str, start: int, limit: int) -> list[DirectRead]:
        found: list[DirectRead] = []
        while len(found) < limit:
            most = min(PAGE_MESSAGES, limit - len(found))
            page = await read_page(self._transport, stream, subject, start, limit=most)
            if not page:
                break
            found.extend(page)
            start = page[-1].sequence + 1
        return found[:limit]
