"""One run on one server: start a fleet, keep it busy, do things to it, judge."""

from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random

from bus.connection import NatsAddress
from bus.jetstream import open_bus
from tests.chaos.clients import chaos_client
from tests.chaos.faults import LimitedFiles, ServerTormentor, memory_disk
from tests.chaos.judge import Judge
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.provider import running_provider
from tests.chaos.trial import Plan, Result, Trial
from tests.chaos.victims import running_fleet, wait_until_ready


async def run(directory: Path, plan: Plan) -> Result:
    """Do what is planned to a busy fleet whose files lie in ``directory``."""
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(directory / "ledger.sqlite")))
        calls_file = directory / "calls.jsonl"
        provider = await stack.enter_async_context(running_provider(calls_file))
        disk = await stack.enter_async_context(memory_disk(directory / "nats"))
        fleet = await stack.enter_async_context(running_fleet(directory))
        address = NatsAddress(urls=(fleet.server.url,), name="judge")
        bus = await stack.enter_async_context(open_bus(address, entities=["execution"]))
        await wait_until_ready(bus.nats)
        clients = [
            await stack.enter_async_context(chaos_client(name, (fleet.server.url,), ledger))
            for name in ("one", "other")
        ]
        disk = disk or LimitedFiles(fleet.server)
        trial = Trial(
            plan,
            ServerTormentor(fleet, disk, Random(plan.seed)),
            Load(clients, provider, Random(plan.seed + 1)),
            ledger,
            bus.nats,
        )
        return await trial.run(Judge(bus, clients[0], ledger, calls_file))
