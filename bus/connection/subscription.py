"""One subscription: its handler takes the messages one after another."""

import anyio
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bus.connection.client import NatsClient
from bus.errors import CallboardError
from bus.ports import Delivery, Handler

log = structlog.get_logger()

DRAIN_SECONDS = 1.0
"""How long a handler may take over what has arrived when its subscription ends."""


class HandledSubscription:
    """Feeds a handler. One that raises one of our errors loses that message and gets the next."""

    def __init__(self, client: NatsClient, subject: str, handler: Handler) -> None:
        self._client = client
        self._subject = subject
        self._handler = handler
        self._handling = False
        self._idle: anyio.Event | None = None
        self._subscription: Subscription

    async def open(self, queue: str) -> None:
        """Subscribe; the server may not know of it yet."""
        self._subscription = await self._client.listen(self._subject, self._deliver, queue=queue)

    async def drain(self) -> None:
        """Want no more messages, and wait a moment until those that have arrived are handled."""
        try:
            with anyio.move_on_after(DRAIN_SECONDS):
                await self._client.stop_interest(self._subscription)
                if self._handling or self._subscription.pending_msgs:
                    self._idle = anyio.Event()
                    await self._idle.wait()
        except nats.errors.Error:
            return

    async def close(self) -> None:
        """End the subscription, and the handler if it still runs."""
        if not self._client.is_closed and not self._client.is_draining:
            await self._subscription.unsubscribe()

    async def _deliver(self, message: Msg) -> None:
        self._handling = True
        try:
            await self._handler(delivery_of(message))
        except CallboardError as error:
            log.warning("transport.handler_refused", subject=self._subject, error=str(error))
        finally:
            self._handling = False
            if self._idle is not None and not self._subscription.pending_msgs:
                self._idle.set()


def delivery_of(message: Msg) -> Delivery:
    """Return a message of nats-py as the ports show it."""
    return Delivery(message.subject, message.data, message.reply, message.headers)
