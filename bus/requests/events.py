"""Following stored facts together with other processes, from a moment on, each at least once."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from bus.config import Timing
from bus.jetstream import NatsBus
from bus.requests.reader import DurableReader

log = structlog.get_logger()


class StoredEvent(NamedTuple):
    """A stored fact. ``delivered`` counts how often it was handed out, this time included."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    time: datetime
    delivered: int


class EventReader(DurableReader):
    """Hands the facts of a stream that were stored ``since`` to ``handle``.

    That returns None when it is done with one, or after how many seconds it wants it again.
    ``name`` is that under which all processes share the reading; what one of them has begun is
    begun for all.
    """

    def __init__(
        self,
        stream: str,
        name: str,
        subject: str,
        handle: Callable[[StoredEvent], Awaitable[float | None]],
        bus: NatsBus,
        timing: Timing,
        since: datetime,
    ) -> None:
        super().__init__(stream, name, [subject], self._hand, bus, timing)
        self._handle = handle
        self._since = since

    async def _provide(self, jetstream: JetStreamContext) -> None:
        """Make the consumer unless it stands: where it begins cannot be changed."""
        try:
            await jetstream.consumer_info(self._stream, self._name)
        except NotFoundError:
            await jetstream.add_consumer(self._stream, self._config())  # pyright: ignore[reportUnknownMemberType]

    def _config(self) -> ConsumerConfig:
        config = super()._config()
        config.deliver_policy = DeliverPolicy.BY_START_TIME
        config.opt_start_time = self._since
        return config

    async def _hand(self, message: Msg) -> None:
        found = message.metadata
        event = StoredEvent(
            subject=message.subject,
            data=message.data,
            headers=message.headers or {},
            time=found.timestamp.astimezone(UTC),
            delivered=found.num_delivered,
        )
        again = await self._handle(event)
        try:
            await (message.ack() if again is None else message.nak(delay=again))
        except NatsError as error:
            # It comes again by itself.
            log.info("events.not_acknowledged", consumer=self._name, error=str(error))
