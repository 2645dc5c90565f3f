"""A nats-server of one test: its own port and store, to be killed and started again."""

import contextlib
import socket
import subprocess
import sysconfig
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import nats
from nats.aio.client import Client

BINARY = Path(sysconfig.get_path("scripts")) / "nats-server"


class NatsProcess:
    """Killing it loses what was not synced, as a crash would."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._configuration = directory / "nats.conf"
        self._configuration.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{directory / "store"}", sync_interval: always }}\n',
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._process = await anyio.to_thread.run_sync(self._spawn)
        with anyio.fail_after(15):
            while not await self._is_ready():
                await anyio.sleep(0.02)

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await anyio.to_thread.run_sync(process.wait)

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BINARY, "-c", self._configuration],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def _is_ready(self) -> bool:
        try:
            stream = await anyio.connect_tcp("127.0.0.1", self.port)
        except OSError:
            return False
        async with stream:
            return (await stream.receive()).startswith(b"INFO")


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[NatsProcess]:
    """Run a server while the context is open."""
    server = NatsProcess(directory)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def connected(
    server: NatsProcess, on_reconnect: Callable[[], None] = lambda: None
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
