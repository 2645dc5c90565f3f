"""The work queue on JetStream: one stream in memory, one consumer for each queue and tenant."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import anyio

from bus.codec import encode
from bus.config import Timing
from bus.connection import NatsTransport
from bus.errors import UnavailableError
from bus.jetstream.publishing import store
from bus.jetstream.puller import Puller
from bus.jetstream.ticket import LIFE
from bus.ports import Clock, Ticket
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import WORK
from bus.subjects import work_subject
from schemas.fleet import LANE_SUBJECT, LaneOpened

MESSAGE_ID = "Nats-Msg-Id"

ANNOUNCE_SECONDS = 30.0
"""A worker that has just come learns of a tenant at the latest with the next announcement."""

MAX_ANNOUNCED = 100_000


class JetStreamWorkQueue:
    """See ``WorkQueue``."""

    def __init__(
        self, transport: NatsTransport, jetstream: JetStream, clock: Clock, timing: Timing
    ) -> None:
        self._transport = transport
        self._jetstream = jetstream
        self._clock = clock
        self._timing = timing
        self._announced: dict[str, float] = {}
        transport.on_loss(self._announced.clear)

    async def send(
        self, queue: str, tenant: str, data: bytes, *, item: str, life: str | None = None
    ) -> bool:
        """See ``WorkQueue.send``. Ids of items are apart for each queue and tenant."""
        subject = work_subject(queue, tenant)
        headers = {MESSAGE_ID: f"{queue}.{tenant}.{item}"}
        if life is not None:
            headers[LIFE] = life
        try:
            receipt = await store(self._transport, subject, data, headers=headers)
        except JetStreamError as error:
            raise UnavailableError(subject, error.description) from None
        await self._announce(subject, LaneOpened(queue=queue, tenant=tenant))
        return not receipt.duplicate

    def pull(
        self, queue: str, *, credit: Callable[[str], int]
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, Ticket]]]:
        """See ``WorkQueue.pull``.

        ``credit`` is asked again when an item of the tenant was taken over or is finished, and ten
        times a second. An item may still come after the credit has fallen: it was on its way.
        """
        puller = Puller(
            queue,
            credit,
            self._transport,
            self._jetstream,
            self._clock,
            self._timing.ack_wait_seconds,
        )
        return puller.opened()

    async def generation(self) -> str:
        """See ``WorkQueue.generation``: the moment at which the stream was made.

        Raises:
            UnavailableError: there is no answer, or no stream at present.
        """
        try:
            info = await self._jetstream.stream_info(WORK)
        except JetStreamError as error:
            raise UnavailableError(WORK, error.description) from None
        return str(info["created"])

    async def _announce(self, subject: str, opened: LaneOpened) -> None:
        now = anyio.current_time()
        if now - self._announced.get(subject, -ANNOUNCE_SECONDS) < ANNOUNCE_SECONDS:
            return
        if len(self._announced) >= MAX_ANNOUNCED:
            self._announced.clear()
        self._announced[subject] = now
        await self._transport.publish(LANE_SUBJECT, encode(opened))
