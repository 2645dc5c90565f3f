"""Starts one pricing process."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from actors.pricing.actor import Handler, endpoints
from actors.pricing.adapters.books import Books
from actors.pricing.adapters.costs import COSTS
from actors.pricing.adapters.quoting import Quotes
from actors.pricing.adapters.reports import Reports
from actors.pricing.adapters.savings import Savings
from bus.config import Timing
from bus.kv import Watch
from bus.prices import PricesInForce, bucket_spec, open_bucket
from bus.process import Process, main, opened
from bus.projection import Projector
from bus.runtime import Part
from bus.service import Service
from bus.streams.spec import journal_spec
from schemas.ledger import ACCOUNT_ENTITY


async def run() -> None:
    """Run the process until it is told to stop."""
    streams = [bucket_spec(), journal_spec(ACCOUNT_ENTITY, Timing())]
    async with opened("pricing", more_streams=streams) as process:
        bus, in_force = process.bus, PricesInForce()
        bucket = open_bucket(bus.nats, bus.jetstream)
        async with in_force.following(bucket) as watch:
            quotes = Quotes(Books(in_force, bucket), bus.clock)
            costs = following(process)
            savings = Savings(costs, lambda: in_force.prices, bus.clock)
            handlers = [quotes, Reports(costs, bus.clock), savings]
            await process.run(parts(process, watch, costs, handlers))


def following(process: Process) -> Projector:
    """Return what keeps this process's copy of the costs."""
    return Projector(
        COSTS,
        process.bus.feed(COSTS.entity),
        process.bus,
        directory=Path(process.config.data) / "projections",
        process=process.name,
        timing=process.timing,
    )


def parts(
    process: Process, watch: Watch, costs: Projector, handlers: Sequence[Handler]
) -> list[Part]:
    """Return what runs in a pricing process, in the order of starting."""
    service = Service("pricing", endpoints(*handlers), process.bus)

    async def serve() -> None:
        await service.run(process.bus.nats.client)

    def not_read() -> str | None:
        return None if watch.fresh else "the rate book in force is not known"

    return [
        Part(name="prices", run=anyio.sleep_forever, missing=not_read),
        Part(name="costs", run=costs.run, missing=costs.missing),
        Part(name="service", run=serve, drain=service.drain, missing=service.missing),
    ]


if __name__ == "__main__":
    main(run)
