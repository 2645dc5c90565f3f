"""A model provider on this machine that answers, or fails, in any way a real one has been seen to.

What it plays is a ``Behaviour``: a request in, a response out. In a test::

    async with fake_provider(answering("Hel", "lo")) as fake:
        ...  # call fake.base_url
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

NO_HEADERS: Mapping[str, str] = {}
EVENT_STREAM = {"content-type": "text/event-stream"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
DONE = b"data: [DONE]\n\n"


class FakeProvider:
    """What a test sees of the server: where it is, what it was asked, who left it early."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.bodies: list[dict[str, Any]] = []
        self.contents: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[tuple[str, int]] = set()
        self.abandoned = anyio.Event()


def event(chunk: Any) -> bytes:
    """Write one server-sent event."""
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def chunk(content: str | None = None, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """Write one chunk of choice 0."""
    grown = delta if content is None else {"content": content, **delta}
    choice = {"index": 0, "delta": grown, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "fake-1", "choices": [choice], "usage": None}


def answer(*pieces: str, finish: str = "stop", usage: Any = USAGE) -> list[bytes]:
    """Write the events of a whole answer, one for each piece and those around them."""
    usage_chunk = {"id": "chatcmpl-1", "model": "fake-1", "choices": [], "usage": usage}
    events = [event(chunk("", role="assistant")), *(event(chunk(piece)) for piece in pieces)]
    return [*events, event(chunk(finish=finish)), event(usage_chunk), DONE]


def answering(
    *pieces: str, finish: str = "stop", headers: Mapping[str, str] | None = None
) -> Behaviour:
    """Answer with these pieces of text."""
    return sending(*answer(*pieces, finish=finish), headers=headers)


def sending(*writes: bytes, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Send these bytes, then end the response."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = await begin(request, writes, headers or {})
        await response.write_eof()
        return response

    return respond


def falling_silent(*writes: bytes) -> Behaviour:
    """Send these bytes, then nothing more, and never end."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = await begin(request, writes)
        await anyio.sleep_forever()
        return response

    return respond


def breaking(*writes: bytes) -> Behaviour:
    """Send these bytes, then break the connection."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = await begin(request, writes)
        if request.transport is not None:
            request.transport.abort()
        return response

    return respond


async def hanging_up(request: web.Request) -> web.StreamResponse:
    """Take the request and break the connection instead of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def never_beginning(_request: web.Request) -> web.StreamResponse:
    """Take the request and never answer."""
    await anyio.sleep_forever()
    return web.Response()


def refusing(
    status: int, error: Any = None, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Behaviour:
    """Answer with a status other than 200."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        content = msgspec.json.encode({"error": error}) if error is not None else body
        return web.Response(status=status, body=content, headers=headers)

    return respond


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Play one behaviour a request, the last one for ever."""
    left = list(behaviours)

    async def respond(request: web.Request) -> web.StreamResponse:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        return await behaviour(request)

    return respond


@asynccontextmanager
async def fake_provider(behaviour: Behaviour) -> AsyncGenerator[FakeProvider]:
    """Serve on a free loopback port, under every path; ``base_url`` is that of Chat Completions."""
    fake = FakeProvider("")

    async def handle(request: web.Request) -> web.StreamResponse:
        fake.headers.append(dict(request.headers))
        fake.paths.append(request.raw_path)
        content = await request.read()
        fake.contents.append(content)
        if request.content_type == "application/json":
            fake.bodies.append(msgspec.json.decode(content))
        if request.transport is not None:
            fake.connections.add(request.transport.get_extra_info("peername")[:2])
        try:
            return await behaviour(request)
        except anyio.get_cancelled_exc_class():
            fake.abandoned.set()
            raise

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield fake
    finally:
        await runner.cleanup()


async def begin(
    request: web.Request, writes: Iterable[bytes], headers: Mapping[str, str] = NO_HEADERS
) -> web.StreamResponse:
    """Begin a stream of events that the caller may go on writing."""
    response = web.StreamResponse(headers={**EVENT_STREAM, **headers})
    await response.prepare(request)
    for data in writes:
        await response.write(data)
    return response
