"""Starts one pricing process."""

from collections.abc import Sequence

from actors.pricing.actor import Handler, endpoints
from bus.process import Process, main, opened
from bus.runtime import Part
from bus.service import Service


async def run() -> None:
    """Run the process until it is told to stop."""
    async with opened("pricing") as process:
        await process.run(parts(process, handlers=()))


def parts(process: Process, handlers: Sequence[Handler]) -> list[Part]:
    """Return what runs in a pricing process, in the order of starting."""
    service = Service("pricing", endpoints(*handlers), process.bus)

    async def serve() -> None:
        await service.run(process.bus.nats.client)

    return [Part(name="service", run=serve, drain=service.drain, missing=service.missing)]


if __name__ == "__main__":
    main(run)
