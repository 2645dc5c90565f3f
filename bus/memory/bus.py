"""A whole bus in memory, shared by any number of simulated processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import anyio
from anyio.lowlevel import checkpoint

from bus.config import Timing
from bus.memory.blobs import MemoryBlobs
from bus.memory.exchange import Fate, MemoryExchange
from bus.memory.feed import MemoryFeed
from bus.memory.journal import MemoryJournal
from bus.memory.outbox import MemoryOutbox
from bus.memory.states import MemoryStates, MemoryStateStore
from bus.memory.store import MemoryStore, moment
from bus.memory.transport import MemoryTransport
from bus.ports import Bus, Clock, Feed, Journal
from bus.streams.spec import ARCHIVE, RECORDS, journal_spec, journal_stream, stream_specs
from schemas.decision import Left

LOST_SECONDS = 0.05
"""What a killed server loses of its lazily synced streams."""


def loop_clock() -> datetime:
    """Return a time of day that follows the event loop's clock, virtual or real."""
    return moment(anyio.current_time())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProcess(Bus):
    """The bus as one process sees it."""

    store: MemoryStore

    def stored(self, stream: str) -> Journal:
        """Return a view of a stream."""
        return MemoryJournal(self.store, stream)


class MemoryBus:
    """What outlives processes: the streams and the blobs; ``timing`` is theirs.

    ``lives`` counts how often it came back.
    """

    def __init__(
        self,
        timing: Timing,
        clock: Clock = loop_clock,
        fate: Fate | None = None,
        store: MemoryStore | None = None,
        states: MemoryStateStore | None = None,
    ) -> None:
        self.store = store or MemoryStore(stream_specs((), timing))
        self.exchange = MemoryExchange(self.store, fate)
        self.blobs = MemoryBlobs()
        self.states = states or MemoryStateStore()
        self.states.streams = self.store
        self.lives = 1
        self.transport = MemoryTransport(self.exchange, "bus")
        self._connections = [self.transport]
        self._clock = clock
        self._timing = timing

    @asynccontextmanager
    async def process(self, name: str = "process") -> AsyncGenerator[MemoryProcess]:
        """Show the bus to a process while it lives: its connection and its outbox are its own."""
        transport = self.connect(name)
        outbox = MemoryOutbox(transport, self._timing)
        try:
            yield MemoryProcess(
                store=self.store,
                transport=transport,
                outbox=outbox,
                blobs=self.blobs,
                clock=self._clock,
                journal=self.journal,
                states=lambda entity: MemoryStates(self.states, entity),
                feed=self.feed,
                records=MemoryJournal(self.store, RECORDS),
                archive=MemoryJournal(self.store, ARCHIVE),
                erase=self.erase,
            )
        finally:
            outbox.close()
            self.disconnect(transport)

    def connect(self, name: str) -> MemoryTransport:
        """Open a connection, which is lost and found with the bus until it is disconnected."""
        transport = MemoryTransport(self.exchange, name)
        self._connections.append(transport)
        return transport

    def disconnect(self, transport: MemoryTransport) -> None:
        """Forget a connection."""
        self._connections.remove(transport)

    def journal(self, entity: str) -> Journal:
        """Return the journal of an entity type; its stream is made when it is first asked for."""
        spec = journal_spec(entity, self._timing)
        self.store.provide(spec)
        return MemoryJournal(self.store, spec.name)

    async def erase(self, left: Left) -> None:
        """See ``Erase``."""
        await checkpoint()
        self.store.erase(left)

    def feed(self, entity: str) -> Feed:
        """Return the whole journal of an entity type, for readers."""
        self.journal(entity)
        return MemoryFeed(self.store, journal_stream(entity))

    async def restart(self, lost_seconds: float = LOST_SECONDS) -> None:
        """Lose what a killed nats-server loses, then tell every process that the bus is back."""
        self.lose(lost_seconds)
        for transport in list(self._connections):
            transport.find()
        await checkpoint()

    def lose(self, lost_seconds: float = LOST_SECONDS) -> None:
        """Lose what a killed nats-server loses, the connections among it."""
        for transport in self._connections:
            transport.lose()
        self.store.restart(lost_seconds)
        self.lives += 1


@asynccontextmanager
async def memory_bus(
    timing: Timing | None = None, clock: Clock = loop_clock, fate: Fate | None = None
) -> AsyncGenerator[MemoryBus]:
    """Open a bus in memory."""
    bus = MemoryBus(timing or Timing(), clock, fate)
    async with bus.exchange.opened():
        yield bus
