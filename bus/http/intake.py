"""How much the connections of one client parse in a turn of the event loop.

A read of a socket brings up to 256 KiB, and bytes made of tiny chunks take long to parse. A client
parses a bounded number of bytes in a turn, whatever number of connections they came from; the rest
waits in line, and its connections are not read meanwhile.
"""

import asyncio
from collections import deque
from typing import Protocol

from bus.http.limits import PIECE_BYTES

TURN_BYTES = 2 * PIECE_BYTES
"""About what a client parses in a turn of its loop."""


class Backlogged(Protocol):
    """A connection with bytes that have not been parsed."""

    def go_on(self) -> int:
        """Parse the next piece and return its size."""
        ...


class Intake:
    """The bytes that the connections of one client have parsed in this turn of its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = TURN_BYTES
        self._renewing = False
        self._waiting: deque[Backlogged] = deque()

    def takes(self, size: int) -> bool:
        """Whether so many bytes may be parsed in this turn; counts them if so."""
        if self._left <= 0 or self._waiting:
            return False
        self._left -= size
        self._renew()
        return True

    def wait(self, connection: Backlogged) -> None:
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
