"""What is done to a fleet: processes are killed or stopped for a while, its disk is full."""

import os
import resource
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from bus.server import EmbeddedServer
from tests.chaos.ledger import time_of_day
from tests.chaos.victims import Actor, Fleet

SHORTEST_STOP, LONGEST_STOP = 0.5, 8.0
SHORTEST_FULL, LONGEST_FULL = 0.5, 3.0
DISK_BYTES = 4 * 1024**3
"""Most of which is never used; it lies in memory."""

SPARE_BYTES = 64 * 1024


DISK_FULL = "disk full"


class Fault(NamedTuple):
    """What was done, from when on, by the clock of the event loop.

    ``over`` is the moment from which the fleet can recover.
    """

    at: float
    kind: str
    over: float


class Woken(NamedTuple):
    """When something that had been stopped went on, by the time of day, and what it was."""

    at: float
    what: str


class Disk(Protocol):
    """What the server writes to."""

    def fill(self) -> None:
        """Leave no room."""
        ...

    def free(self) -> None:
        """Make room again."""
        ...


class MemoryDisk:
    """A file system in memory, made as small as what it holds."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fill(self) -> None:
        """Leave no room."""
        # It refuses to be smaller than what it holds, and that grows while we look.
        while self._resize(self._used() + SPARE_BYTES):
            pass

    def free(self) -> None:
        """Make room again."""
        self._resize(DISK_BYTES)

    def _used(self) -> int:
        stat = os.statvfs(self._directory)
        return (stat.f_blocks - stat.f_bfree) * stat.f_frsize

    def _resize(self, size: int) -> int:
        command = ["mount", "-o", f"remount,size={size}", str(self._directory)]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode


class LimitedFiles:
    """Where mounting is not allowed: the server's files may not grow."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Leave no room."""
        self._limit((0, self._usual[1]))

    def free(self) -> None:
        """Make room again."""
        self._limit(self._usual)

    def _limit(self, limits: tuple[int, int]) -> None:
        if self._server.pid is not None:
            resource.prlimit(self._server.pid, resource.RLIMIT_FSIZE, limits)


@asynccontextmanager
async def memory_disk(directory: Path) -> AsyncGenerator[MemoryDisk | None]:
    """Mount a file system in memory while the context is open; None where that is not allowed."""
    await anyio.Path(directory).mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(directory)]
    mounted = await anyio.run_process(["mount", *options], check=False)
    try:
        yield None if mounted.returncode else MemoryDisk(directory)
    finally:
        if not mounted.returncode:
            kept = directory.with_name(f"{directory.name}-at-the-end")
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(shutil.copytree, directory, kept)
                await anyio.run_process(["umount", "--lazy", str(directory)])


class ServerTormentor:
    """Does one thing after another to a fleet; what was stopped goes on by itself meanwhile."""

    WEIGHTS = {
        "agents killed": 4,
        "streaming killed": 4,
        "nats killed": 2,
        "agents stopped": 3,
        "streaming stopped": 3,
        "nats stopped": 1,
        "pricing killed": 1,
        "pricing stopped": 1,
        DISK_FULL: 1,
    }

    def __init__(self, fleet: Fleet, disk: Disk, chance: Random) -> None:
        self._fleet = fleet
        self._disk = disk
        self._chance = chance
        self.faults: list[Fault] = []
        self.woken: list[Woken] = []

    @property
    def surprises(self) -> list[str]:
        """What happened that it had not wanted: processes that ended by themselves."""
        return self._fleet.deaths

    async def one(self, tasks: TaskGroup) -> None:
        """Do one thing by chance. What goes on by itself later does so in ``tasks``."""
        kind = self._chance.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        victim, _, what = kind.partition(" ")
        match victim, what:
            case "nats", "killed":
                await self._fleet.kill_server()
                self._note(kind)
            case "nats", "stopped":
                await self._for_a_while(kind, self._fleet.stop_server, self._fleet.let_server_go_on)
            case "disk", _:
                await self._for_a_while(kind, self._disk.fill, self._disk.free)
            case _, "killed":
                await self._fleet.one_of(victim, self._chance, Actor.kill)
                self._note(kind)
            case _:
                actor = await self._fleet.one_of(victim, self._chance, Actor.stop)
                self._note(kind)
                tasks.start_soon(self._continue_later, actor, self._stop_seconds())

    def _note(self, kind: str, at: float | None = None) -> None:
        now = anyio.current_time()
        self.faults.append(Fault(at or now, kind, now))

    def _stop_seconds(self) -> float:
        return self._chance.uniform(SHORTEST_STOP, LONGEST_STOP)

    async def _continue_later(self, actor: Actor, seconds: float) -> None:
        await anyio.sleep(seconds)
        actor.go_on()
        self.woken.append(Woken(time_of_day(), f"{actor.kind} stopped"))

    async def _for_a_while(
        self, kind: str, begin: Callable[[], None], end: Callable[[], None]
    ) -> None:
        disk = kind == DISK_FULL
        shortest, longest = (SHORTEST_FULL, LONGEST_FULL) if disk else (SHORTEST_STOP, LONGEST_STOP)
        at = anyio.current_time()
        begin()
        try:
            await anyio.sleep(self._chance.uniform(shortest, longest))
        finally:
            end()
        self.woken.append(Woken(time_of_day(), kind))
        self._note(kind, at)
