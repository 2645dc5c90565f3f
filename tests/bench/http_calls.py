"""Calls of an API by our HTTP client, against aiohttp in the same process on the same server.

``python -m tests.bench.http_calls serve`` answers each request with a small body.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import anyio
import httptools

from bus.http import HttpClient, HttpLimits
from bus.security.egress import Egress
from tests.bench.rows import Row
from tests.bench.streaming_load import started

NAME = "http"
AT_ONCE = (1, 32, 200)
ROUNDS = 3
SECONDS = 1.0
LEAST = 2.0
"""Our calls a second for each of aiohttp's, at 32 at once."""

BODY = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}]}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
ASKED = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}'
HEADERS = {"content-type": "application/json", "accept": "application/json"}

Call = Callable[[], Awaitable[None]]


class _Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def serve() -> None:
    """Answer until killed; print the port first."""
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@asynccontextmanager
async def _ours(url: str) -> AsyncGenerator[Call]:
    async with HttpClient(Egress(allow_loopback=True), HttpLimits()) as client:

        async def call() -> None:
            async with client.exchange("POST", url, HEADERS, ASKED) as answer:
                await answer.read(1024)

        yield call


@asynccontextmanager
async def _aiohttp(url: str) -> AsyncGenerator[Call]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> None:
            async with session.post(url, data=ASKED, headers=HEADERS) as response:
                await response.read()

        yield call


async def measure() -> list[Row]:
    """Measure both clients in turns."""
    rows: list[Row] = []
    async with started("tests.bench.http_calls", "serve") as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{(await process.stdout.receive()).decode().strip()}/"
        async with _ours(url) as ours, _aiohttp(url) as theirs:
            for at_once in AT_ONCE:
                rates = [
                    (await _rate(ours, at_once), await _rate(theirs, at_once))
                    for _ in range(ROUNDS)
                ]
                mine, other = (max(rate[which] for rate in rates) for which in (0, 1))
                least = LEAST if at_once == AT_ONCE[1] else None
                rows.append(Row(NAME, f"calls, {at_once} at once", mine, "/s", other, least=least))
        process.terminate()
        await process.wait()
    return rows


async def _rate(call: Call, at_once: int) -> float:
    count, end = 0, time.monotonic() + SECONDS

    async def one() -> None:
        nonlocal count
        while time.monotonic() < end:
            await call()
            count += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(one)
    return count / SECONDS


if __name__ == "__main__":
    assert sys.argv[1:] == ["serve"]
    anyio.run(serve, backend_options={"use_uvloop": sys.platform != "win32"})
