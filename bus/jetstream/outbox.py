"""Publishing into streams without waiting for each receipt.

Receipts come to one inbox, whose last token is the message's mark; of frequent messages one speaks
for many (``receipts``). What is not acknowledged in time is sent again. Lazily synced streams lose
what they acknowledged last when their server is killed; therefore every message is kept for some
seconds, and when the bus comes back all that are kept are sent again, in order. Readers drop the
repeats.
"""

import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio
import structlog

from bus.config import Timing
from bus.connection import NatsTransport
from bus.connection.transport import status_of
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.jetstream.publishing import accepted
from bus.jetstream.receipts import Receipts
from bus.jetstream.ring import Posted, Ring
from bus.ports import MESSAGE_ID, Delivery, Still, voided
from bus.streams.api import JetStreamError
from bus.streams.spec import LIVE_MARK
from bus.tasks import Wakeup, background

log = structlog.get_logger()

RESEND_SECONDS = 2.0
"""A message without a receipt for this long is sent again."""

LOOK_SECONDS = 0.2
"""How often it is looked for such messages, and a refused one tried again."""

MAX_REFUSALS = 25
"""A stream that is full or missing gets so many tries, some 5 s; then the message is given up."""

TTL = "Nats-TTL"


class JetStreamOutbox:
    """See ``Outbox``.

    ``in_order`` says that receipts may speak for what was sent before: on one server. In a cluster
    a new leader may take what an old one has lost the beginning of.
    """

    def __init__(self, transport: NatsTransport, timing: Timing, *, in_order: bool = True) -> None:
        self._in_order = in_order
        self._receipts = Receipts()
        self._transport = transport
        self._client = transport.client
        self._window = timing.delta_window
        self._keep_seconds = timing.resend_window_seconds
        self._prefix = f"{transport.client.new_inbox()}."
        self._ring = Ring()
        self._in_air: dict[int, Posted] = {}
        self._unsent: deque[Posted] = deque()
        self._away_since: float | None = None
        self._wake = Wakeup()
        self._progress = anyio.Event()
        self._waiting = 0
        self._door = anyio.Lock(fast_acquire=True)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["JetStreamOutbox"]:
        """Take messages while the context is open. What is in the air at the end may be lost."""
        subscription = await self._transport.client.receive(f"{self._prefix}*", self._acknowledged)
        self._transport.on_loss(self._lost)
        forget = self._transport.on_reconnect(self._send_all_again)
        try:
            async with background(self._look_after):
                yield self
        finally:
            forget()
            if not self._transport.client.is_closed:
                await subscription.unsubscribe()

    async def post(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str | None = None,
        still: Still | None = None,
        frequent: bool = False,
        ttl: int | None = None,
    ) -> None:
        """See ``Outbox.post``.

        Raises:
            ProblemError: ``validation``, if the message is larger than the bus takes.
            UnavailableError: the connection is closed for good.
        """
        if self._door.locked() or not self._has_room():
            await self._stand_in_line()
        headers = _headers(message_id, ttl)
        message = self._ring.add(subject, data, headers, still)
        if self._unsent or self._away_since is not None:
            self._unsent.append(message)
        elif not self._put(message, asks=not (frequent and self._in_order)):
            await self._send(message)

    def offer(self, subject: str, data: bytes) -> bool:
        """See ``Outbox.offer``."""
        is_calm = not self._unsent and self._away_since is None and not self._door.locked()
        if not (is_calm and self._client.takes(len(data)) and self._has_room()):
            return False
        return self._put(self._ring.add(subject, data, None), asks=not self._in_order)

    async def flush(self, *, timeout: float) -> None:
        """See ``Outbox.flush``."""
        with anyio.move_on_after(timeout):
            await self._ask_for_all()
            while self._in_air or self._unsent:
                await self._wait(timeout)
            return
        raise DeadlineError("outbox", timeout)

    @property
    def posted(self) -> int:
        """See ``Outbox.posted``."""
        return self._ring.posted

    @property
    def safe(self) -> int:
        """See ``Outbox.safe``."""
        self._release()
        return self._ring.safe

    @property
    def max_payload(self) -> int:
        """See ``Outbox.max_payload``."""
        return self._client.max_payload

    def sizes(self, since: int) -> Mapping[str, int]:
        """Return the bytes by subject of what was posted after the mark ``since``.

        That is to be asked within the seconds for which messages are kept.
        """
        return self._ring.sizes(since)

    # Sending

    def _has_room(self) -> bool:
        if self._ring.is_full:
            self._release()
            if self._ring.is_full:
                return False
        return len(self._in_air) + len(self._unsent) < self._window

    async def _stand_in_line(self) -> None:
        """Wait for room, first come first served: only the first in line looks for it.

        A thousand streams that all woke up at each receipt would do nothing else.
        """
        async with self._door:
            while not self._has_room():
                await self._wait(LOOK_SECONDS)

    def _put(self, message: Posted, *, asks: bool = True) -> bool:
        """Hand a message to the socket, with the wish for a receipt if it has one."""
        message.sent_at = now = time.monotonic()
        self._in_air[message.mark] = message
        asks = asks or self._receipts.asks(message, now)
        reply = f"{self._prefix}{message.mark}" if asks else ""
        return self._client.put(message.subject, message.data, reply, message.headers)

    async def _send(self, message: Posted) -> None:
        """Send a message the longer way, or keep it for later; it asks for a receipt."""
        reply = f"{self._prefix}{message.mark}"
        try:
            await self._transport.publish(
                message.subject, message.data, reply=reply, headers=message.headers
            )
        except ProblemError:
            self._doubt(message)
            self._settle(message)
            raise
        except UnavailableError:
            self._doubt(message)
            self._in_air.pop(message.mark, None)
            if self._transport.client.is_closed:
                raise
            self._unsent.appendleft(message)

    async def _ask_for_all(self) -> None:
        """Ask for a receipt behind messages after which no other one has come."""
        if not self._receipts.lacking or self._away_since is not None:
            return
        mark = self._ring.add(LIVE_MARK, b"", None)
        self._receipts.ask(mark, time.monotonic())
        if not self._put(mark):
            await self._send(mark)

    async def _look_after(self) -> None:
        """Send what waits to be sent, and again what is not acknowledged."""
        looked_at = time.monotonic()
        while True:
            await self._wake.wait(LOOK_SECONDS)
            now = time.monotonic()
            if self._away_since is None and now - looked_at >= LOOK_SECONDS:
                self._find_overdue(now - RESEND_SECONDS)
                self._release()
                await self._ask_for_all()
                looked_at = now
            await self._send_waiting()

    async def _send_waiting(self) -> None:
        while self._unsent and self._away_since is None and len(self._in_air) < self._window:
            message = self._unsent.popleft()
            if not message.acked and not self._put(message):
                await self._send(message)
                if self._unsent and self._unsent[0] is message:
                    return

    def _find_overdue(self, oldest: float) -> None:
        for message in list(self._in_air.values()):
            if message.sent_at is None or message.sent_at < oldest:
                del self._in_air[message.mark]
                self._unsent.append(message)

    # Loss and return of the bus

    def _lost(self) -> None:
        self._away_since = time.monotonic()

    async def _send_all_again(self) -> None:
        void = await voided(message.still for message in self._ring)
        self._release()
        self._in_air.clear()
        self._unsent.clear()
        self._receipts.clear()
        for message in self._ring:
            message.acked = message.still in void
            if not message.acked:
                self._unsent.append(message)
        if self._unsent:
            log.info("outbox.sending_again", messages=len(self._unsent))
        self._away_since = None
        self._wake.set()

    def _release(self) -> None:
        """Let go of what is safe. While the bus is away nothing becomes safe by waiting."""
        now = time.monotonic() if self._away_since is None else self._away_since
        self._ring.release(before=now - self._keep_seconds)

    # Receipts

    def _acknowledged(self, receipt: Delivery) -> None:
        mark = int(receipt.subject[len(self._prefix) :])
        message = self._in_air.get(mark) or self._ring.get(mark)
        if message is None:
            return
        if receipt.data.startswith(b'{"stream"'):
            self._settle(message)
        else:
            self._refused(message, receipt)

    def _settle(self, message: Posted) -> None:
        for settled in (message, *self._receipts.settled(message)):
            settled.acked = True
            self._in_air.pop(settled.mark, None)
        if self._unsent:
            self._wake.set()
        if self._waiting:
            self._progress.set()
            self._progress = anyio.Event()

    def _refused(self, message: Posted, receipt: Delivery) -> None:
        message.refusals += 1
        message.sent_at = None
        self._doubt(message)
        if message.refusals in (1, MAX_REFUSALS):
            reason = _reason(message.subject, receipt)
            log.error("outbox.refused", tries=message.refusals, reason=reason)
        if message.refusals >= MAX_REFUSALS:
            self._settle(message)

    def _doubt(self, message: Posted) -> None:
        """Send again what the receipt of a message would have spoken for, each for itself."""
        for doubtful in self._receipts.refused(message):
            doubtful.sent_at = None

    async def _wait(self, seconds: float) -> None:
        self._waiting += 1
        try:
            with anyio.move_on_after(seconds):
                await self._progress.wait()
        finally:
            self._waiting -= 1


def _headers(message_id: str | None, ttl: int | None) -> dict[str, str] | None:
    headers = {} if message_id is None else {MESSAGE_ID: message_id}
    if ttl is not None:
        headers[TTL] = f"{ttl}s"
    return headers or None


def _reason(subject: str, receipt: Delivery) -> str:
    if status_of(receipt) is not None:
        return "no stream stores this subject"
    try:
        accepted(subject, receipt)
    except (JetStreamError, UnavailableError) as error:
        return str(error)
    return "accepted"
