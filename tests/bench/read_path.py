"""What reading a provider's stream costs: processor time a chunk, ours against bare aiohttp.

    python -m tests.bench.read_path

A server in another process sends realistic chunks, either each by itself (paced: one read a chunk,
the dear case) or as fast as they go (burst: many chunks a read). The readers:

- aiohttp: the bytes, by aiohttp alone
- bytes: the bytes, by our transport
- httpx: the bytes, by our transport and httpx's own iterator
- answer: the whole way to encoded events, everything but the bus
"""

import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import aiohttp
import anyio
import httpx
import msgspec
from anyio.abc import SocketAttribute, SocketStream

from actors.streaming.adapters.http import build_client
from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.flow.generation import Generator, Means
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from schemas.lifecycle import FinishGeneration, GenerateWork
from schemas.llm import ChatMessage, GenerateRequest
from schemas.providers import Custom
from schemas.streams import StreamEvent
from tests.providers_fake import answer, chunk, event

BURST_CHUNKS = 20_000
PACED_CHUNKS = 100
PACED_RATE = 4_000
TIMES = 3
NOW = datetime(2026, 11, 21, tzinfo=UTC)
STREAMS = (1, 32, 200)
UVLOOP = {"use_uvloop": True}

CHUNK = event(
    chunk(" token")
    | {
        "id": "chatcmpl-AkXWQG3pZ9cN0Zb1kQ2eY7sUuV4rT",
        "object": "chat.completion.chunk",
        "created": 1795237269,
        "system_fingerprint": "fp_0aa8d3e20b",
        "service_tier": "default",
    }
)


class Row(NamedTuple):
    """One measurement: ``cpu_us`` is microseconds of this process's time a chunk."""

    reader: str
    pace: str
    streams: int
    cpu_us: float
    chunks_per_second: float


class Load(NamedTuple):
    """Streams at once, chunks in each, and seconds between two chunks (0 for a burst)."""

    streams: int
    chunks: int
    interval: float

    @property
    def model(self) -> str:
        """The model name that makes the server send this."""
        return f"{self.chunks}:{self.interval}"


Reader = Callable[[str, Load], Awaitable[None]]


# The server


async def serve() -> None:
    """Send chunks to whoever asks; print the port first."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    [each] = listener.listeners
    print(each.extra_attributes[SocketAttribute.local_port](), flush=True)
    await listener.serve(_serve_connection)


async def _serve_connection(stream: SocketStream) -> None:
    async with stream:
        try:
            while True:
                await _send(stream, (await _request(stream)).partition(":"))
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def _request(stream: SocketStream) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    head, _, body = head.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += await stream.receive()
    return msgspec.json.decode(body)["model"]


async def _send(stream: SocketStream, load: tuple[str, str, str]) -> None:
    chunks, interval = int(load[0]), float(load[2])
    await stream.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    one = _framed(CHUNK)
    if interval == 0:
        await stream.send(one * chunks)
    for _ in range(chunks if interval else 0):
        await stream.send(one)
        await anyio.sleep(interval)
    await stream.send(_framed(b"".join(answer()[-3:])) + b"0\r\n\r\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def _server() -> AsyncGenerator[str]:
    command = [sys.executable, "-m", "tests.bench.read_path", "serve"]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        port = (await process.stdout.receive()).decode().strip()
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


# The readers


def _json(load: Load) -> bytes:
    return msgspec.json.encode({"model": load.model})


async def _by_aiohttp(url: str, load: Load) -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        anyio.create_task_group() as tasks,
    ):

        async def read() -> None:
            async with session.post(f"{url}/chat/completions", data=_json(load)) as response:
                async for _ in response.content.iter_any():
                    pass

        for _ in range(load.streams):
            tasks.start_soon(read)


async def _by_bytes(url: str, load: Load) -> None:
    async with _client() as client, anyio.create_task_group() as tasks:

        async def read() -> None:
            path = f"{url}/chat/completions"
            async with client.stream("POST", path, content=_json(load)) as response:
                read_body = response.extensions["read"]
                while await read_body():
                    pass

        for _ in range(load.streams):
            tasks.start_soon(read)


async def _by_httpx(url: str, load: Load) -> None:
    async with _client() as client, anyio.create_task_group() as tasks:

        async def read() -> None:
            path = f"{url}/chat/completions"
            async with client.stream("POST", path, content=_json(load)) as response:
                async for _ in response.aiter_raw():
                    pass

        for _ in range(load.streams):
            tasks.start_soon(read)


def _client() -> httpx.AsyncClient:
    egress = Egress(allow_loopback=True)
    return build_client(egress, connect_timeout=10, read_timeout=60, keep_alive=30)


async def _by_answer(url: str, load: Load) -> None:
    encoder = msgspec.json.Encoder()

    async def emit(events: list[StreamEvent]) -> None:
        for each in events:
            encoder.encode(each)

    egress, secrets = Egress(allow_loopback=True), Secrets({}, {})
    async with (
        open_providers(StreamingConfig(), egress, secrets) as providers,
        anyio.create_task_group() as tasks,
    ):
        generator = Generator(Means(providers=providers, clock=lambda: NOW))

        async def read() -> None:
            result = await generator.run(_work(url, load), emit)
            assert isinstance(result, FinishGeneration), result
            assert len(result.answer.text) == load.chunks * len(" token")

        for _ in range(load.streams):
            tasks.start_soon(read)


def _work(url: str, load: Load) -> GenerateWork:
    messages = [ChatMessage(role="user", content="Hello")]
    provider = Custom(model=load.model, base_url=url)
    return GenerateWork(
        execution_id="ex1",
        tenant="acme",
        step=1,
        attempt=1,
        segment=1,
        deadline=NOW + timedelta(hours=1),
        request=GenerateRequest(provider=provider, messages=messages),
    )


READERS: dict[str, Reader] = {
    "aiohttp": _by_aiohttp,
    "bytes": _by_bytes,
    "httpx": _by_httpx,
    "answer": _by_answer,
}


# Measuring


def _loads() -> list[tuple[str, Load]]:
    bursts = [("burst", Load(n, BURST_CHUNKS // n, 0.0)) for n in STREAMS]
    paced = [("paced", Load(n, PACED_CHUNKS, _interval(n))) for n in STREAMS]
    return [*bursts, *paced]


def _interval(streams: int) -> float:
    # Timers are no finer than a millisecond.
    return max(streams / PACED_RATE, 0.001)


async def _measure() -> list[Row]:
    rows: list[Row] = []
    async with _server() as url:
        for pace, load in _loads():
            for name, reader in READERS.items():
                await reader(url, load._replace(chunks=10))
                tries = [await _one(name, pace, load, url, reader) for _ in range(TIMES)]
                rows.append(min(tries, key=lambda row: row.cpu_us))
    return rows


async def _one(name: str, pace: str, load: Load, url: str, reader: Reader) -> Row:
    chunks = load.streams * load.chunks
    cpu, clock = time.process_time(), time.perf_counter()
    await reader(url, load)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return Row(name, pace, load.streams, cpu / chunks * 1e6, chunks / clock)


def run() -> list[Row]:
    """Measure every reader at every load; takes about a minute and keeps the best of three."""
    return anyio.run(_measure, backend_options=UVLOOP)


def main() -> None:
    """Print what was measured, or serve chunks to a measurement."""
    if sys.argv[1:] == ["serve"]:
        anyio.run(serve, backend_options=UVLOOP)
        return
    print(f"{'pace':6} {'streams':>7} {'reader':8} {'us of CPU a chunk':>18} {'chunks/s':>10}")
    for row in run():
        print(
            f"{row.pace:6} {row.streams:7} {row.reader:8} {row.cpu_us:18.1f}"
            f" {row.chunks_per_second:10.0f}"
        )


if __name__ == "__main__":
    main()
