"""One connection to a server, on which one exchange goes on at a time."""

import asyncio
from collections.abc import Callable
from typing import cast

from bus.http.errors import HttpNotSentError, HttpSilentError
from bus.http.intake import Intake
from bus.http.limits import PIECE_BYTES, UNREAD_BYTES, HttpLimits
from bus.http.reading import Reading

_FREE_BYTES = 2 * 1024
"""A read of a token stream: it is parsed at once and not counted."""

_WRITE_BYTES = 64 * 1024
"""What is written at a time; a larger request waits for the server to take it."""


Heard = Callable[["HttpConnection"], None]
"""Hears that a connection is open, or closed."""


class HttpConnection(asyncio.Protocol):
    """A connection; ``exchanges`` counts those that were begun on it.

    ``heard`` hears of its opening and of its loss, each once. ``read_paused``: so much is unread
    that the socket is not read any further. One task at a time waits on a connection: for the
    head, for a piece of the body, or for room to write.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        intake: Intake,
        limits: HttpLimits,
        heard: tuple[Heard, Heard],
    ) -> None:
        self._loop = loop
        self._made, self._gone = heard
        self._intake = intake
        self._limits = limits
        self._transport: asyncio.Transport
        self._reading: Reading | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._backlog = bytearray()
        self._queued = False
        self.read_paused = False
        self._write_paused = False
        self._lost = False
        self._looks: float | None = None
        self._waited = 0.0
        self.is_made = False
        self.exchanges = 0
        self.idle_since = 0.0

    @property
    def is_answered(self) -> bool:
        """Whether any byte has come since the present exchange began."""
        return self._reading is not None and self._reading.brought > 0

    @property
    def transport(self) -> asyncio.Transport:
        """The transport underneath."""
        return self._transport

    # What an exchange does

    async def ask(
        self, head: bytes, body: bytes, *, bodiless: bool, patience: float | None
    ) -> Reading:
        """Send a request and return its answer once the head is there.

        ``patience`` bounds each wait for a piece of the body, in seconds. Whatever is raised, the
        connection must be aborted.

        Raises:
            HttpNotSentError: the connection is closed already.
            HttpBrokenError: no answer came, or one that is not readable or too large.
        """
        if self._lost or self._transport.is_closing():
            raise HttpNotSentError("The connection is closed.")
        self._reading = reading = Reading(self._limits, bodiless=bodiless)
        self.exchanges += 1
        self._looks = None
        if len(body) <= _WRITE_BYTES:
            self._transport.write(head + body if body else head)
        else:
            await self._write(reading, head, body)
        while not reading.headed:
            if reading.failure is not None:
                raise reading.failure
            await self._wait()
        self._looks = patience
        return reading

    async def arrival(self, reading: Reading) -> None:
        """Wait until there is an unread piece, the end or a failure."""
        while not (reading.pieces or reading.done or reading.failure):
            await self._wait()

    def go_on_reading(self) -> None:
        """Read the socket again, after ``read_paused``: what had been read is taken."""
        self.read_paused = False
        self._resume()

    def release(self) -> bool:
        """End the exchange and return whether another one may begin on this connection."""
        reading, self._reading = self._reading, None
        if (
            reading is not None
            and reading.keeps
            and reading.done
            and not (self._backlog or self._lost or self._transport.is_closing())
        ):
            if self.read_paused:
                # Of its body not all was read, but it has come whole.
                self.read_paused = False
                self._transport.resume_reading()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close the connection at once; what has not been parsed is not wanted."""
        self._backlog.clear()
        self._transport.abort()

    def abandon(self) -> None:
        """Take note that opening the connection failed.

        If that is cancelled late, uvloop (0.22) closes the transport without telling its protocol,
        and the connection would keep its place in the pool for ever.
        """
        if self.is_made:
            self.abort()
            self.connection_lost(None)

    def look(self, seconds: float) -> None:
        """Count the time of a wait for the body, once in so many seconds, and end it in time."""
        if self._looks is None or self._waiter is None or self._reading is None:
            return
        self._waited += seconds
        # The wait may have begun just before the first look.
        if self._waited - seconds >= self._looks:
            self._reading.fail(HttpSilentError("The server fell silent."))
            self._wake()
            self.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the server."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_made = True
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, or as much as the turn has room for."""
        reading = self._reading
        if reading is None:
            # Nobody has asked: whatever this is, it answers no later request either.
            self.abort()
            return
        size = len(data)
        if not self._backlog and (
            size <= _FREE_BYTES or (size <= PIECE_BYTES and self._intake.takes(size))
        ):
            self._parse(reading, data)
            return
        self._backlog += data
        self._transport.pause_reading()
        self._queue()

    def go_on(self) -> int:
        """Parse the next piece of what waits, and return its size."""
        self._queued = False
        reading = self._reading
        if reading is None or self.read_paused or not self._backlog:
            return 0
        piece = bytes(self._backlog[:PIECE_BYTES])
        del self._backlog[:PIECE_BYTES]
        self._parse(reading, piece)
        if not self.read_paused:
            self._resume()
        return len(piece)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end, behind what has come before it."""
        del exc
        if self._lost:
            return
        self._lost = True
        self._write_paused = False
        if not self._backlog:
            self._end()
        self._gone(self)

    def pause_writing(self) -> None:
        """The server does not take what is written."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The server has taken most of what was written."""
        self._write_paused = False
        self._wake()

    # Inside

    def _parse(self, reading: Reading, data: bytes) -> None:
        reading.feed(data)
        if reading.failure is not None:
            self.abort()
        elif reading.unread > UNREAD_BYTES and not self.read_paused:
            self.read_paused = True
            if not self._lost:
                self._transport.pause_reading()
        if self._waiter is not None and (reading.headed or reading.failure is not None):
            self._wake()

    async def _write(self, reading: Reading, head: bytes, body: bytes) -> None:
        """Write a large request in pieces, no faster than the server takes them.

        A server may answer before it has read all. Then the rest is not sent, and the connection
        cannot be kept.
        """
        self._transport.write(head)
        rest = memoryview(body)
        while rest:
            while self._write_paused and not (reading.headed or reading.failure):
                await self._wait()
            if reading.headed or reading.failure:
                reading.forbid_reuse()
                return
            self._transport.write(rest[:_WRITE_BYTES])
            rest = rest[_WRITE_BYTES:]

    async def _wait(self) -> None:
        self._waited = 0.0
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        """Parse what waits, else read on."""
        if self._backlog:
            self._queue()
        elif self._lost:
            self._end()
        else:
            self._transport.resume_reading()

    def _queue(self) -> None:
        if not self._queued and not self.read_paused:
            self._queued = True
            self._intake.wait(self)

    def _end(self) -> None:
        if self._reading is not None:
            self._reading.end()
        self._wake()
