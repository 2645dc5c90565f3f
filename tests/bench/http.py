"""The cheapest HTTP caller: one request at a time on a Unix socket, so that measuring costs little.

It knows what a load needs: a request written whole, and answers that say their length.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import anyio

Taker = Callable[["Caller", bytes], None]
"""Is given each answer's body, and who asked."""


class Caller(asyncio.Protocol):
    """One connection that is kept open."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._pending = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the server."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand out the body of a whole answer."""
        self._pending += data
        head, end, body = self._pending.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            assert head.startswith(b"HTTP/1.1 2"), self._pending
            self._pending = b""
            self._taker(self, body)

    def write(self, request: bytes) -> None:
        """Send what ``encoded`` has made."""
        self._transport.write(request)

    def close(self) -> None:
        """Cut the connection."""
        self._transport.close()


async def caller(socket: Path, taker: Taker) -> Caller:
    """Connect to the Unix socket of a server."""
    loop = asyncio.get_running_loop()
    _, connected = await loop.create_unix_connection(lambda: Caller(taker), str(socket))
    return connected


async def post(socket: Path, path: str, body: bytes) -> bytes:
    """Ask once and return the answer."""
    answers: list[bytes] = []
    arrived = anyio.Event()

    def take(_: Caller, answer: bytes) -> None:
        answers.append(answer)
        arrived.set()

    asking = await caller(socket, take)
    asking.write(encoded(path, body))
    with anyio.fail_after(30):
        await arrived.wait()
    asking.close()
    return answers[0]


def encoded(path: str, body: bytes) -> bytes:
    """Encode a request once, to be sent many times."""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return b"%scontent-length: %d\r\n\r\n%s" % (head.encode(), len(body), body)


def _length(head: bytes) -> int:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(fields[b"content-length"])
