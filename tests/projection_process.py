"""A process that follows a journal until it kills itself: ``… URL DURABILITY DIRECTORY EVENTS``."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import msgspec

from bus.config import Durability
from bus.connection import NatsAddress
from bus.jetstream import open_bus
from bus.projection import Fact, Rows
from tests.projections import QUICK, SUMS, apply, projecting


async def main(url: str, durability: Durability, directory: str, events: int) -> None:
    """Follow, and die by SIGKILL while the ``events``-th event is applied."""
    left = [events]

    def deadly(rows: Rows, fact: Fact) -> None:
        apply(rows, fact)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async with (
        open_bus(
            NatsAddress(urls=(url,), name="mortal"), durability=durability, timing=QUICK
        ) as bus,
        projecting(bus, Path(directory), replace(SUMS, apply=deadly)),
    ):
        await anyio.sleep_forever()


if __name__ == "__main__":
    _, address, copies, directory, events = sys.argv
    anyio.run(main, address, msgspec.convert(copies, Durability), directory, int(events))
