"""A model provider in a process of its own: server-sent events whose text says when they were sent.

The ``model`` of a request decides: ``<chunks>:<seconds between two>``; 0 seconds sends as fast as
the reader takes them. The text of a chunk is the time it was written, by the clock that all
processes of a machine share.
"""

import sys
import time

import anyio
import msgspec
from aiohttp import web
from anyio.lowlevel import checkpoint

from tests.providers_fake import DONE, EVENT_STREAM, answer, chunk, event

AT_ONCE = 50
"""Chunks of an unpaced answer that are written together."""

STAMP_WIDTH = 16


def stamped() -> bytes:
    """Write one chunk that says when it was written, in seconds."""
    return event(chunk(f"{time.monotonic():{STAMP_WIDTH}.6f}"))


async def respond(request: web.Request) -> web.StreamResponse:
    """Answer a chat completion."""
    body = msgspec.json.decode(await request.read())
    chunks, _, seconds = body["model"].partition(":")
    response = web.StreamResponse(headers=EVENT_STREAM)
    await response.prepare(request)
    if float(seconds):
        await _paced(response, int(chunks), float(seconds))
    else:
        await _unpaced(response, int(chunks))
    await response.write(b"".join(answer()[-3:-1]) + DONE)
    await response.write_eof()
    return response


async def _paced(response: web.StreamResponse, chunks: int, seconds: float) -> None:
    for _ in range(chunks):
        await response.write(stamped())
        await anyio.sleep(seconds)


async def _unpaced(response: web.StreamResponse, chunks: int) -> None:
    for _ in range(chunks // AT_ONCE):
        for _ in range(AT_ONCE):
            await response.write(stamped())
        await checkpoint()


async def serve() -> None:
    """Serve on a free port and print it."""
    application = web.Application()
    application.router.add_post("/v1/chat/completions", respond)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(serve, backend_options={"use_uvloop": sys.platform != "win32"})
