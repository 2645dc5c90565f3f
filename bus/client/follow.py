"""Following an execution to its end: live events, and stored ones where live ones are missing."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import structlog

from bus.client.order import Order
from bus.client.requests import Client, passes
from bus.codec import decode
from bus.errors import ProblemError, TransientError, UnavailableError
from bus.ports import Delivery
from bus.subjects import fill
from schemas.streams import STREAM_SUBJECT, ReadStream, StreamEvent, StreamPage

log = structlog.get_logger()

BUFFER_EVENTS = 1000
"""Live events a slow reader may be behind; what is more it gets from the stored stream."""

BUFFER_BYTES = 1024 * 1024
"""So much of them, however few they are: an event may be large."""

IDLE_SECONDS = 5.0
"""After so much silence the stored stream is asked whether something was missed."""

PAUSE_SECONDS = 0.25
"""Between two looks into the stored stream while something is missing."""

GAP_SECONDS = 12.0
"""A worker publishes again what a restarted bus has lost, once a cluster has its leaders again."""

NOTICE_SECONDS = 60.0
"""An owner publishes again what is lost, and if it died, who takes its journal over does.

Without its word a dropped attempt would be taken for a part of the answer, so this may last.
"""

TRY_SECONDS = 3.0
"""Who was to read the stored stream for us may have died; then another is asked."""

_AWAY = b""
"""In the place of a message: some may be missing."""

PATIENCE_SECONDS = 30.0
"""So long neither bus nor fleet may be away."""


async def follow(
    client: Client,
    tenant: str,
    execution_id: str,
    after: str | None = None,
    *,
    buffer_size: int = BUFFER_EVENTS,
) -> AsyncGenerator[StreamEvent]:
    """Yield the events of an execution in the order of their cursors, each once, up to its end.

    ``after`` is the cursor of the last event the caller has. Of a reader that is slower than the
    stream at most ``buffer_size`` live events are kept, and at most ``BUFFER_BYTES`` of them; it is
    given the others from the stored stream. A repeat after ``attempt_restarted`` makes the text of
    the dropped segment void. Restarts of bus and fleet only delay.

    Raises:
        ProblemError: ``not_found`` and other refusals.
        TransientError: bus or fleet were away for too long.
    """
    live = _Live(buffer_size)
    reading = _Reading(client, tenant, execution_id, after)
    subject = fill(STREAM_SUBJECT, tenant=tenant, execution_id=execution_id)
    async with _subscribed(client, subject, live):
        forget = client.transport.on_reconnect(live.came_back)
        try:
            async with aclosing(_joined(reading, live)) as events:
                async for event in events:
                    yield event
        finally:
            forget()
            live.close()


@asynccontextmanager
async def _subscribed(client: Client, subject: str, live: "_Live") -> AsyncGenerator[None]:
    """Take live events while the context is open. Until the bus answers, this waits."""
    end = anyio.current_time() + PATIENCE_SECONDS
    async with AsyncExitStack() as stack:
        while True:
            try:
                subscription = client.transport.subscription(subject, live.take)
                await stack.enter_async_context(subscription)
                break
            except UnavailableError:
                if anyio.current_time() > end:
                    raise
            await anyio.sleep(PAUSE_SECONDS)
        yield


async def _joined(reading: "_Reading", live: "_Live") -> AsyncGenerator[StreamEvent]:
    order = reading.order
    await reading.read()
    while True:
        for event in order.ready():
            yield event
        if order.ended:
            return
        if order.blocked and await reading.fill_gap():
            continue
        soon = order.blocked or reading.failed
        event = await live.next(PAUSE_SECONDS if soon else IDLE_SECONDS)
        if event is None:
            await reading.read()
        else:
            order.add(event)


class _Live:
    """Messages as they are published, as many and as much as a slow reader may be behind."""

    def __init__(self, buffer_size: int) -> None:
        self._into, self._messages = anyio.create_memory_object_stream[bytes](buffer_size)
        self._bytes = 0
        self._missed = False

    async def take(self, delivery: Delivery) -> None:
        """Keep a message, or remember that there was one."""
        self._offer(delivery.data)

    async def came_back(self) -> None:
        """Remember that the bus was away."""
        self._offer(_AWAY)

    async def next(self, timeout: float) -> StreamEvent | None:
        """Return the next event; None if some may be missing, and after ``timeout`` seconds."""
        if self._missed and not self._messages.statistics().current_buffer_used:
            self._missed = False
            return None
        message = _AWAY
        with anyio.move_on_after(timeout):
            message = await self._messages.receive()
        self._bytes -= len(message)
        return decode(cast("Any", StreamEvent), message) if message else None

    def close(self) -> None:
        """Keep nothing more."""
        self._into.close()
        self._messages.close()

    def _offer(self, message: bytes) -> None:
        if self._bytes and self._bytes + len(message) > BUFFER_BYTES:
            self._missed = True
            return
        try:
            self._into.send_nowait(message)
            self._bytes += len(message)
        except anyio.WouldBlock:
            self._missed = True
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return


class _Reading:
    """The stored stream, read from where the order stands."""

    def __init__(self, client: Client, tenant: str, execution_id: str, after: str | None) -> None:
        self.order = Order(after)
        self._client = client
        self._tenant = tenant
        self._execution_id = execution_id
        self._failing_since: float | None = None
        self._looked = 0.0
        self._gap: tuple[str | None, float] | None = None

    async def read(self) -> bool:
        """Take in what is stored after the cursor; say whether the stored stream answered."""
        self._looked = anyio.current_time()
        after = self.order.cursor
        try:
            while True:
                page = await self._page(after)
                for event in page.events:
                    self.order.add(event)
                if not page.more:
                    break
                after = page.next
        except (TransientError, ProblemError) as error:
            self._failing_since = self._failing_since or self._looked
            if not passes(error) or anyio.current_time() - self._failing_since > PATIENCE_SECONDS:
                raise
            return False
        self._failing_since = None
        return True

    @property
    def failed(self) -> bool:
        """Whether the stored stream did not answer when it was last asked."""
        return self._failing_since is not None

    async def fill_gap(self) -> bool:
        """Look for what is missing, not too often; say whether events are ready.

        That nothing more is stored before a new segment settles it. Within a segment, and while the
        answer is shorter than its end says, the missing events must come, or are given up at last.
        """
        now, order = anyio.current_time(), self.order
        if self._gap is None or self._gap[0] != order.cursor:
            self._gap = order.cursor, now
        elif now - self._looked < PAUSE_SECONDS:
            return False
        if not await self.read():
            return False
        if not order.blocked:
            return True
        patience = NOTICE_SECONDS if order.lacks_notice else GAP_SECONDS
        given_up = anyio.current_time() - self._gap[1] > patience
        if order.may_settle or given_up:
            order.settle()
            log.debug("stream.settled", execution=self._execution_id, given_up=given_up)
            return True
        return False

    async def _page(self, after: str | None) -> StreamPage:
        wanted = ReadStream(execution_id=self._execution_id, after=after)
        return await self._client.request(self._tenant, wanted, timeout=TRY_SECONDS)
