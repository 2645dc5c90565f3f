"""The processes of a fleet that are killed, each started again as a supervisor would."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import anyio
from anyio.abc import Process, TaskGroup

from bus.codec import decode
from bus.connection import NatsTransport
from bus.ports import Delivery
from bus.server import EmbeddedServer
from schemas.fleet import HEARTBEAT_SUBJECT, Alive

WEIGHTS = {"agents": 2, "streaming": 2, "nats": 1}
REPLICAS = ("agents", "agents", "streaming", "streaming")
RESTART_SECONDS = 0.1
READY_SECONDS = 30.0


class Kill(NamedTuple):
    """Who was killed when, by the clock of the event loop."""

    at: float
    kind: str


class Actor:
    """One actor process under supervision."""

    def __init__(self, kind: str, url: str, log_file: Path) -> None:
        self.kind = kind
        self.deaths: list[str] = []
        self._environment = os.environ | {
            "NATS_URL": url,
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
        if self._process is None or self._process.returncode is not None:
            return False
        self._killed = True
        self._process.send_signal(signal.SIGKILL)
        return True


class Fleet:
    """A server and the actors on it."""

    def __init__(self, server: EmbeddedServer, actors: list[Actor]) -> None:
        self.server = server
        self.actors = actors
        self.kills: list[Kill] = []

    @property
    def deaths(self) -> list[str]:
        """Ends of processes that nobody had killed."""
        return [death for actor in self.actors for death in actor.deaths]

    async def kill_one(self, chance: Random) -> None:
        """Kill a random process; a killed server is started again on its port and data."""
        kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if kind == "nats":
            self.kills.append(Kill(anyio.current_time(), kind))
            await self.server.kill()
            await anyio.sleep(RESTART_SECONDS)
            await self.server.start()
            return
        actor = chance.choice([actor for actor in self.actors if actor.kind == kind])
        with anyio.fail_after(READY_SECONDS):
            while not actor.kill():
                await anyio.sleep(RESTART_SECONDS)
        self.kills.append(Kill(anyio.current_time(), kind))


@asynccontextmanager
async def running_fleet(directory: Path) -> AsyncGenerator[Fleet]:
    """Run a server, two agents and two streaming processes while the context is open."""
    async with EmbeddedServer(directory / "nats") as server, anyio.create_task_group() as tasks:
        actors = [
            Actor(kind, server.url, directory / f"{kind}-{number}.log")
            for number, kind in enumerate(REPLICAS)
        ]
        _supervise(actors, tasks)
        yield Fleet(server, actors)
        tasks.cancel_scope.cancel()


def _supervise(actors: list[Actor], tasks: TaskGroup) -> None:
    for actor in actors:
        tasks.start_soon(actor.supervise)


async def wait_until_ready(transport: NatsTransport) -> None:
    """Wait until as many processes as there should be say that they serve.

    Raises:
        TimeoutError: they do not.
    """
    ready: set[str] = set()
    complete = anyio.Event()

    async def heard(delivery: Delivery) -> None:
        alive = decode(Alive, delivery.data)
        if alive.ready:
            ready.add(alive.process)
        if len(ready) >= len(REPLICAS):
            complete.set()

    async with transport.subscription(HEARTBEAT_SUBJECT, heard):
        with anyio.fail_after(READY_SECONDS):
            await complete.wait()
