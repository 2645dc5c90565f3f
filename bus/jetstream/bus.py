"""The whole bus on NATS, for one process."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bus.config import Durability, Timing
from bus.connection import NatsAddress, NatsTransport, connect
from bus.jetstream.blobs import StreamBlobs
from bus.jetstream.erasing import StreamEraser
from bus.jetstream.feed import JetStreamFeed
from bus.jetstream.journal import JetStreamJournal
from bus.jetstream.outbox import JetStreamOutbox
from bus.jetstream.states import JetStreamStates
from bus.ports import Bus, Clock, Feed, Journal
from bus.streams.api import JetStream
from bus.streams.provision import provision
from bus.streams.spec import ARCHIVE, RECORDS, StreamSpec, journal_stream, stream_specs

MICROSECONDS = 1_000_000
"""In a second. No stream stores a message in each, so sequences that begin with the time grow."""


def system_clock() -> datetime:
    """Return the time of day of this machine: the one place that asks for it."""
    return datetime.now(UTC)  # noqa: TID251


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsBus(Bus):
    """A bus on NATS, with what only is there: the connection and the API of JetStream.

    What anybody may send arrives on ``public``: a connection of its own where the bus was opened
    ``apart``. Whatever a flood does to that one, the fleet's own traffic goes on.
    """

    outbox: JetStreamOutbox
    nats: NatsTransport
    public: NatsTransport
    jetstream: JetStream
    durability: Durability

    def stored(self, stream: str) -> Journal:
        """Return a view of a stream."""
        return JetStreamJournal(self.nats, self.jetstream, stream)


@asynccontextmanager
async def open_bus(
    address: NatsAddress,
    *,
    entities: Iterable[str] = (),
    more_streams: Iterable[StreamSpec] = (),
    durability: Durability = "r1",
    timing: Timing | None = None,
    clock: Clock = system_clock,
    apart: bool = False,
) -> AsyncGenerator[NatsBus]:
    """Connect, make the streams that are missing, and hand out the bus while the context is open.

    ``entities`` are those whose journals must be there, ``more_streams`` what else is needed, such
    as key-value buckets. ``apart`` opens a second connection for what anybody may send. After
    each restart of the bus the streams that it lost are made again
    before anybody else is told of it.

    Raises:
        UnavailableError: no server answered, or it ended the connection for good.
        ConfigError: the server refuses the user, or a stream.
        DriftError: a stream stands with settings under which our promises do not hold.
    """
    timing = timing or Timing()
    specs = (*stream_specs(entities, timing), *more_streams)
    async with (
        connect(address, timing) as transport,
        _public(address, timing, transport, apart=apart) as public,
    ):
        jetstream = JetStream(transport)

        async def provide() -> None:
            first = round(clock().timestamp() * MICROSECONDS)
            await provision(jetstream, specs, durability, first_sequence=first)

        await provide()
        transport.on_reconnect(provide)
        in_order = durability == "r1"
        async with JetStreamOutbox(transport, timing, in_order=in_order).opened() as outbox:
            yield _assembled(public, jetstream, outbox, clock, durability)


@asynccontextmanager
async def _public(
    address: NatsAddress, timing: Timing, own: NatsTransport, *, apart: bool
) -> AsyncGenerator[NatsTransport]:
    """Yield the connection for public requests: the only one, unless it is to be apart."""
    if not apart:
        yield own
        return
    async with connect(replace(address, name=f"{address.name}-public"), timing) as public:
        yield public


def _assembled(
    public: NatsTransport,
    jetstream: JetStream,
    outbox: JetStreamOutbox,
    clock: Clock,
    durability: Durability,
) -> NatsBus:
    transport = jetstream.transport

    def journal(entity: str) -> Journal:
        return JetStreamJournal(transport, jetstream, journal_stream(entity))

    def feed(entity: str) -> Feed:
        return JetStreamFeed(transport, jetstream, entity)

    return NatsBus(
        transport=transport,
        outbox=outbox,
        blobs=StreamBlobs(transport, jetstream),
        clock=clock,
        journal=journal,
        states=lambda entity: JetStreamStates(transport, jetstream, entity),
        feed=feed,
        records=JetStreamJournal(transport, jetstream, RECORDS),
        archive=JetStreamJournal(transport, jetstream, ARCHIVE),
        erase=StreamEraser(jetstream),
        nats=transport,
        public=public,
        jetstream=jetstream,
        durability=durability,
    )
