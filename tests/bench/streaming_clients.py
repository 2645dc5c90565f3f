"""HTTP clients that read the same streams, in processes of their own: what a chunk costs each.

``python -m tests.bench.streaming_clients <client> <provider's URL> <model> <streams>`` reads so
many streams and prints the processor time and the chunks; ``ours`` is the transport that providers
are called with. Each chunk is one read of a socket; nothing is parsed.
"""

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import anyio
import httpx
import msgspec

from actors.streaming.adapters.http import build_client
from bus.security.egress import Egress
from tests.bench.rows import Row
from tests.bench.streaming_load import provider, started

NAME = "clients"
LOADS = (
    (1, "paced:250:0.02"),
    (32, "paced:250:0.02"),
    (200, "paced:250:0.02"),
    (1000, "paced:50:0.1"),
)
ROUNDS = 2
NEEDLE = b'"content":'
HEADERS = {"content-type": "application/json"}

Ask = Callable[[bytes], Awaitable[int]]
"""Reads one stream to its end and returns how many chunks came."""


@asynccontextmanager
async def _ours(url: str) -> AsyncGenerator[Ask]:
    egress = Egress(allow_loopback=True)
    async with build_client(egress, connect_timeout=30, read_timeout=60, keep_alive=30) as client:

        async def ask(body: bytes) -> int:
            request = client.build_request("POST", url, content=body, headers=HEADERS)
            response = await client.send(request, stream=True)
            try:
                read, count = response.extensions["read"], 0
                while chunk := await read():
                    count += chunk.count(NEEDLE)
                return count
            finally:
                await response.aclose()

        yield ask


@asynccontextmanager
async def _aiohttp(url: str) -> AsyncGenerator[Ask]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(body: bytes) -> int:
            count = 0
            async with session.post(url, data=body, headers=HEADERS) as response:
                while chunk := await response.content.readany():
                    count += chunk.count(NEEDLE)
            return count

        yield ask


@asynccontextmanager
async def _httpx(url: str) -> AsyncGenerator[Ask]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def ask(body: bytes) -> int:
            count = 0
            async with client.stream("POST", url, content=body, headers=HEADERS) as response:
                chunks: AsyncIterator[bytes] = response.aiter_raw()
                async for chunk in chunks:
                    count += chunk.count(NEEDLE)
            return count

        yield ask


CLIENTS = {"aiohttp": _aiohttp, "ours": _ours, "httpx": _httpx}


async def read(client: str, url: str, model: str, streams: int) -> None:
    """Read the streams at once, and print processor seconds and chunks."""
    body = msgspec.json.encode({"model": model, "stream": True})
    counts: list[int] = []
    async with CLIENTS[client](url) as ask:

        async def one() -> None:
            counts.append(await ask(body))

        began = time.process_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(streams):
                tasks.start_soon(one)
        print(time.process_time() - began, sum(counts), flush=True)


async def measure() -> list[Row]:
    """Measure each client at each load, in turns; the bare aiohttp client stands beside."""
    rows: list[Row] = []
    async with provider() as source:
        url = f"{source.url}/chat/completions"
        for streams, model in LOADS:
            micros = {client: float("inf") for client in CLIENTS}
            for client in list(CLIENTS) * ROUNDS:
                took = await _micros(client, url, model, streams)
                micros[client] = min(micros[client], took)
            for client in ("ours", "httpx"):
                what = f"a chunk of {streams:,} streams, {client}"
                most = 1.3 if client == "ours" else None
                rows.append(Row(NAME, what, micros[client], "us", micros["aiohttp"], most=most))
    return rows


async def _micros(client: str, url: str, model: str, streams: int) -> float:
    arguments = (client, url, model, str(streams))
    async with started("tests.bench.streaming_clients", *arguments) as process:
        assert process.stdout is not None
        said = b""
        async for part in process.stdout:
            said += part
        await process.wait()
    seconds, chunks = said.split()
    assert int(chunks) == streams * int(model.split(":")[1]), said
    return float(seconds) / int(chunks) * 1e6


if __name__ == "__main__":
    name, where, what, many = sys.argv[1:]
    anyio.run(
        read, name, where, what, int(many), backend_options={"use_uvloop": sys.platform != "win32"}
    )
