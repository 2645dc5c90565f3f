"""A model provider that fails in a way chosen by the model's name, as ``FAULTS`` lists them.

In a process of its own: ``python -m tests.faulty_provider`` prints its port. ``GET /open`` says how
many connections are open.
"""

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import msgspec
from aiohttp import web

from tests.providers_fake import EVENT_STREAM, answer, chunk, event

WORDS = ("Every ", "word ", "of ", "this ", "counts", ".")
WHOLE = "".join(WORDS)
HALF = event(chunk(WORDS[0])) + event(chunk(WORDS[1]))

Fault = Callable[[web.Request, web.StreamResponse], Any]


async def reset(request: web.Request, response: web.StreamResponse) -> None:
    """Break the connection after some byte of a good answer."""
    stream = b"".join(answer(*WORDS))
    await response.write(stream[: random.randrange(len(stream))])
    if request.transport is not None:
        request.transport.abort()


async def stall(_request: web.Request, response: web.StreamResponse) -> None:
    """Begin well and fall silent."""
    await response.write(HALF)
    await anyio.sleep_forever()


async def malformed(_request: web.Request, response: web.StreamResponse) -> None:
    """Send frames that are none between good ones."""
    await response.write(HALF)
    await response.write(b'data: {"choices": [{"delta"\n\n' * 20)
    await response.write(b"".join(answer(*WORDS)))


async def loris(_request: web.Request, response: web.StreamResponse) -> None:
    """Send a good answer a byte at a time."""
    for byte in b"".join(answer(*WORDS)):
        await response.write(bytes([byte]))
        await anyio.sleep(0.02)


async def endless(_request: web.Request, response: web.StreamResponse) -> None:
    """Go on for ever."""
    while True:
        await response.write(event(chunk("more ")) * 20)
        await anyio.sleep(0.005)


async def huge_line(_request: web.Request, response: web.StreamResponse) -> None:
    """Send a line that never ends."""
    await response.write(HALF + b"data: ")
    while True:
        await response.write(b"x" * 65_536)


async def truncated(_request: web.Request, response: web.StreamResponse) -> None:
    """End in good order before the answer does."""
    await response.write(HALF)


async def well(_request: web.Request, response: web.StreamResponse) -> None:
    """Answer."""
    await response.write(b"".join(answer(*WORDS)))


STREAMS: dict[str, Fault] = {
    each.__name__: each
    for each in (reset, stall, malformed, loris, endless, huge_line, truncated, well)
}
REFUSALS = {"storm": 429, "overloaded": 503, "broken": 500}
FAULTS = (*STREAMS, *REFUSALS, "hang_up", "mute")


class FaultyProvider:
    """The server. ``open`` counts the connections."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.requests = 0
        self.port = 0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer, or fail, as the model's name says before its first dot."""
        self.requests += 1
        self.connections.add(request.transport)
        body: dict[str, Any] = msgspec.json.decode(await request.read())
        kind = str(body["model"]).partition(".")[0]
        if kind in REFUSALS:
            return web.json_response({"error": {}}, status=REFUSALS[kind])
        if kind == "hang_up" and request.transport is not None:
            request.transport.abort()
            return web.Response()
        if kind == "mute":
            await anyio.sleep_forever()
        response = web.StreamResponse(headers=EVENT_STREAM)
        await response.prepare(request)
        with suppress(ConnectionResetError):
            await STREAMS[kind](request, response)
        return response

    def open(self) -> int:
        """Count the connections that are open."""
        self.connections = {each for each in self.connections if each and not each.is_closing()}
        return len(self.connections)

    async def tell_open(self, _request: web.Request) -> web.Response:
        """Say how many connections are open."""
        return web.Response(text=str(self.open()))

    async def start(self) -> web.AppRunner:
        """Listen on a free loopback port."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.respond)
        app.router.add_get("/open", self.tell_open)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = int(runner.addresses[0][1])
        return runner


async def serve() -> None:
    """Serve until the process is killed."""
    provider = FaultyProvider()
    await provider.start()
    sys.stdout.write(f"{provider.port}\n")
    sys.stdout.flush()
    await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(serve)
