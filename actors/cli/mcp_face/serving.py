"""Where a server of the protocol is reached: Streamable HTTP on loopback, standard streams."""

import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server

from bus.errors import ConfigError

HOST = "127.0.0.1"
PATH = "/mcp"

MAX_BODY_BYTES = 4 * 1024**2
"""A task of the greatest length in the longest UTF-8."""

MAX_CONNECTIONS = 512
STOP_SECONDS = 5


async def serve_stdio(server: Server[Any]) -> None:
    """Serve whoever has started this process, until it closes our standard input."""
    async with stdio_server() as (reading, writing):
        told = NotificationOptions(*([True] * 3))
        await server.run(reading, writing, server.create_initialization_options(told))


async def serve_http(server: Server[Any], port: int, ready: Callable[[str], None]) -> None:
    """Serve on the loopback interface until a signal; ``ready`` is told the URL.

    Each request stands by itself: a client may reach another process with its next one. A host or
    origin that is not the loopback's is refused, so that no web page reaches us through a name of
    its own (DNS rebinding).

    Raises:
        ConfigError: the port is taken.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=MAX_BODY_BYTES,
        host=HOST,
    )
    with _bound(port) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        uvicorn_server = _Unsignalled(config)
        ready(f"http://{HOST}:{listening.getsockname()[1]}{PATH}")
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_on_signal, uvicorn_server)
            await uvicorn_server.serve(sockets=[listening])
            group.cancel_scope.cancel()


class _Unsignalled(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again once it has stopped."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


async def _stop_on_signal(server: uvicorn.Server) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            server.force_exit = server.should_exit
            server.should_exit = True


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigError("--http", f"port {port}: {error.strerror}") from None
