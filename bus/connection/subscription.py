"""Subscriptions: messages are received at once, or handled one after another."""

from collections import deque
from contextlib import suppress

import anyio
import nats.errors
import structlog
from nats.aio.subscription import Subscription

from bus.connection.client import MAX_WAITING, MAX_WAITING_BYTES, NatsClient
from bus.errors import CallboardError
from bus.ports import Delivery, Handler, Receiver
from bus.tasks import Wakeup

log = structlog.get_logger()

DRAIN_SECONDS = 1.0
"""How long the last messages of a subscription may take to arrive, and then to be handled."""


class Reception:
    """A subscription whose messages go to a receiver at once."""

    def __init__(
        self, client: NatsClient, subject: str, receiver: Receiver, *, queue: str = ""
    ) -> None:
        self._client = client
        self._subject = subject
        self._queue = queue
        self._receiver = receiver
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Subscribe; the server may not know of it yet."""
        receive = self._client.receive
        self._subscription = await receive(self._subject, self._receiver, queue=self._queue)

    async def stop(self) -> None:
        """Want no more messages, and wait a moment until the last one has arrived."""
        with anyio.move_on_after(DRAIN_SECONDS), suppress(nats.errors.Error):
            if self._subscription is not None:
                await self._client.stop_interest(self._subscription)

    async def close(self) -> None:
        """End the subscription."""
        client = self._client
        if self._subscription is not None and not client.is_closed and not client.is_draining:
            await self._subscription.unsubscribe()


class Handling:
    """Feeds a handler. One that raises loses that message and gets the next."""

    def __init__(self, client: NatsClient, subject: str, handler: Handler) -> None:
        self._client = client
        self._subject = subject
        self._handler = handler
        self._waiting: deque[Delivery] = deque()
        self._waiting_bytes = 0
        self._arrived = Wakeup()
        self._is_busy = False
        self._idle: anyio.Event | None = None
        self._scope = anyio.CancelScope()

    def put(self, delivery: Delivery) -> None:
        """Take a message if there is room; see ``Receiver``."""
        size = len(delivery.data)
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._client.report(TooSlowError(self._subject))
            return
        self._waiting.append(delivery)
        self._waiting_bytes += size
        self._arrived.set()

    async def feed(self) -> None:
        """Hand over what arrives, until stopped."""
        with self._scope:
            while True:
                await self._arrived.wait()
                await self._hand_over()

    def stop(self) -> None:
        """Hand over nothing more."""
        self._scope.cancel()

    async def finish(self) -> None:
        """Wait a moment until what has arrived is handled."""
        with anyio.move_on_after(DRAIN_SECONDS):
            if self._waiting or self._is_busy:
                self._idle = anyio.Event()
                await self._idle.wait()

    async def _hand_over(self) -> None:
        self._is_busy = True
        while self._waiting:
            delivery = self._waiting.popleft()
            self._waiting_bytes -= len(delivery.data)
            await self._handle(delivery)
        self._is_busy = False
        if self._idle is not None:
            self._idle.set()

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handler(delivery)
        except CallboardError as error:
            log.warning("transport.handler_refused", subject=self._subject, error=str(error))
        except Exception as error:  # noqa: BLE001  one bad message must not end the subscription
            self._client.report(error)


class TooSlowError(nats.errors.Error):
    """A handler does not keep up, and messages are lost."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject}: messages are lost that come faster than they are handled")
