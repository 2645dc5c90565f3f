"""Servers of HTTP that play what a test says, and a client that leaves nothing behind."""

import asyncio
import os
import ssl
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from bus.http import (
    HttpClient,
    HttpLimits,
    HttpProxies,
)
from bus.security.egress import Egress

HERE = Egress(allow_loopback=True)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Asked:
    """A request as the server has read it, and the way to answer."""

    def __init__(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.head, self.body, self.writer = head, body, writer
        self.line = head.split(b"\r\n")[0].decode()

    async def send(self, *data: bytes) -> None:
        for each in data:
            self.writer.write(each)
            await self.writer.drain()

    def cut(self) -> None:
        self.writer.transport.abort()


Play = Callable[[Asked], Awaitable[None]]


class Server:
    """Plays an answer to each request, and knows its connections."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.url = ""
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.scopes: set[anyio.CancelScope] = set()

    @property
    def open(self) -> int:
        return len(self.scopes)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with anyio.CancelScope() as scope, suppress(OSError, asyncio.IncompleteReadError):
            self.scopes.add(scope)
            await self.converse(reader, writer)
        self.scopes.discard(scope)
        writer.transport.abort()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await self.one(reader, writer)

    async def stop(self) -> None:
        """Cut all conversations."""
        while self.scopes:
            for scope in self.scopes:
                scope.cancel()
            await anyio.sleep(0.001)
        # What a transport still has to say of its end is said in the next turns of the loop.
        await anyio.sleep(0.01)

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        asked = Asked(head, body, writer)
        self.asked.append(asked.line)
        self.heads.append(head)
        await self._play(asked)


@asynccontextmanager
async def serving(
    play: Play | Server, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncGenerator[Server]:
    server = play if isinstance(play, Server) else Server(play)
    listener = await asyncio.start_server(server.serve, host, 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    server.url = f"{'https' if context else 'http'}://{name}:{port}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()


@asynccontextmanager
async def calling(**options: Any) -> AsyncGenerator[HttpClient]:
    """Give a client and demand that nothing of it is left."""
    proxies = options.pop("proxies", HttpProxies({}))
    egress = options.pop("egress", HERE)
    limits = HttpLimits(**{"connect_seconds": 5.0, "read_seconds": 10.0} | options)
    with anyio.fail_after(30):
        async with HttpClient(egress, limits, proxies=proxies) as client:
            yield client
        assert client.opened == client.closed


async def get(client: HttpClient, url: str, **options: Any) -> tuple[int, bytes]:
    async with client.exchange("GET", url, **options) as answer:
        return answer.status, await answer.read(1 << 26)


def sending(*data: bytes, close: bool = False) -> Play:
    async def play(asked: Asked) -> None:
        await asked.send(*data)
        if close:
            asked.writer.close()

    return play


async def silent(asked: Asked) -> None:
    del asked
    await anyio.sleep_forever()


def sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  numbers are wanted
        with suppress(OSError):
            found += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
    return found


async def gone(server: Server) -> None:
    while server.open:
        await anyio.sleep(0.005)
