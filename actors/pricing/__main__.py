"""Starts one pricing process."""

from collections.abc import Sequence

import anyio

from actors.pricing.actor import Handler, endpoints
from actors.pricing.adapters.books import Books
from actors.pricing.adapters.quoting import Quotes
from bus.kv import Watch
from bus.prices import PricesInForce, bucket_spec, open_bucket
from bus.process import Process, main, opened
from bus.runtime import Part
from bus.service import Service


async def run() -> None:
    """Run the process until it is told to stop."""
    async with opened("pricing", more_streams=[bucket_spec()]) as process:
        bus, in_force = process.bus, PricesInForce()
        bucket = open_bucket(bus.nats, bus.jetstream)
        async with in_force.following(bucket) as watch:
            quotes = Quotes(Books(in_force, bucket), bus.clock)
            await process.run(parts(process, watch, handlers=[quotes]))


def parts(process: Process, watch: Watch, handlers: Sequence[Handler]) -> list[Part]:
    """Return what runs in a pricing process, in the order of starting."""
    service = Service("pricing", endpoints(*handlers), process.bus)

    async def serve() -> None:
        await service.run(process.bus.nats.client)

    def not_read() -> str | None:
        return None if watch.fresh else "the rate book in force is not known"

    return [
        Part(name="prices", run=anyio.sleep_forever, missing=not_read),
        Part(name="service", run=serve, drain=service.drain, missing=service.missing),
    ]


if __name__ == "__main__":
    main(run)
