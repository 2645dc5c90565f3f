"""Keeping a server at work: it is started again when it has died, or has given up writing.

A server whose disk was full stores nothing more in the streams it was writing to, and leaves those
who publish without an answer, also when there is room again. Only a new start helps.
"""

import shutil
from collections import deque
from collections.abc import Callable

import anyio
import structlog

from bus.errors import CallboardError
from bus.server.embedded import EmbeddedServer

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often its health is asked for; a request takes it a fraction of a millisecond."""

PAUSE_SECONDS = 0.1
MOST_STARTS, WINDOW_SECONDS = 20, 60.0
"""A server that ended more often than that within the time is not started again."""

ROOM_BYTES = 16 * 1024**2
"""With less room on its disk a new start would end as the last one."""


def _ignore() -> None:
    return None


async def keep(server: EmbeddedServer, *, started: Callable[[], None] = _ignore) -> None:
    """Start the server again on its port and data, as often as it must be, until cancelled.

    Calls ``started`` after each new start.

    Raises:
        CallboardError: it has died too often.
        ConfigError: it says itself why it does not start.
    """
    starts: deque[float] = deque(maxlen=MOST_STARTS)
    while len(starts) < MOST_STARTS or starts[0] < anyio.current_time() - WINDOW_SECONDS:
        await _end(server)
        await server.kill()
        starts.append(anyio.current_time())
        await anyio.sleep(PAUSE_SECONDS)
        await _room(server)
        await server.start()
        started()
    raise CallboardError("nats-server has died too often")


async def _end(server: EmbeddedServer) -> None:
    """Return when the server has died, or should: it writes no more although there is room."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stuck, server, tasks.cancel_scope)
        await server.wait()
        log.error("server.died", url=server.url)
        tasks.cancel_scope.cancel()


async def _stuck(server: EmbeddedServer, waiting: anyio.CancelScope) -> None:
    while (fault := await server.write_error()) is None:  # noqa: ASYNC110  nobody tells us
        await anyio.sleep(LOOK_SECONDS)
    log.error("server.writes_no_more", url=server.url, error=fault)
    await _room(server)
    waiting.cancel()


async def _room(server: EmbeddedServer) -> None:
    """Wait until there is room on the disk."""
    waited = False
    while shutil.disk_usage(server.log_file.parent).free < ROOM_BYTES:
        if not waited:
            log.error("server.disk_full", directory=str(server.log_file.parent))
        waited = True
        await anyio.sleep(LOOK_SECONDS)
