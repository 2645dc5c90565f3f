"""One worker's share of a queue: asks for items ahead of time, and hands them over as they come.

Requests stand at the server, so an item is on its way the moment it is stored. All items and all
words about requests arrive on one inbox: an item is told by its subject, a word by the token of the
request it is about. When much more stands than the worker can take, the inbox is given up for a new
one; the server then drops the requests, and other workers get the items.
"""

import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import anyio
import msgspec
import nats.errors
from nats.aio.subscription import Subscription

from bus.connection import NatsTransport, background
from bus.connection.transport import status_of
from bus.errors import UnavailableError
from bus.jetstream.lane import EXPIRY_SECONDS, Lane
from bus.jetstream.lanes import Lanes
from bus.jetstream.ticket import NANOSECONDS, JetStreamTicket
from bus.ports import Clock, Delivery, Ticket
from bus.streams.api import JetStream
from bus.streams.spec import WORK
from bus.waiting import Wakeup, loop_time
from schemas.fleet import LANE_SUBJECT

CREDIT_SECONDS = 0.1
"""How often every tenant's credit is asked for; that of a tenant in use is asked for at once."""

MOST_AT_ONCE = 1000

HEARTBEAT = "100"
NO_RESPONDERS = "503"
CONFLICT = "409"


class Puller:
    """See ``WorkQueue.pull``."""

    def __init__(
        self,
        queue: str,
        credit: Callable[[str], int],
        transport: NatsTransport,
        jetstream: JetStream,
        clock: Clock,
        ack_wait_seconds: float,
    ) -> None:
        self._credit = credit
        self._transport = transport
        self._clock = clock
        self._lanes = Lanes(queue, jetstream, ack_wait_seconds, self._opened)
        self._requests = itertools.count(1)
        self._stirred: dict[str, None] = {}
        self._arrived: deque[tuple[str, Ticket]] = deque()
        self._wake_reader = Wakeup()
        self._wake_asker = Wakeup()
        self._prefix: str
        self._inbox: Subscription

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[AsyncIterator[tuple[str, Ticket]]]:
        """Ask for items and yield them while the context is open."""
        await self._open_inbox()
        forget = self._transport.on_reconnect(self._begin_anew)
        try:
            async with (
                self._transport.subscription(LANE_SUBJECT, self._lanes.announced),
                background(self._lanes.keep_looking, self._keep_asking),
                aclosing(self._tickets()) as tickets,
            ):
                yield tickets
        finally:
            forget()
            await self._close()

    async def _tickets(self) -> AsyncGenerator[tuple[str, Ticket]]:
        while True:
            while self._arrived:
                tenant, ticket = self._arrived.popleft()
                yield tenant, ticket
                self._stir(tenant)
            await self._wake_reader.wait()

    # What arrives

    def _take(self, message: Delivery) -> None:
        status = status_of(message)
        if status is not None:
            self._note(status, message.subject.rpartition(".")[2])
            return
        tenant = message.subject.rpartition(".")[2]
        lane = self._lanes.get(tenant)
        if lane is not None:
            lane.received()
            lane.touch(loop_time())
        ticket = JetStreamTicket(self._transport, message, self._now, lambda: self._stir(tenant))
        self._arrived.append((tenant, ticket))
        self._wake_reader.set()

    def _note(self, status: str, request: str) -> None:
        """Note what the server says about a request: mostly that it has ended."""
        lane = self._lanes.get(request.partition(":")[2])
        if lane is None or status == HEARTBEAT:
            return
        lane.ended(request)
        if status in (NO_RESPONDERS, CONFLICT):
            self._lanes.closed(lane)
        self._stir(lane.tenant)

    def _now(self) -> float:
        return self._clock().timestamp()

    # Asking for items

    def _opened(self, lane: Lane) -> None:
        self._stir(lane.tenant)

    def _stir(self, tenant: str) -> None:
        """Let the tenant's credit be asked for soon."""
        self._stirred[tenant] = None
        self._wake_asker.set()

    async def _keep_asking(self) -> None:
        checked_at = loop_time()
        while True:
            # Without a lane there is nothing to ask for: whoever opens one wakes us.
            await self._wake_asker.wait(CREDIT_SECONDS if len(self._lanes) else None)
            if loop_time() - checked_at >= CREDIT_SECONDS:
                checked_at = loop_time()
                await self._check_all()
            else:
                await self._ask_stirred()

    async def _ask_stirred(self) -> None:
        stirred, self._stirred = self._stirred, {}
        for tenant in stirred:
            lane = self._lanes.get(tenant)
            if lane is not None:
                await self._ask(lane, self._credit(tenant))

    async def _check_all(self) -> None:
        self._stirred = {}
        self._lanes.forget_idle(loop_time())
        lanes = [(lane, self._credit(lane.tenant)) for lane in self._lanes]
        overdrawn = any(lane.is_overdrawn(credit) for lane, credit in lanes)
        if overdrawn and self._transport.connected:
            await self._recall()
        for lane, credit in lanes:
            await self._ask(lane, credit)

    async def _ask(self, lane: Lane, credit: int) -> None:
        now = loop_time()
        count = min(lane.wanted(credit, now), MOST_AT_ONCE)
        if count <= 0 or not lane.ready or not self._transport.connected or lane.is_idle(now):
            return
        request = f"{next(self._requests)}:{lane.tenant}"
        lane.asked(request, count, now)
        body = {"batch": count, "expires": round(EXPIRY_SECONDS * NANOSECONDS)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{WORK}.{lane.consumer}"
        data = msgspec.json.encode(body)
        try:
            await self._transport.publish(subject, data, reply=f"{self._prefix}{request}")
        except UnavailableError:
            lane.ended(request)

    # The inbox

    async def _open_inbox(self) -> None:
        self._prefix = f"{self._transport.client.new_inbox()}."
        self._inbox = await self._transport.client.receive(f"{self._prefix}*", self._take)

    async def _recall(self) -> None:
        """Make the server drop all requests; what it has sent already still arrives."""
        given_up = self._inbox
        await self._open_inbox()
        for lane in self._lanes:
            lane.recall()
        await self._retire(given_up)

    async def _begin_anew(self) -> None:
        """Take a new inbox: the server may or may not remember what was asked on the old one."""
        await self._recall()
        await self._lanes.begin_anew()

    async def _retire(self, inbox: Subscription) -> None:
        try:
            await self._transport.client.retire(inbox)
        except nats.errors.Error:
            if not self._transport.client.is_closed:
                await inbox.unsubscribe()

    async def _close(self) -> None:
        """End the requests, and return what came of them and was not handed over."""
        with anyio.CancelScope(shield=True):
            await self._retire(self._inbox)
            while self._arrived:
                _, ticket = self._arrived.popleft()
                await ticket.nak(0)
