"""The socket below a NATS client, read at once and closed within bounds."""

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import Any
from urllib.parse import ParseResult

import anyio
from nats.aio.transport import TcpTransport

CLOSE_SECONDS = 1.0
"""How long a closed connection may take to write what it still has."""

MOST_UNSENT_BYTES = 64 * 1024
"""What a peer that does not keep up may leave in the socket."""

Take = Callable[[bytes], bytes]
"""Takes what it can of what was read, at once, and returns the rest."""


class BoundedTcp(TcpTransport):
    """A TCP connection whose bytes are offered to ``take`` before they wait for a reader.

    To wake a task for each read from the socket costs more than to handle what it brought. What
    ``take`` leaves, and all that comes until it is read, goes the way of nats-py.

    A peer which no longer reads cannot hold the connection open. That of nats-py waits until
    everything is written before it looks for another server, which the kernel gives up after a
    quarter of an hour; and it leaves refused connections open.
    """

    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take
        self._unread = 0

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

    # Life

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect, and let go of an earlier connection."""
        self._abort()
        self._unread = 0
        protocol = self._protocol(buffer_size)
        connect = asyncio.get_running_loop().create_connection
        with anyio.fail_after(connect_timeout):
            transport, _ = await connect(lambda: protocol, uri.hostname or "", uri.port or 0)
        self._use(transport, protocol)
        self._bare_io_reader, self._bare_io_writer = self._io_reader, self._io_writer

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """Go on encrypted."""
        protocol = self._protocol(buffer_size)
        bare: Any = self._bare_io_writer
        name = uri if isinstance(uri, str) else uri.hostname
        encrypt = asyncio.get_running_loop().start_tls
        with anyio.fail_after(connect_timeout):
            transport: Any = await encrypt(
                bare.transport, protocol, ssl_context, server_hostname=name
            )
        self._use(transport, protocol)

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

    # Reading

    async def read(self, buffer_size: int) -> bytes:
        """Return bytes that were not taken."""
        data = await super().read(buffer_size)
        self._unread -= len(data)
        return data

    async def readline(self) -> bytes:
        """Return a line that was not taken."""
        line: bytes = await super().readline()
        self._unread -= len(line)
        return line

    def _left(self, data: bytes) -> bytes:
        """Offer what was read, unless earlier bytes still wait; return what is to wait."""
        left = data if self._unread else self._take(data)
        self._unread += len(left)
        return left

    def _protocol(self, buffer_size: int) -> "_Protocol":
        return _Protocol(asyncio.StreamReader(limit=buffer_size), self._left)

    def _use(self, transport: asyncio.Transport, protocol: "_Protocol") -> None:
        reader, loop = protocol.reader, asyncio.get_running_loop()
        self._io_reader = reader
        self._io_writer = asyncio.StreamWriter(transport, protocol, reader, loop)


class _Protocol(asyncio.StreamReaderProtocol):
    """Gives a reader what ``left`` leaves of what was read."""

    def __init__(self, reader: asyncio.StreamReader, left: Take) -> None:
        super().__init__(reader)
        self.reader = reader
        self._left = left

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        left = self._left(data)
        if left:
            super().data_received(left)
