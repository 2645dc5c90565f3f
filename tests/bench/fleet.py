"""Real processes on a server of their own, for a bench: started, ready, killed, ended."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
import anyio.abc
import msgspec

from bus.server import EmbeddedServer
from tests.bench.wire import Wire, connected

READY_SECONDS = 30.0
ACTORS = ("agents", "streaming", "pricing", "workflows")


def present() -> list[str]:
    """Return the actors that there are."""
    folder = Path(__file__).parents[2] / "actors"
    return [name for name in ACTORS if (folder / name / "__main__.py").exists()]


class Fleet:
    """The server, a bare connection to it, and the processes by name and number."""

    def __init__(self, server: EmbeddedServer, wire: Wire, environment: Mapping[str, str]) -> None:
        self.wire = wire
        self._server = server
        self._environment = {**os.environ, **environment, "NATS_URL": server.url}
        self._environment["CALLBOARD_ALLOW_LOOPBACK"] = "true"
        self._ready: set[tuple[str, str]] = set()
        self._changed = anyio.Event()
        self.running: dict[str, list[anyio.abc.Process]] = {}

    async def watch(self) -> None:
        """Listen for heartbeats."""
        await self.wire.subscribe("_cb.sys.alive", self._heard)

    async def start(self, *actors: str) -> None:
        """Start a process of each of these actors, and return when they are ready.

        A name with words, such as ``tests.bench.flow owner``, is a module and its arguments.
        """
        wanted = len(self._ready) + len(actors)
        for actor in actors:
            module = actor if " " in actor else f"actors.{actor}"
            process = await anyio.open_process(
                [sys.executable, "-m", *module.split()],
                env=self._environment,
                stdout=DEVNULL,
                stderr=DEVNULL if not os.environ.get("BENCH_LOGS") else None,
            )
            self.running.setdefault(actor, []).append(process)
        with anyio.fail_after(READY_SECONDS):
            while len(self._ready) < wanted:
                await self._changed.wait()

    def kill(self, actor: str) -> None:
        """Kill the eldest process of an actor."""
        self.running[actor].pop(0).send_signal(signal.SIGKILL)

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time used so far by the server, the actors and this bench."""
        used = {"server": processor_seconds(self._server.pid), "bench": time.process_time()}
        for actor, processes in self.running.items():
            used[actor] = sum(processor_seconds(process.pid) for process in processes)
        return used

    def memory(self) -> dict[str, float]:
        """Return the memory that the server and the actors take up, in megabytes (10**6)."""
        used = {"server": proportional_megabytes(self._server.pid)}
        for actor, processes in self.running.items():
            used[actor] = sum(proportional_megabytes(process.pid) for process in processes)
        return used

    def resident(self) -> dict[str, float]:
        """Return the resident memory of the largest process of each kind, in megabytes (10**6)."""
        used = {"server": resident_megabytes(self._server.pid)}
        for actor, processes in self.running.items():
            used[actor] = max(resident_megabytes(process.pid) for process in processes)
        return used

    async def ask(self, subject: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a public request of the tenant ``local``; a refusal ends the bench."""
        answer = await self.wire.request(f"cb.local.{subject}", msgspec.json.encode(body))
        decoded: dict[str, Any] = msgspec.json.decode(answer)
        assert decoded.get("type") != "problem", decoded
        return decoded

    async def end(self) -> None:
        """End all processes."""
        for process in [each for several in self.running.values() for each in several]:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def _heard(self, _: bytes, data: bytes) -> None:
        alive = msgspec.json.decode(data)
        if alive.get("ready") and (alive["actor"], alive["process"]) not in self._ready:
            self._ready.add((alive["actor"], alive["process"]))
            self._changed.set()
            self._changed = anyio.Event()


def proportional_megabytes(pid: int | None) -> float:
    """Return the memory of a process, of what it shares its share, in megabytes (10**6)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    [line] = [line for line in rollup.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024 / 1e6


def resident_megabytes(pid: int | None) -> float:
    """Return the resident memory of a process, shared pages included, in megabytes (10**6)."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_seconds(pid: int | None) -> float:
    """Return the seconds of processor time of a process (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def server() -> AsyncGenerator[EmbeddedServer]:
    """Run a server on an empty directory while the context is open."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedServer(Path(folder)) as running:
            yield running


@asynccontextmanager
async def fleet(
    actors: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Fleet]:
    """Run a server and a process of each actor while the context is open."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(server())
        wire = await stack.enter_async_context(connected(running.url))
        started = Fleet(running, wire, environment or {})
        await started.watch()
        try:
            await started.start(*actors)
            yield started
        finally:
            with anyio.CancelScope(shield=True):
                await started.end()
