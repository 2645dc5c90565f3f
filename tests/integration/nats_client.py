"""A bare client of nats-py, for tests of what stands directly on it."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client

from bus.server import EmbeddedServer


@asynccontextmanager
async def connected(
    server: EmbeddedServer, on_reconnect: Callable[[], None] = lambda: None
) -> AsyncGenerator[Client]:
    """Connect a client that comes back quickly and keeps its complaints to itself."""

    async def ignore(_: Exception) -> None:
        return None

    async def reconnected() -> None:
        on_reconnect()

    client = await nats.connect(
        server.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.05,
        error_cb=ignore,
        reconnected_cb=reconnected,
    )
    try:
        yield client
    finally:
        # The last words cannot be said to a server that was killed.
        with contextlib.suppress(OSError):
            await client.close()
