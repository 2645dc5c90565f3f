"""Running one actor in a process, or several: they meet on the bus either way."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from bus.actor.declaration import Actor
from bus.actor.here import Here
from bus.actor.parts import parts_of
from bus.config import Timing, load
from bus.runtime import process
from bus.runtime.process import Process, connected, process_name, run_together
from bus.runtime.supervision import Part


def main(actor: Actor, about: str | None) -> None:
    """Run a process of an actor to its end, see ``bus.runtime.process.main``."""
    process.main(partial(serve, actor), about)


async def serve(*actors: Actor, timing: Timing | None = None) -> None:
    """Run actors in this process until it is told to stop.

    Raises:
        CallboardError: it cannot begin, or a part failed too often.
    """
    timing = timing or Timing()
    configs = [load(actor.settings, os.environ) for actor in actors]
    name = "+".join(actor.name for actor in actors)
    names = [process_name(actor.name) for actor in actors]
    entities = [entity.name for actor in actors for entity in actor.entities]
    buckets = dict.fromkeys(store for actor in actors for store in actor.buckets)
    streams = [store.spec() for store in buckets]
    async with (
        connected(name, names[0], configs[0], timing, entities=entities, streams=streams) as bus,
        AsyncExitStack() as stack,
    ):
        running: list[tuple[Process, list[Part]]] = []
        for actor, own_name, config in zip(actors, names, configs, strict=True):
            owned = [entity.name for entity in actor.entities]
            place = Process(own_name, owned, config, bus, timing)
            parts = await stack.enter_async_context(_opened(Here(actor, place)))
            running.append((place, parts))
        await run_together(running)


@asynccontextmanager
async def _opened(here: Here) -> AsyncGenerator[list[Part]]:
    """Make what an actor needs, and hand out its parts while the context is open."""
    async with here.following(), here.actor.opened(here) as own:
        here.add_routes(dict(own.routes))
        for source in own.uses:
            here.process.usage.add(source)
        yield parts_of(here, own)
