"""The socket below a NATS client, closed within bounds."""

import asyncio
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

CLOSE_SECONDS = 1.0
"""How long a closed connection may take to write what it still has."""

MOST_UNWRITTEN_BYTES = 64 * 1024
"""With more that waits for the socket, who publishes waits too."""


class BoundedTcp(TcpTransport):
    """A TCP connection that a peer which no longer reads cannot hold open.

    That of nats-py waits until everything is written before it looks for another server, which the
    kernel gives up after a quarter of an hour; and it leaves refused connections open.
    """

    def __bool__(self) -> bool:
        """Say that it is made: nats-py would make one of its own otherwise."""
        return True

    @property
    def is_open(self) -> bool:
        """Whether single messages may be written: unencrypted, and not much waits to be written.

        TLS makes a record of each write.
        """
        writer = self._io_writer
        if writer is None or writer is not self._bare_io_writer:
            return False
        socket = writer.transport
        return not socket.is_closing() and socket.get_write_buffer_size() < MOST_UNWRITTEN_BYTES

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect, and let go of an earlier connection."""
        self._abort()
        await super().connect(uri, buffer_size, connect_timeout)

    async def wait_closed(self) -> None:
        """Wait for the end of a closed connection, and cut it after a moment.

        All who wait share one future, so that none of them may be cancelled in it.
        """
        cut = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._abort)
        try:
            await asyncio.shield(super().wait_closed())
        finally:
            cut.cancel()

    def _abort(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()
