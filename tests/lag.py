"""How long the event loop did not turn while something was done."""

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import perf_counter, process_time

import anyio

BOUND_SECONDS = 0.1
"""What nobody may make the loop wait longer than."""

TOLERATED_SECONDS = 3 * BOUND_SECONDS
"""The same, on a machine that does other things as well."""

_TICK_SECONDS = 0.001


class Lag:
    """The longest time between two turns of the loop, less what the process did not run."""

    def __init__(self) -> None:
        self.longest = 0.0


@asynccontextmanager
async def measured() -> AsyncGenerator[Lag]:
    """Measure the lag while the context is open.

    Only the processor time of this process counts, so that a busy machine does not. What was there
    before is left out of collections, as a process of a fleet does: thousands of tests take longer
    to look through than what is measured.
    """
    lag = Lag()
    gc.collect()
    gc.freeze()

    async def tick() -> None:
        while True:
            turned, worked = perf_counter(), process_time()
            await anyio.sleep(_TICK_SECONDS)
            gap = min(perf_counter() - turned, process_time() - worked + _TICK_SECONDS)
            lag.longest = max(lag.longest, gap)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await anyio.sleep(2 * _TICK_SECONDS)
        yield lag
        await anyio.sleep(2 * _TICK_SECONDS)
        tasks.cancel_scope.cancel()
