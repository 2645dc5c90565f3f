"""The connections to providers, which read no more than the loop and an answer can bear.

aiohttp parses all that a read of the socket brought, up to 256 KiB, in one go: with answers made of
tiny chunks or of interim responses that takes long, once for each connection that has something.
Here a process parses so many bytes in a turn of its loop, whatever number of connections they came
from; the rest waits, and is not read further meanwhile.

What comes besides the body (status lines, interim responses, headers, the framing of chunks, their
extensions and trailers) is bounded by what comes of a body.
"""

import asyncio
from collections import deque
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception

PIECE_BYTES = 32 * 1024
"""What is parsed at a time. Deltas of one piece are one message: smaller ones cost more."""

TURN_BYTES = 2 * PIECE_BYTES
"""About what a process parses in a turn of its loop."""

_FREE_BYTES = 2 * 1024
"""A read of a token stream; it is neither cut nor counted. So much of a head is parsed at a time:
interim responses cost a hundred times what a body does."""

OVERHEAD_BYTES = 256 * 1024
OVERHEAD_RATIO = 16
"""A connection is cut that brings more than so many bytes, and so many for each byte of a body."""


class Intake:
    """The bytes that the connections of one process have parsed in this turn of its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = TURN_BYTES
        self._renewing = False
        self._waiting: deque[Connection] = deque()

    def takes(self, size: int) -> bool:
        """Whether so many bytes may be parsed in this turn; counts them if so."""
        if self._left <= 0 or self._waiting:
            return False
        self._left -= size
        self._renew()
        return True

    def wait(self, connection: "Connection") -> None:
        """Let a connection parse its next piece in a later turn."""
        self._waiting.append(connection)
        self._renew()

    def _renew(self) -> None:
        if not self._renewing:
            self._renewing = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._renewing = False
        self._left = TURN_BYTES
        while self._waiting and self._left > 0:
            self._left -= self._waiting.popleft().go_on()
        if self._waiting:
            self._renew()


class Connection(ResponseHandler):
    """A connection to a provider.

    It goes on reading only where it had stopped; that of aiohttp (3.14) runs its parser over
    nothing after each read of a body.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, intake: Intake) -> None:
        super().__init__(loop)
        self._intake = intake
        self._unparsed = bytearray()
        self._queued = False
        self._brought = 0
        self._lost: tuple[BaseException | None] | None = None

    @property
    def should_close(self) -> bool:
        """Whether the connection cannot serve another request."""
        return bool(self._unparsed) or super().should_close

    def set_response_params(self, **params: Any) -> None:
        """Another request begins."""
        self._brought = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, or as much as the turn has room for."""
        size = len(data)
        small = size <= _FREE_BYTES or (size <= self._most and self._intake.takes(size))
        if small and not self._unparsed:
            self._parse(data)
        else:
            self._unparsed += data
            self._pause_transport_reading()
            self._queue()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  aiohttp's
        """Go on, where reading had stopped."""
        if self._reading_paused:
            super().resume_reading(resume_parser)
            self._queue()

    def go_on(self) -> int:
        """Parse the next piece of what waits, and return how much of a turn that takes."""
        self._queued = False
        most = self._most
        piece = bytes(self._unparsed[:most])
        if not piece or self._reading_paused:
            return 0
        del self._unparsed[:most]
        self._parse(piece)
        if self._unparsed:
            self._queue()
        elif self._lost is not None:
            self._end()
        elif not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()
        return len(piece) if most == PIECE_BYTES else TURN_BYTES

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note of the end, behind what has come before it."""
        self._lost = (exc,)
        if not self._unparsed:
            self._end()

    def close(self) -> None:
        """Close the connection: what has not been parsed is not wanted."""
        self._forget()
        super().close()

    def abort(self) -> None:
        """Break the connection: what has not been parsed is not wanted."""
        self._forget()
        super().abort()

    @property
    def _most(self) -> int:
        """How much may be parsed at a time."""
        in_body = self._payload is not None and self._payload.total_bytes > 0
        return PIECE_BYTES if in_body else _FREE_BYTES

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        broken = self.exception()
        if broken is not None:
            self._break(broken)
            return
        self._brought += len(data)
        if self._brought > OVERHEAD_BYTES:
            body = self._payload.total_bytes if self._payload is not None else 0
            if self._brought > OVERHEAD_BYTES + OVERHEAD_RATIO * body:
                error = aiohttp.ClientPayloadError("more is said around the answer than in it")
                self.set_exception(error)
                self._break(error)

    def _break(self, error: BaseException) -> None:
        """End what cannot be read: whoever reads the body hears of it, too."""
        if self._payload is not None and not self._payload.is_eof():
            set_exception(self._payload, aiohttp.ClientPayloadError("not readable"), error)
        self._forget()
        if self.transport is not None:
            self.transport.abort()

    def _queue(self) -> None:
        if self._unparsed and not self._queued and not self._reading_paused:
            self._queued = True
            self._intake.wait(self)

    def _forget(self) -> None:
        self._unparsed.clear()
        if self._lost is not None:
            self._end()

    def _end(self) -> None:
        (exc,), self._lost = self._lost or (None,), None
        super().connection_lost(exc)

    def _resume_transport_reading(self) -> None:
        if not self._unparsed:
            super()._resume_transport_reading()
