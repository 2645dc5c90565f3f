"""Clients that keep a fleet busy: they ask, subscribe, and read back what they missed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from bus.client import Client, follow
from bus.client.requests import passes
from bus.codec import decode
from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.errors import ProblemError, TransientError
from bus.ports import Delivery
from schemas.assembly import Assembly
from schemas.base import Request
from schemas.executions import ExecuteAgent
from schemas.streams import ContentChunk, ReadStream, StreamEvent
from tests.chaos.ledger import Ledger

TENANT = "local"
TRY_SECONDS = 2.0
PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 180.0
QUIET_SECONDS = 1.0
"""After so much silence a reader looks into the stored stream."""

STANDSTILL_SECONDS = 180.0
"""Faults may begin an execution again and again; but something of it must be heard."""

GAP_SECONDS = 30.0
"""A gap that is older is for ever; whether it may be, the judge says when it reads the stream."""


class ChaosClient:
    """One user with a connection of its own and a subscription to all streams of its tenant."""

    def __init__(self, name: str, client: Client, ledger: Ledger) -> None:
        self.name = name
        self._client = client
        self._ledger = ledger
        self._readers: dict[str, _Reader] = {}

    async def ask(self, wanted: Request) -> Any:
        """Ask until there is an answer that is not passing trouble.

        Raises:
            ProblemError: the request is refused.
            TransientError: there was no answer for too long.
        """
        end = anyio.current_time() + PATIENCE_SECONDS
        while True:
            try:
                return await self._client.request(TENANT, wanted, timeout=TRY_SECONDS)
            except (TransientError, ProblemError) as error:
                if not passes(error) or anyio.current_time() > end:
                    raise
            await anyio.sleep(PAUSE_SECONDS)

    async def execute(self, wanted: ExecuteAgent) -> str | None:
        """Begin an execution and note it; None where it was refused."""
        asked = anyio.current_time()
        try:
            handle = await self.ask(wanted)
        except (TransientError, ProblemError) as error:
            self._ledger.faults.append(f"{wanted.agent_id} {wanted.id}: {error}")
            return None
        if wanted.id not in (None, handle.execution_id):
            self._ledger.faults.append(f"{wanted.id} became {handle.execution_id}")
        self._ledger.accepted(handle.execution_id, wanted.agent_id, self.name, asked)
        return handle.execution_id

    async def read(self, execution_id: str) -> None:
        """Read an execution's stream to its end, live and stored, and note the text."""
        reader = self._readers[execution_id] = _Reader()
        account = self._ledger.account(execution_id)
        try:
            with anyio.fail_after(STANDSTILL_SECONDS) as scope:
                reader.scope = scope
                await self._until_complete(execution_id, reader)
            if reader.complete:
                account.texts.append((f"{self.name} reader", reader.assembly.text))
        except TimeoutError:
            gaps = reader.assembly.gaps()
            account.faults.append(
                f"{self.name} reads no end; cursor {reader.assembly.cursor} {gaps}"
            )
        except (TransientError, ProblemError) as error:
            account.faults.append(f"{self.name} cannot read: {error}")
        finally:
            del self._readers[execution_id]

    async def follow(self, execution_id: str) -> None:
        """Follow an execution with the client library; each event must come once, in order."""
        account = self._ledger.account(execution_id)
        texts: dict[int, list[str]] = {}
        last = (-1, -1)
        try:
            with anyio.fail_after(STANDSTILL_SECONDS) as scope:
                async for event in self._followed(execution_id):
                    scope.deadline = anyio.current_time() + STANDSTILL_SECONDS
                    place = (event.segment, event.sequence)
                    if place <= last:
                        account.faults.append(f"{self.name} follows {place} after {last}")
                    last = place
                    self._ledger.event(event, live=False)
                    texts.pop(getattr(event, "dropped_segment", -1), None)
                    if isinstance(event, ContentChunk):
                        texts.setdefault(event.segment, []).append(event.content)
        except (TimeoutError, ProblemError) as error:
            account.faults.append(f"{self.name} cannot follow: {error!r}")
        else:
            text = "".join(word for words in texts.values() for word in words)
            account.texts.append((f"{self.name} follower", text))

    async def _followed(self, execution_id: str) -> AsyncGenerator[StreamEvent]:
        """Follow, and go on behind the last event where bus or fleet were away for too long."""
        cursor: str | None = None
        while True:
            try:
                async for event in follow(self._client, TENANT, execution_id, cursor):
                    cursor = event.cursor
                    yield event
            except TransientError:
                await anyio.sleep(PAUSE_SECONDS)
            else:
                return

    async def stored(self, execution_id: str) -> Assembly:
        """Read a stream from its beginning, as a late reader does."""
        assembly = Assembly()
        await self._read_back(execution_id, assembly, None)
        return assembly

    async def take(self, delivery: Delivery) -> None:
        """Take in a live event."""
        event: StreamEvent = decode(_EVENT, delivery.data)
        self._ledger.event(event, live=True)
        reader = self._readers.get(event.execution_id)
        if reader is not None:
            reader.assembly.add(event)
            reader.heard()

    async def came_back(self) -> None:
        """Have all readers look into the stored streams: live events may have been missed."""
        for reader in self._readers.values():
            reader.missed = True
            reader.wake()

    async def _until_complete(self, execution_id: str, reader: "_Reader") -> None:
        reader.missed = True
        while not reader.complete and not reader.has_ended_long_ago:
            if reader.missed or (reader.assembly.terminal is not None):
                reader.missed = False
                await self._read_back(execution_id, reader.assembly, None)
                if reader.assembly.terminal is not None and not reader.complete:
                    await anyio.sleep(PAUSE_SECONDS)
                continue
            with anyio.move_on_after(QUIET_SECONDS) as waited:
                await reader.changed.wait()
            reader.missed = reader.missed or waited.cancelled_caught

    async def _read_back(self, execution_id: str, assembly: Assembly, after: str | None) -> None:
        while True:
            page = await self.ask(ReadStream(execution_id=execution_id, after=after))
            for event in page.events:
                self._ledger.event(event, live=False)
                assembly.add(event)
            if not page.more:
                return
            after = page.next


_EVENT: Any = StreamEvent


class _Reader:
    """One execution being read by one client."""

    def __init__(self) -> None:
        self.assembly = Assembly()
        self.missed = False
        self.ended_at: float | None = None
        self.scope = anyio.CancelScope()
        self.changed = anyio.Event()

    @property
    def complete(self) -> bool:
        """Whether the end is known and nothing is missing before it."""
        end = self.assembly.terminal
        if end is None or self.assembly.gaps():
            return False
        final = getattr(end, "final_response", None)
        return final is None or final == self.assembly.text

    @property
    def has_ended_long_ago(self) -> bool:
        """Whether the end has been known for so long that what is missing comes no more."""
        if self.assembly.terminal is None:
            return False
        self.ended_at = self.ended_at or anyio.current_time()
        return anyio.current_time() > self.ended_at + GAP_SECONDS

    def heard(self) -> None:
        """Note a sign of life."""
        self.scope.deadline = anyio.current_time() + STANDSTILL_SECONDS
        self.wake()

    def wake(self) -> None:
        """Tell whoever reads that there is something new."""
        self.changed.set()
        self.changed = anyio.Event()


@asynccontextmanager
async def chaos_client(
    name: str, urls: tuple[str, ...], ledger: Ledger
) -> AsyncGenerator[ChaosClient]:
    """Connect a client and subscribe to all streams while the context is open."""
    address = NatsAddress(urls=urls, name=name, patience=PATIENCE_SECONDS)
    async with connect(address, Timing()) as transport:
        client = ChaosClient(name, Client(transport), ledger)
        async with transport.subscription(f"cb.{TENANT}.stream.*", client.take):
            transport.on_reconnect(client.came_back)
            yield client
