"""Writes to the journal by a client that only an isolated server hears.

Where that server leads, it takes them for a while without being able to store them for good. What
it acknowledges must be there when it is back among the others; it should acknowledge nothing.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.errors import FencedError, UnavailableError
from bus.jetstream import NatsBus
from bus.jetstream.journal import JetStreamJournal
from bus.ports import Journal, StoredMessage
from bus.server import EmbeddedServer
from bus.server.cluster import SIZE, node_name
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import journal_stream
from bus.subjects import journal_subject
from tests.chaos.patience import patiently

SUBJECT = journal_subject("execution", 9999)
"""Of a shard that nobody owns."""

NAMES = [node_name(number) for number in range(1, SIZE + 1)]
PAUSE_SECONDS = 0.2


@asynccontextmanager
async def journal_at(node: EmbeddedServer) -> AsyncGenerator[Journal]:
    """Connect to one server of a cluster while the context is open."""
    async with connect(NatsAddress(urls=(node.url,), name="minority"), Timing()) as transport:
        stream = journal_stream("execution")
        yield JetStreamJournal(transport, JetStream(transport), stream)


async def leader_of(bus: NatsBus, entity: str) -> int:
    """Return which server of a cluster leads the journal of an entity, the first with 0."""
    asked = f"STREAM.INFO.{journal_stream(entity)}"

    async def ask() -> int:
        try:
            info = await bus.jetstream.call(asked)
        except JetStreamError as error:
            raise UnavailableError(asked, error.description) from None
        if "leader" not in info["cluster"]:
            raise UnavailableError(asked, "none is elected")
        return NAMES.index(info["cluster"]["leader"])

    return await patiently(ask)


@dataclass(slots=True)
class Minority:
    """How many writes were tried, which of them were acknowledged, and which of those are gone."""

    tried: int = 0
    taken: list[StoredMessage] = field(default_factory=list[StoredMessage])
    gone: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def writing(self, node: EmbeddedServer) -> AsyncGenerator[None]:
        """Connect to a server and write to it while the context is open, once it is isolated."""
        async with journal_at(node) as journal, anyio.create_task_group() as tasks:
            newest = await patiently(lambda: journal.last(SUBJECT))
            tasks.start_soon(self._write, journal, newest.sequence if newest else 0)
            yield
            tasks.cancel_scope.cancel()

    async def _write(self, journal: Journal, last: int) -> None:
        while True:
            await anyio.sleep(PAUSE_SECONDS)
            self.tried += 1
            data = str(self.tried).encode()
            try:
                last = await journal.append(SUBJECT, data, expected=last)
            except (UnavailableError, FencedError):
                continue
            self.taken.append(StoredMessage(last, data))

    async def look(self, bus: NatsBus) -> None:
        """Look whether all that was acknowledged is stored."""
        journal = bus.journal("execution")

        async def read() -> list[StoredMessage]:
            return [StoredMessage(m.sequence, m.data) async for m in journal.read(SUBJECT, start=1)]

        stored = await patiently(read)
        self.gone.extend(
            f"acknowledged by a minority, and gone: {message.sequence}"
            for message in self.taken
            if message not in stored
        )
