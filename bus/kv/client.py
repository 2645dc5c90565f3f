"""The parts of nats-py that a bucket uses, with the types that it leaves open.

``nats.aio.client.Client`` is a ``Connection``, ``nats.js.JetStreamContext`` a ``JetStream``.
"""

from typing import Protocol

from nats.aio.subscription import Subscription
from nats.js.api import ConsumerConfig, ConsumerInfo, PubAck, RawStreamMsg, StreamInfo


class Connection(Protocol):
    """A connection to the bus."""

    stats: dict[str, int]

    @property
    def is_connected(self) -> bool:
        """Whether the server is there at present."""
        ...

    def new_inbox(self) -> str:
        """Return a subject that nobody else has."""
        ...

    async def subscribe(self, subject: str) -> Subscription:
        """Subscribe without a callback."""
        ...

    async def publish(self, subject: str) -> None:
        """Send an empty message."""
        ...


class JetStream(Protocol):
    """JetStream on that connection."""

    async def stream_info(self, name: str) -> StreamInfo:
        """Describe a stream."""
        ...

    async def get_msg(self, stream_name: str, *, subject: str) -> RawStreamMsg:
        """Read the newest message of a subject from the stream's leader."""
        ...

    async def publish(
        self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str]
    ) -> PubAck:
        """Store a message."""
        ...

    async def add_consumer(self, stream: str, config: ConsumerConfig) -> ConsumerInfo:
        """Create a consumer."""
        ...

    async def delete_consumer(self, stream: str, consumer: str) -> bool:
        """Remove a consumer."""
        ...
