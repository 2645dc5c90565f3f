"""A fleet of real processes for tests that look at it from outside, as a user does."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
import nats
from anyio.abc import Process
from nats.aio.msg import Msg

from bus.codec import decode
from bus.server import EmbeddedServer
from schemas.fleet import HEARTBEAT_SUBJECT, Alive
from tests.integration.waiting import until

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30.0


@asynccontextmanager
async def fleet(data_dir: Path, *actors: str) -> AsyncGenerator[str]:
    """Run a nats-server and one process of each actor; hand out the URL once all are ready."""
    async with EmbeddedServer(data_dir) as server, AsyncExitStack() as stack:
        client = await nats.connect(server.url)
        stack.push_async_callback(client.close)
        ready: set[str] = set()

        async def note(message: Msg) -> None:
            alive = decode(Alive, message.data)
            if alive.ready:
                ready.add(alive.actor)

        await client.subscribe(HEARTBEAT_SUBJECT, cb=note)
        for actor in actors:
            await stack.enter_async_context(_running(actor, server.url))
        await until(lambda: ready >= set(actors), seconds=READY_SECONDS)
        yield server.url


@asynccontextmanager
async def _running(actor: str, url: str) -> AsyncGenerator[Process]:
    """Run one process of an actor and kill it at the end."""
    process = await anyio.open_process(
        [sys.executable, "-m", f"actors.{actor}"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": url},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=None,
    )
    try:
        yield process
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
