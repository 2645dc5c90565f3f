"""The durable flow beside Restate, the fastest peer: the same steps and callers, in the same run.

Restate runs as it ships: one server, which syncs its log before it acknowledges
(``rocksdb-disable-wal-fsync = false``), and one Python worker on its SDK. ``make bench-restate``
installs it into ``.venv-peers``; nothing else needs it. Ratios of processor time hold on a busy
machine too; rates and latencies need a quiet one.
"""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from subprocess import DEVNULL

import anyio
import anyio.abc
import msgspec

from tests.bench import durable
from tests.bench.executions import Counter
from tests.bench.fleet import processor_seconds, proportional_megabytes
from tests.bench.http import Caller, caller, encoded, post
from tests.bench.rows import Row

NAME = "restate"
PEERS = Path(__file__).parents[2] / ".venv-peers"
READY_SECONDS = 60.0
BARS: dict[str, tuple[str, float]] = {
    "one caller, start -> result p50": ("most", 0.5),
    "one caller, start -> result p99": ("most", 0.5),
    "completed, 20 callers": ("least", 3),
    "completed, 200 callers": ("least", 3),
    "processor time a flow, 20 callers": ("most", 0.5),
    "processor time a flow, 200 callers": ("most", 0.5),
    "memory after the loads (PSS)": ("most", 0.5),
    "worker killed, 100 flows done, overhead": ("most", 1),
}
"""Figures that are compared, and what ours is to be as a multiple of Restate's."""


class Peer:
    """A server of Restate and its worker."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment, "RESTATE_DISABLE_TELEMETRY": "true"}
        self._port = _free_port()
        self._processes: dict[str, anyio.abc.Process] = {}
        self.ingress = folder / "bench" / "ingress.sock"

    async def start(self) -> None:
        """Start both and make them known to each other."""
        [binary] = PEERS.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
        arguments = ["--base-dir", str(self._folder), "--node-name", "bench", "--no-logo"]
        await self._open("server", str(binary), *arguments, "--use-random-ports", "true")
        await self.start_worker()
        admin = self._folder / "bench" / "admin.sock"
        uri = msgspec.json.encode({"uri": f"http://127.0.0.1:{self._port}/"})
        await _until_there_is(anyio.Path(admin))
        await post(admin, "/deployments", uri)
        await _until_there_is(anyio.Path(self.ingress))

    async def start_worker(self) -> None:
        """Start the worker, where the one before was too."""
        options = ["--bind", f"127.0.0.1:{self._port}", "--worker-class", "uvloop"]
        module = "tests.bench.restate_flow:app"
        await self._open("worker", str(PEERS / "bin" / "hypercorn"), *options, module)
        with anyio.fail_after(READY_SECONDS):
            while not _listens(self._port):
                await anyio.sleep(0.01)

    async def kill_worker(self) -> None:
        """Kill the worker and all its processes."""
        await _end(self._processes["worker"])

    async def end(self) -> None:
        """End both."""
        for process in self._processes.values():
            await _end(process)

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time used so far."""
        used = {who: sum(map(processor_seconds, _family(p.pid))) for who, p in self._running()}
        return {**used, "bench": time.process_time()}

    def memory(self) -> dict[str, float]:
        """Return the memory that server and worker take up."""
        return {who: sum(map(proportional_megabytes, _family(p.pid))) for who, p in self._running()}

    def _running(self) -> list[tuple[str, anyio.abc.Process]]:
        return list(self._processes.items())

    async def _open(self, who: str, *command: str) -> None:
        self._processes[who] = await anyio.open_process(
            command,
            cwd=Path(__file__).parents[2],
            env=self._environment,
            stdout=DEVNULL,
            stderr=DEVNULL if not os.environ.get("BENCH_LOGS") else None,
            start_new_session=True,
        )


async def measure() -> list[Row]:
    """Measure ours, then Restate, and set the one beside the other."""
    if not PEERS.exists():
        sys.exit(f"{PEERS.name} is not there; make bench-restate installs it")
    ours = await durable.measure()
    peers = {row.what: row.figure for row in await _peer_rows()}
    compared = [
        row._replace(bench=NAME, beside=peers[row.what], **dict([BARS[row.what]]))
        for row in ours
        if row.what in BARS
    ]
    return [*ours, *compared]


async def _peer_rows() -> list[Row]:
    async with peer() as running:
        await _keep(running, 50, 500)
        times = await _keep(running, 1, durable.LIGHT + durable.WARM)
        takes = [after - before for before, after in pairwise(times)]
        rows = durable.light_rows(NAME, takes[durable.WARM :])
        for callers, count in durable.LOADS:
            rows += await _loaded(running, callers, count // 2)
        rows += durable.memory_rows(NAME, running.memory())
    return [*rows, *await _worker_killed()]


async def _loaded(running: Peer, callers: int, count: int) -> list[Row]:
    before = running.processor_seconds()
    times = await _keep(running, callers, count)
    after = running.processor_seconds()
    each = {who: (after[who] - before[who]) / count * 1e3 for who in after}
    return durable.load_rows(NAME, callers, count / (times[-1] - times[0]), each)


async def _keep(running: Peer, flying: int, count: int) -> list[float]:
    """Let so many callers ask until ``count`` flows are done; return the begin and each end."""
    done, left, request = Counter(), count - flying, start()

    def answered(asking: Caller, body: bytes) -> None:
        nonlocal left
        done.take(b"", body)
        if left > 0:
            left -= 1
            asking.write(request)

    callers = [await caller(running.ingress, answered) for _ in range(flying)]
    began = time.perf_counter()
    for each in callers:
        each.write(request)
    await done.reach(count)
    for each in callers:
        each.close()
    return [began, *done.times]


def start(seconds: float = 0.0) -> bytes:
    """Return the encoded request for a flow."""
    return encoded("/flows/start", msgspec.json.encode(seconds))


async def _worker_killed() -> list[Row]:
    """Kill the worker that has all flows and start it again at once."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        async with peer({"FLOW_LEDGER": str(ledger)}) as running:
            await _keep(running, durable.FLYING, durable.WARM)
            ledger.unlink()
            done, request = Counter(), start(durable.STEP_SECONDS)
            for _ in range(durable.FLYING):
                asking = await caller(running.ingress, lambda _, body: done.take(b"", body))
                asking.write(request)
            await durable.all_begun(ledger)
            killed_at = time.perf_counter()
            await running.kill_worker()
            await running.start_worker()
            took = await done.reach(durable.FLYING) - killed_at
        return durable.recovery_rows(NAME, took, ledger)


@asynccontextmanager
async def peer(environment: Mapping[str, str] | None = None) -> AsyncGenerator[Peer]:
    """Run Restate on an empty directory while the context is open."""
    with tempfile.TemporaryDirectory() as folder:
        running = Peer(Path(folder), environment or {})
        try:
            await running.start()
            yield running
        finally:
            with anyio.CancelScope(shield=True):
                await running.end()


async def _until_there_is(path: anyio.Path) -> None:
    with anyio.fail_after(READY_SECONDS):
        while not await path.is_socket():
            await anyio.sleep(0.05)


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [pid, *(each for child in children.split() for each in _family(int(child)))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
