"""The cheapest client: NATS's text protocol on a bare socket, so that measuring costs little.

It knows what a load needs: publish, subscribe with a function for each message, and one request.
Protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import anyio

Taker = Callable[[bytes, bytes], None]
"""Is given subject and data of each message."""

ANSWER_SECONDS = 30.0
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


class Wire(asyncio.Protocol):
    """One connection to a server."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._pending = b""
        self._takers: dict[bytes, Taker] = {}
        self._numbers = itertools.count(1)
        self._pongs: list[anyio.Event] = []

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the server."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(CONNECT)

    def data_received(self, data: bytes) -> None:
        """Hand out whole messages and keep the rest."""
        buffer = self._pending + data if self._pending else data
        position = 0
        while (end := buffer.find(b"\r\n", position)) >= 0:
            line = buffer[position:end]
            if not line.startswith((b"MSG ", b"HMSG ")):
                self._other(line)
                position = end + 2
                continue
            fields = line.split(b" ")
            begin, size = end + 2, int(fields[-1])
            if len(buffer) < begin + size + 2:
                break
            position = begin + size + 2
            if line[0:1] == b"H":
                begin += int(fields[-2])
            self._takers[fields[2]](fields[1], buffer[begin : position - 2])
        self._pending = buffer[position:]

    def _other(self, line: bytes) -> None:
        if line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line == b"PONG":
            self._pongs.pop(0).set()
        elif line.startswith(b"-ERR"):
            raise ConnectionError(line.decode())

    # What a bench calls

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message."""
        self.write(encoded(subject, data, reply))

    def write(self, message: bytes) -> None:
        """Send what ``encoded`` has made."""
        self._transport.write(message)

    async def subscribe(self, subject: str, taker: Taker) -> bytes:
        """Give each message of a subject to ``taker``; returns its number when the server knows."""
        number = b"%d" % next(self._numbers)
        self._takers[number] = taker
        self._transport.write(b"SUB %s %s\r\nPING\r\n" % (subject.encode(), number))
        self._pongs.append(anyio.Event())
        with anyio.fail_after(ANSWER_SECONDS):
            await self._pongs[-1].wait()
        return number

    def unsubscribe(self, number: bytes) -> None:
        """Want no more messages; those under way are still taken."""
        self._transport.write(b"UNSUB %s\r\n" % number)

    async def request(self, subject: str, data: bytes) -> bytes:
        """Ask once and return the answer."""
        answers: list[bytes] = []
        arrived = anyio.Event()

        def take(_: bytes, answer: bytes) -> None:
            answers.append(answer)
            arrived.set()

        inbox = f"_INBOX.bench.{id(arrived)}.{next(self._numbers)}"
        await self.subscribe(inbox, take)
        self.publish(subject, data, inbox)
        with anyio.fail_after(ANSWER_SECONDS):
            await arrived.wait()
        return answers[0]

    def close(self) -> None:
        """Cut the connection."""
        self._transport.close()


def encoded(subject: str, data: bytes, reply: str = "") -> bytes:
    """Encode a message once, to be sent many times."""
    to = f"{subject} {reply}" if reply else subject
    return b"PUB %s %d\r\n%s\r\n" % (to.encode(), len(data), data)


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Wire]:
    """Be connected while the context is open."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(Wire, address.hostname or "", address.port or 4222)
    try:
        yield wire
    finally:
        wire.close()
