"""A bus for a test: in memory, or on a nats-server of its own, under one interface."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from bus.config import Timing
from bus.connection import NatsAddress
from bus.jetstream import NatsBus, open_bus
from bus.memory import MemoryProcess, memory_bus
from bus.server import EmbeddedCluster, EmbeddedServer
from bus.streams.spec import StreamSpec

__all__ = ["NatsWorld", "Process", "Server", "World", "memory_bus", "nats_world"]

Process = NatsBus | MemoryProcess
"""The bus as one process sees it, with ``stored`` to look into any stream."""


Server = EmbeddedServer | EmbeddedCluster
"""What a bus on NATS runs on."""


class World(Protocol):
    """What processes share. ``MemoryBus`` and ``NatsWorld`` are two."""

    def process(self, name: str = "process") -> AbstractAsyncContextManager[Process]:
        """Show the bus to a process while the context is open."""
        ...

    async def restart(self) -> None:
        """Kill the bus and start it again: memory and the newest lazy messages are lost."""
        ...


class NatsWorld:
    """Processes on one nats-server or cluster, each with a connection of its own."""

    def __init__(
        self,
        server: Server,
        entities: Iterable[str] = (),
        more_streams: Iterable[StreamSpec] = (),
        timing: Timing | None = None,
    ) -> None:
        self.server = server
        self._entities = tuple(entities)
        self._more_streams = tuple(more_streams)
        self._timing = timing

    @asynccontextmanager
    async def process(self, name: str = "process") -> AsyncGenerator[NatsBus]:
        """See ``World.process``."""
        opened = open_bus(
            NatsAddress(urls=self.server.urls, name=name),
            entities=self._entities,
            more_streams=self._more_streams,
            durability=self.server.durability,
            timing=self._timing,
        )
        async with opened as bus:
            yield bus

    async def restart(self) -> None:
        """See ``World.restart``. The processes find the server again by themselves."""
        await self.server.kill()
        await self.server.start()


@asynccontextmanager
async def nats_world(
    server: Server, entities: Iterable[str] = (), timing: Timing | None = None
) -> AsyncGenerator[NatsWorld]:
    """Run a nats-server or a cluster while the context is open."""
    async with server:
        yield NatsWorld(server, entities, timing=timing)
