"""One run: start a fleet, keep it busy, do things to it, wait for the end, judge."""

from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random
from typing import NamedTuple

import anyio

from bus.connection import Address
from bus.jetstream import open_bus
from tests.chaos import report
from tests.chaos.clients import chaos_client
from tests.chaos.faults import DISK_FULL, LimitedFiles, Tormentor, memory_disk
from tests.chaos.judge import Verdict, judge
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.victims import running_fleet, wait_until_ready

LEAST_PAUSE, LONGEST_PAUSE = 0.5, 3.0
WARM_SECONDS = 1.0


class Result(NamedTuple):
    """Whether all promises were kept, and the report."""

    verdict: Verdict
    report: str


async def run(directory: Path, *, faults: int, seed: int) -> Result:
    """Do so many things to a busy fleet whose files lie in ``directory``."""
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(directory / "ledger.sqlite")))
        disk = await stack.enter_async_context(memory_disk(directory / "nats"))
        fleet = await stack.enter_async_context(running_fleet(directory))
        address = Address(urls=(fleet.server.url,), name="judge")
        bus = await stack.enter_async_context(open_bus(address, entities=["execution"]))
        await wait_until_ready(bus.nats)
        clients = [
            await stack.enter_async_context(chaos_client(name, fleet.server.url, ledger))
            for name in ("one", "other")
        ]
        load = Load(clients, Random(seed + 1))
        await load.prepare()
        limited = disk or LimitedFiles(fleet.server)
        tormentor = Tormentor(fleet, limited, Random(seed))
        await _torment(tormentor, load, faults, Random(seed + 2))
        verdict = await judge(bus, clients[0], ledger, load.given)
        verdict.faults.extend(fleet.deaths)
        if not any(fault.kind == DISK_FULL for fault in tormentor.faults):
            verdict.mismatched.extend(verdict.thinned)
        return Result(verdict, report.text(verdict, ledger, tormentor.faults, seed))


async def _torment(tormentor: Tormentor, load: Load, faults: int, chance: Random) -> None:
    async with anyio.create_task_group() as tasks:
        load.start(tasks)
        await anyio.sleep(WARM_SECONDS)
        for _ in range(faults):
            await anyio.sleep(chance.uniform(LEAST_PAUSE, LONGEST_PAUSE))
            await tormentor.one(tasks)
        await anyio.sleep(WARM_SECONDS)
        load.stop()
