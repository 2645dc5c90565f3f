"""Servers that send what costs most to read, and what that costs the other calls of a process."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import process_time
from typing import Any

import anyio
import pytest

from actors.streaming.adapters import http_call
from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.embedding import Embedder, Store
from actors.streaming.flow.vectors import VectorStore
from bus.http.limits import OVERHEAD_BYTES
from bus.security.egress import Egress
from bus.testing import memory_bus
from schemas.lifecycle import EmbedWork, FailGeneration, FinishGeneration
from schemas.llm import EmbedRequest
from schemas.problems import Problem
from schemas.providers import Custom
from tests.attempts import NOW, SECRETS, config, generating, ignore, work
from tests.lag import TOLERATED_SECONDS, measured
from tests.providers_fake import answer

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
PLAIN = SSE + b"connection: close\r\n\r\n"
CHUNKED = SSE + b"transfer-encoding: chunked\r\n\r\n"
GZIPPED = SSE + b"content-encoding: gzip\r\nconnection: close\r\n\r\n"
EVENTS = b"".join(answer("Hello", " you"))
BROKEN = "The provider broke the connection."
BOUNDS = "The provider's stream breaks all bounds."
COMPRESSED = "The provider has compressed its answer, which nobody asked for."

Played = Callable[[], AsyncIterator[bytes]]


class Hostile:
    """A server that plays bytes to whoever connects, and counts what it could get rid of."""

    def __init__(self, played: Played) -> None:
        self.sent = 0
        self._played = played

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            async for data in self._played():
                writer.write(data)
                await writer.drain()
                self.sent += len(data)
        writer.close()


@asynccontextmanager
async def playing(played: Played) -> AsyncGenerator[tuple[Custom, Hostile]]:
    hostile = Hostile(played)
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Custom(model="m", base_url=f"http://127.0.0.1:{port}/v1"), hostile
    finally:
        server.close()


def repeated(start: bytes, data: bytes, times: int, end: bytes = b"") -> Played:
    async def play() -> AsyncIterator[bytes]:
        yield start
        for _ in range(times):
            yield data
        yield end

    return play


def once(*data: bytes) -> Played:
    return repeated(b"".join(data), b"", 0)


def failed(result: FinishGeneration | FailGeneration) -> Problem:
    assert isinstance(result, FailGeneration), result
    return result.problem


async def outcome(played: Played) -> tuple[FinishGeneration | FailGeneration, Hostile]:
    settings = config(progress_timeout=20.0, trailing_timeout=1.0, first_byte_timeout=20.0)
    async with playing(played) as (provider, hostile), generating(settings) as generator:
        return await generator.run(work(provider), ignore), hostile


BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
BOMBED = BOMB.compress(b": ping\n\n" * 1_000_000) + BOMB.flush()


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"x-own", b"GZIP"])
async def test_a_compressed_answer_is_refused_unread(encoding: bytes):
    head = SSE + b"content-encoding: " + encoding + b"\r\nconnection: close\r\n\r\n"
    result, hostile = await outcome(repeated(head + BOMBED, BOMBED, 10_000))

    assert failed(result).message == COMPRESSED
    assert not failed(result).retryable
    assert hostile.sent < 32 * 1024 * 1024


async def test_a_compressed_error_still_says_its_status():
    head = b"HTTP/1.1 429 No\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n"
    result, _ = await outcome(once(head, gzip.compress(b'{"error":{"code":"x"}}')))

    assert failed(result).code == "rate_limited"
    assert failed(result).details == {"status": 429}


async def test_identity_is_no_compression():
    head = SSE + b"content-encoding: Identity\r\nconnection: close\r\n\r\n"
    result, _ = await outcome(once(head, EVENTS))

    assert isinstance(result, FinishGeneration)


ENDLESS = {
    "interim responses": (b"", b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n" * 500, BROKEN),
    "bare interim responses": (b"", b"HTTP/1.1 100 C\r\n\r\n" * 1000, BROKEN),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: 1\r\n" * 2000, BROKEN),
    "one header": (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 60_000, BROKEN),
    "status line": (b"HTTP/1.1 200 ", b"O" * 60_000, BROKEN),
    "chunk extension": (CHUNKED + b"1;", b"e" * 60_000, BROKEN),
    "chunk extensions": (CHUNKED, b"1;" + b"e" * 200 + b"\r\n:\r\n", BROKEN),
    "trailers": (CHUNKED + b"0\r\n", b"x: 1\r\n" * 2000, BROKEN),
    "one trailer": (CHUNKED + b"0\r\nx: ", b"a" * 60_000, BROKEN),
    "comments": (PLAIN, b": ping\n\n" * 8000, BOUNDS),
    "one comment": (PLAIN + b": ", b"a" * 64_000, BOUNDS),
    "blank lines": (PLAIN, b"\n" * 64_000, BOUNDS),
    "returns": (PLAIN, b"\r" * 64_000, BOUNDS),
    "fields of no event": (PLAIN, b"id: 1\nretry: 1\nevent: x\n\n" * 2000, BOUNDS),
    "one line": (PLAIN + b"data: ", b"a" * 64_000, BOUNDS),
    "data lines": (PLAIN, b"data:\n" * 10_000, BOUNDS),
    "comments in chunks": (CHUNKED, b"7\r\n: pin\n\n\r\n" * 5000, BOUNDS),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_what_has_no_end_is_cut_at_a_bound(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_call, "MAX_SILENT_BYTES", 1024 * 1024)
    start, data, message = ENDLESS[name]

    async with measured() as lag:
        result, hostile = await outcome(repeated(start, data, 100_000))

    assert failed(result).message == message
    assert hostile.sent < 64 * 1024 * 1024
    assert lag.longest < TOLERATED_SECONDS


async def test_an_answer_of_empty_events_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_call, "MAX_CALL_BYTES", 1024 * 1024)
    result, _ = await outcome(repeated(PLAIN, b'data: {"choices":[]}\n\n' * 1000, 100_000))

    assert failed(result).message == BOUNDS


async def test_an_answer_in_chunks_of_one_byte_is_read():
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in EVENTS * 80)
    result, _ = await outcome(once(CHUNKED, chunks, b"0\r\n\r\n"))

    assert isinstance(result, FinishGeneration)
    assert len(chunks) > OVERHEAD_BYTES


async def test_an_answer_before_a_closed_connection_is_read_to_its_end():
    events = b"".join(answer(*["word "] * 20_000))
    result, _ = await outcome(once(PLAIN, events))

    assert isinstance(result, FinishGeneration)
    assert result.answer.text == "word " * 20_000


FLOODS = {
    "pings": (PLAIN, b": ping\n\n" * 8000),
    "tiny chunks": (CHUNKED, b"1\r\n\n\r\n" * 10_000),
    "interim": (b"", b"HTTP/1.1 100 C\r\n\r\n" * 3000),
    "empty events": (PLAIN, b"data: {}\n\n" * 6000),
    "unknown events": (PLAIN, b'event: a\ndata: {"choices":[]}\n\n' * 2000),
    "text": (PLAIN, answer("x")[1] * 400),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_never_cost_their_neighbours(name: str):
    """Twenty servers flood a process; a quiet one answers meanwhile as if it were alone."""
    start, data = FLOODS[name]

    async def quiet() -> AsyncIterator[bytes]:
        yield PLAIN
        for event in answer(*["word "] * 20):
            yield event
            await anyio.sleep(0.01)

    result, took = None, 0.0
    async with (
        playing(repeated(start, data, 100_000)) as (flooding, _),
        playing(quiet) as (provider, _),
        generating(config()) as generator,
        anyio.create_task_group() as tasks,
        measured() as lag,
    ):
        for _ in range(20):
            tasks.start_soon(generator.run, work(flooding), ignore)
        await anyio.sleep(0.2)
        # The processor time of this process, which floods keep busy: other processes cost nothing.
        began = process_time()
        result = await generator.run(work(provider), ignore)
        took = process_time() - began
        tasks.cancel_scope.cancel()

    assert isinstance(result, FinishGeneration)
    assert lag.longest < TOLERATED_SECONDS
    assert took < 5.0


def vectors(count: int, size: int) -> bytes:
    row = b'{"embedding":[' + b",".join([b"0.0123456789"] * size) + b"]}"
    return b'{"data":[' + b",".join([row] * count) + b"]}"


SOUND = {"the largest": (256, vectors(256, 4096)), "eight calls": (2048, vectors(256, 1536))}
EMBEDDINGS = SOUND | {
    "one endless vector": (1, b'{"data":[{"embedding":[' + b"1," * 10_000_000),
    "numbers": (256, b'{"data":[{"embedding":[' + b"1," * 16_000_000 + b"1]}]}"),
    "lists": (256, b'{"data":[' + b"[]," * 10_000_000 + b"[]]}"),
    "one text": (256, b'{"model":"' + b"a" * 32_000_000 + b'"}'),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
async def test_no_embeddings_hold_up_the_loop(name: str):
    count, body = EMBEDDINGS[name]
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    settings = config(progress_timeout=20.0)
    egress = Egress(allow_loopback=True)

    async with (
        playing(once(head, body)) as (provider, _),
        open_providers(settings, egress, SECRETS) as providers,
        stored() as store,
        measured() as lag,
    ):
        wanted = EmbedRequest(provider=provider, texts=["a"] * count)
        report = await Embedder(providers, lambda: NOW).embedding(embedding(wanted)).run(store)

    assert isinstance(report, FinishGeneration if name in SOUND else FailGeneration)
    assert lag.longest < TOLERATED_SECONDS


def embedding(wanted: EmbedRequest) -> EmbedWork:
    deadline = NOW + timedelta(seconds=60)
    place: dict[str, Any] = {"execution_id": "e", "tenant": "acme", "step": 1, "attempt": 1}
    return EmbedWork(**place, deadline=deadline, request=wanted)


@asynccontextmanager
async def stored() -> AsyncGenerator[Store]:
    """Store vectors as a worker does."""
    work = embedding(EmbedRequest(provider=Custom(model="m", base_url="http://h"), texts=[]))
    async with memory_bus() as world, world.process() as bus:
        store = VectorStore(bus.blobs, 1)
        yield lambda found: store.put(work, found)


async def test_an_error_or_judgement_without_end_is_not_read():
    head = b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\n"
    result, hostile = await outcome(repeated(head, b"a" * 64_000, 100_000))

    assert failed(result).details == {"status": 500}
    assert hostile.sent < 16 * 1024 * 1024
