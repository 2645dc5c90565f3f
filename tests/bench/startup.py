"""How soon a fleet is ready, and how much memory its idle processes hold."""

import time
from pathlib import Path

import anyio

from tests.bench.fleet import fleet, present
from tests.bench.rows import Row

NAME = "fleet"
READY_SECONDS = 3.0
IDLE_MEGABYTES = 60.0
SETTLE_SECONDS = 2.0


async def measure() -> list[Row]:
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


def _resident(pid: int) -> float:
    """Return the resident memory in megabytes (10**6)."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    )
    return int(fields["VmRSS"].split()[0]) * 1024 / 1e6
