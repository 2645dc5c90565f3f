"""Reading a stream together: each message goes to one of many processes, until one has handled it.

What was handed out and not acknowledged comes again, to whoever asks then, so that a process may
die at any moment: each message is handled at least once.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import anyio
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from bus.config import Timing
from bus.jetstream import NatsBus
from bus.ports import Delivery

log = structlog.get_logger()

BATCH = 64
WAIT_SECONDS = 2.0
ACK_SECONDS = 30.0


class DurableReader:
    """Hands the messages of a stream to ``take``, which acknowledges them.

    ``name`` is that of the consumer at the server, ``filters`` the subjects it is for.
    """

    def __init__(
        self,
        stream: str,
        name: str,
        filters: Sequence[str],
        take: Callable[[Msg], Coroutine[Any, Any, None]],
        bus: NatsBus,
        timing: Timing,
    ) -> None:
        self._stream = stream
        self._name = name
        self._filters = filters
        self._take = take
        self._bus = bus
        self._timing = timing
        self._draining = False

    async def run(self) -> None:
        """Pull and hand on until drained. Ends with the bus; begin it anew then."""
        subscription = await self._subscribed()
        while not self._draining:
            try:
                batch = await subscription.fetch(BATCH, timeout=WAIT_SECONDS)
            except (NatsTimeoutError, TimeoutError):
                await anyio.sleep(self._timing.work_resend_seconds)
                continue
            except NatsError as error:
                # The server may have lost the consumer, or the stream with it.
                log.info("durable.interrupted", consumer=self._name, error=str(error))
                await anyio.sleep(self._timing.work_resend_seconds)
                subscription = await self._subscribed()
                continue
            async with anyio.create_task_group() as tasks:
                for message in batch:
                    tasks.start_soon(self._take, message)

    async def drain(self) -> None:
        """Take no more messages."""
        self._draining = True

    async def _subscribed(self) -> JetStreamContext.PullSubscription:
        """Subscribe as soon as the bus can do that: its disk may be full."""
        while True:
            try:
                return await self._subscribe()
            except (NatsError, TimeoutError) as error:
                log.warning("durable.not_subscribed", consumer=self._name, error=str(error))
                await anyio.sleep(self._timing.request_try_seconds)

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        # Anybody may submit, so a flood of it must not cost the fleet its own connection.
        jetstream = self._bus.public.client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        await self._provide(jetstream)
        return await jetstream.pull_subscribe_bind(self._name, stream=self._stream)

    async def _provide(self, jetstream: JetStreamContext) -> None:
        """Make the consumer, or see that it stands as it is to be."""
        await jetstream.add_consumer(self._stream, self._config())  # pyright: ignore[reportUnknownMemberType]

    def _config(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self._name,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
            filter_subjects=list(self._filters),
            max_ack_pending=BATCH * 16,
        )


class Facts:
    """Hands stored public events to ``handle``, each until it says that it is done with it.

    An event is handled at least once, by one of the processes that follow under the same ``name``.
    """

    def __init__(
        self,
        stream: str,
        name: str,
        subject: str,
        handle: Callable[[Delivery], Awaitable[bool]],
        bus: NatsBus,
        timing: Timing,
    ) -> None:
        self._handle = handle
        self._pause = timing.request_try_seconds
        reader = DurableReader(stream, name, [subject], self._take, bus, timing)
        self.run, self.drain = reader.run, reader.drain

    async def _take(self, message: Msg) -> None:
        if await self._handle(Delivery(message.subject, message.data)):
            await message.ack()
        else:
            await message.nak(delay=self._pause)
