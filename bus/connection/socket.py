"""The socket below a NATS client, closed within bounds."""

import asyncio
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

CLOSE_SECONDS = 1.0
"""How long a closed connection may take to write what it still has."""

MOST_UNSENT_BYTES = 64 * 1024
"""What a peer that does not keep up may leave in the socket."""


class BoundedTcp(TcpTransport):
    """A TCP connection that a peer which no longer reads cannot hold open.

    That of nats-py waits until everything is written before it looks for another server, which the
    kernel gives up after a quarter of an hour; and it leaves refused connections open.
    """

    def __bool__(self) -> bool:
        """Say that it is made: nats-py would make one of its own otherwise."""
        return True

    @property
    def is_free(self) -> bool:
        """Whether it takes more: it is not being closed, and not much waits to be sent."""
        if self._io_writer is None:
            return False
        socket = self._io_writer.transport
        return not socket.is_closing() and socket.get_write_buffer_size() < MOST_UNSENT_BYTES

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
