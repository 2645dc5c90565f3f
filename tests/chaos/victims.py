"""The processes that things are done to, each started again as a supervisor would when it dies."""

import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import anyio
from anyio.abc import Process

from bus.codec import decode
from bus.config import Durability
from bus.connection import NatsTransport
from bus.ports import Delivery
from bus.server import EmbeddedServer
from bus.server.keeper import keep
from schemas.fleet import HEARTBEAT_SUBJECT, Alive

REPLICAS = ("agents", "agents", "streaming", "streaming", "pricing")
EVERYBODY: Counter[str] = Counter(REPLICAS)
ONE_OF_EACH: Counter[str] = Counter(set(REPLICAS))
RESTART_SECONDS = 0.1
READY_SECONDS = 60.0


class Actor:
    """One actor process under supervision."""

    def __init__(
        self, kind: str, url: str, log_file: Path, *, durability: Durability = "r1"
    ) -> None:
        self.kind = kind
        self.deaths: list[str] = []
        self._environment = os.environ | {
            "NATS_URL": url,
            "CALLBOARD_DURABILITY": durability,
            "CALLBOARD_ALLOW_LOOPBACK": "true",
            "CALLBOARD_LOG_FORMAT": "json",
            "CALLBOARD_LOG_LEVEL": "debug",
        }
        self._log_file = log_file
        self._process: Process | None = None
        self._killed = False

    async def supervise(self) -> None:
        """Keep the process running until cancelled; remember each end that nobody wanted."""
        while True:
            with self._log_file.open("ab") as log:
                self._process = await anyio.open_process(
                    [sys.executable, "-m", f"actors.{self.kind}"],
                    stdin=None,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                )
            try:
                code = await self._process.wait()
            finally:
                self.kill()
            if not self._killed:
                self.deaths.append(f"{self.kind} ended by itself with {code}")
            self._killed = False
            await anyio.sleep(RESTART_SECONDS)

    def kill(self) -> bool:
        """Kill the process; say whether there was one."""
        self._killed = self._signal(signal.SIGKILL) or self._killed
        return self._killed

    def stop(self) -> bool:
        """Let the process do nothing until told to go on; say whether there was one."""
        return self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the process go on, if it has not been killed meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> bool:
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.send_signal(number)
        return True


class Fleet:
    """A server and the actors on it."""

    def __init__(self, server: EmbeddedServer, actors: list[Actor]) -> None:
        self.server = server
        self.actors = actors
        self._server_back = anyio.Event()

    @property
    def deaths(self) -> list[str]:
        """Ends of processes that nobody had killed."""
        return [death for actor in self.actors for death in actor.deaths]

    async def one_of(self, kind: str, chance: Random, do: Callable[[Actor], bool]) -> Actor:
        """Do something to a random process of a kind, as soon as that runs; return which."""
        actor = chance.choice([actor for actor in self.actors if actor.kind == kind])
        with anyio.fail_after(READY_SECONDS):
            while not do(actor):
                await anyio.sleep(RESTART_SECONDS)
        return actor

    async def kill_server(self) -> None:
        """Kill the server and wait until it is back on its port and data."""
        self._server_back = anyio.Event()
        self._signal_server(signal.SIGKILL)
        with anyio.fail_after(READY_SECONDS):
            await self._server_back.wait()

    def server_is_back(self) -> None:
        """Note that the server was started again."""
        self._server_back.set()

    def stop_server(self) -> None:
        """Let the server do nothing until told to go on."""
        self._signal_server(signal.SIGSTOP)

    def let_server_go_on(self) -> None:
        """Let the server go on."""
        self._signal_server(signal.SIGCONT)

    def _signal_server(self, number: signal.Signals) -> None:
        if self.server.pid is not None:
            os.kill(self.server.pid, number)


@asynccontextmanager
async def running_fleet(directory: Path) -> AsyncGenerator[Fleet]:
    """Run a server, two agents, two streaming and a pricing process while the context is open."""
    async with EmbeddedServer(directory / "nats") as server, anyio.create_task_group() as tasks:
        actors = [
            Actor(kind, server.url, directory / f"{kind}-{number}.log")
            for number, kind in enumerate(REPLICAS)
        ]
        fleet = Fleet(server, actors)
        tasks.start_soon(partial(keep, server, started=fleet.server_is_back))
        for actor in actors:
            tasks.start_soon(actor.supervise)
        yield fleet
        tasks.cancel_scope.cancel()


async def wait_until_ready(
    transport: NatsTransport, wanted: Counter[str] = EVERYBODY, *, timeout: float = READY_SECONDS
) -> None:
    """Wait until so many processes of each kind have said that they serve.

    Raises:
        TimeoutError: they do not.
    """
    ready: dict[str, str] = {}
    complete = anyio.Event()

    async def heard(delivery: Delivery) -> None:
        alive = decode(Alive, delivery.data)
        if alive.ready:
            ready[alive.process] = alive.actor
        if Counter(ready.values()) >= wanted:
            complete.set()

    async with transport.subscription(HEARTBEAT_SUBJECT, heard):
        with anyio.fail_after(timeout):
            await complete.wait()
