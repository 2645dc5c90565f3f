"""Resident memory of each process under streams that come and go for minutes."""

from collections import defaultdict
from statistics import median

import anyio

from tests.bench.rows import Row
from tests.bench.streaming import Bench, opened

NAME = "memory"
STREAMS, MODEL, SECONDS = 100, "paced:200:0.05", 10
"""Streams at once, and how long each lasts."""

LOOK_SECONDS = 2.0


async def measure(minutes: float = 10.0) -> list[Row]:
    """Compare the tenth of the time that begins when a tenth is over with the last one."""
    samples: dict[str, list[float]] = defaultdict(list)
    async with opened() as bench, anyio.create_task_group() as tasks:
        tasks.start_soon(_look, bench, samples)
        await bench.ours.play(MODEL, STREAMS, int(STREAMS * minutes * 60 / SECONDS))
        tasks.cancel_scope.cancel()
    rows: list[Row] = []
    for who, sizes in samples.items():
        tenth = max(len(sizes) // 10, 1)
        early, late = median(sizes[tenth : 2 * tenth]), median(sizes[-tenth:])
        what = f"{who}, resident after {minutes:g} minutes"
        rows += [
            Row(NAME, what, late, "MB", most=120),
            Row(NAME, f"  beside that after {minutes / 10:g}", late, "MB", early, most=1.05),
        ]
    return rows


async def _look(bench: Bench, samples: dict[str, list[float]]) -> None:
    while True:
        await anyio.sleep(LOOK_SECONDS)
        for who, size in bench.ours.resident().items():
            samples[who].append(size)
