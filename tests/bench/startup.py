"""How soon a fleet is ready, and how much memory its idle processes hold."""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import anyio

from tests.bench.fleet import fleet, present, proportional_megabytes
from tests.bench.rows import Row

NAME = "fleet"
READY_SECONDS = 3.0
IDLE_MEGABYTES = 60.0
WHOLE_MEGABYTES = 200.0
"""All that `callboard up` starts, itself included; what is shared counts once."""

LONGEST_SECONDS = 60.0
POLL_SECONDS = 0.01
UP = "from actors.cli.entry import run; run()"
SETTLE_SECONDS = 2.0


async def measure() -> list[Row]:
    """Measure actors in processes of their own, and what a newcomer starts."""
    return [*await _actors(), *await _up()]


async def _actors() -> list[Row]:
    """Start a server and all actors, then look at their memory."""
    actors = present()
    began = time.perf_counter()
    async with fleet(actors) as running:
        took = time.perf_counter() - began
        await anyio.sleep(SETTLE_SECONDS)
        what = f"server and {len(actors)} actors ready"
        rows = [Row(NAME, what, took, "s", most=READY_SECONDS)]
        for actor, [process] in running.running.items():
            what = f"resident memory of {actor}, idle"
            rows.append(Row(NAME, what, _resident(process.pid), "MB", most=IDLE_MEGABYTES))
        return rows


async def _up() -> list[Row]:
    """Run `callboard up` in an empty directory, and look at the memory of all it has started."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        options = ["up", "--data", folder, "--port", "0", "--ready-file", str(ready)]
        began = time.perf_counter()
        async with await anyio.open_process(
            [sys.executable, "-c", UP, *options], stdout=DEVNULL, stderr=DEVNULL
        ) as process:
            try:
                with anyio.fail_after(LONGEST_SECONDS):
                    while not ready.exists():
                        await anyio.sleep(POLL_SECONDS)
                took = time.perf_counter() - began
                await anyio.sleep(SETTLE_SECONDS)
                held = sum(map(proportional_megabytes, _family(process.pid)))
            finally:
                process.terminate()
                await process.wait()
    return [
        Row(NAME, "callboard up, from the command to ready", took, "s", most=READY_SECONDS),
        Row(NAME, "memory of all that it has started", held, "MB", most=WHOLE_MEGABYTES),
    ]


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text(encoding="ascii").split()):
            yield from _family(child)


def _resident(pid: int) -> float:
    """Return the resident memory in megabytes (10**6)."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    )
    return int(fields["VmRSS"].split()[0]) * 1024 / 1e6
