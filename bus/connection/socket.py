"""The socket below a NATS client, closed within bounds."""

from urllib.parse import ParseResult

import anyio
from nats.aio.transport import TcpTransport

CLOSE_SECONDS = 1.0
"""How long a closed connection may take to write what it still has."""


class BoundedTcp(TcpTransport):
    """A TCP connection that a peer which no longer reads cannot hold open.

    That of nats-py waits until everything is written before it looks for another server, which the
    kernel gives up after a quarter of an hour; and it leaves refused connections open.
    """

    def __bool__(self) -> bool:
        """Say that it is made: nats-py would make one of its own otherwise."""
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect, and let go of an earlier connection."""
        self._abort()
        await super().connect(uri, buffer_size, connect_timeout)

    async def wait_closed(self) -> None:
        """Wait a moment for the end of a closed connection, then cut it."""
        with anyio.move_on_after(CLOSE_SECONDS) as scope:
            await super().wait_closed()
        if scope.cancelled_caught:
            self._abort()

    def _abort(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()
