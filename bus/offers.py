"""A worker's desk: where owners offer it items, and find that it lives.

An offered item is stored nowhere but in its owner's journal. The owner learns from the result that
it was taken, or, if that takes longer, from a word of ours.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import structlog

from bus.codec import decode, encode
from bus.config import Timing
from bus.connection.background import background
from bus.errors import UnavailableError
from bus.ids import new_id
from bus.ports import ELSEWHERE, Bus, Delivery, Ticket
from bus.subjects import offer_subject
from bus.waiting import Wakeup, loop_time
from schemas.fleet import WORKER_SUBJECT, Offer, OfferAnswer, RollCall, WorkerAlive

log = structlog.get_logger()

REMEMBERED_SECONDS = 5.0
"""A copy of an offer that was answered is known so long: many times as long as one is under way."""

TAKEN, REFUSED = encode(OfferAnswer(taken=True)), encode(OfferAnswer(taken=False))

Take = Callable[[str, Ticket], bool]
"""Begins an item of a tenant if that can be at once, and says whether."""


class OfferedTicket:
    """See ``Ticket``. No queue has the item, so it is given back by putting it into one."""

    __slots__ = ("_desk", "_since", "data", "name", "reply", "tenant")

    deliveries = 1
    life = None

    def __init__(self, offer: Offer, reply: str, desk: "Desk") -> None:
        self.data = bytes(offer.item)
        self.name = offer.name
        self.tenant = offer.tenant
        self.reply = reply
        self._desk = desk
        self._since = loop_time()

    @property
    def age(self) -> float:
        """See ``Ticket.age``. One that was long on its way is refused, so this is since it came."""
        return loop_time() - self._since

    async def ack(self) -> None:
        """See ``Ticket.ack``."""
        self._desk.ended(self)

    async def nak(self, delay: float) -> None:
        """See ``Ticket.nak``. It goes into the queue at once, where it must be claimed."""
        del delay
        await self._desk.put_back(self)
        self._desk.ended(self)

    async def drop(self, reason: str) -> None:
        """See ``Ticket.drop``."""
        del reason
        self._desk.dropped(self)

    async def in_progress(self) -> None:
        """See ``Ticket.in_progress``. As long as the worker lives, so does its work."""


class Desk:
    """Answers offers to one worker, and announces it. ``room`` says whether an item could begin."""

    name = ""

    def __init__(
        self, queue: str, bus: Bus, timing: Timing, *, take: Take, room: Callable[[], bool]
    ) -> None:
        self._queue = queue
        self._bus = bus
        self._transport = bus.transport
        self._timing = timing
        self._take = take
        self._room = room
        self._held: dict[str, OfferedTicket] = {}
        self._untold: dict[int, OfferedTicket] = {}
        self._has_untold = Wakeup()
        self._answered: dict[str, bool] = {}
        self._ages: deque[tuple[float, str]] = deque()
        self._epochs: dict[str, int] = {}
        self._has_dropped = False
        self._has_left = False

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Take offers while the context is open, under a name of its own."""
        self.name = f"{self._queue}-{new_id()}"
        async with (
            self._transport.reception(offer_subject(self.name), self._hear),
            background(self._keep_announcing, self._keep_telling),
        ):
            yield

    async def leave(self) -> None:
        """Say that all is done or handed back."""
        self._has_left = True
        if self.name:
            await self._announce(leaving=True)

    def reports(self, ticket: Ticket) -> None:
        """Note that the result of an item is on its way, which tells that it was taken."""
        self._untold.pop(id(ticket), None)

    def ended(self, ticket: OfferedTicket) -> None:
        """Note that an item is not held any more."""
        self._untold.pop(id(ticket), None)
        self._held.pop(ticket.name, None)

    def dropped(self, ticket: OfferedTicket) -> None:
        """Note that an item which may be open still is not held any more."""
        self._has_dropped = True
        self.ended(ticket)

    def heed(self, call: RollCall) -> int:
        """Take no offer of an earlier epoch any more; return the epoch if that can be relied on.

        It cannot once an item was dropped here: it was begun, and nobody knows which it was.
        """
        self._epochs[call.shard] = max(call.epoch, self._epochs.get(call.shard, 0))
        return 0 if self._has_dropped else call.epoch

    async def put_back(self, ticket: OfferedTicket) -> None:
        """Store an item in the queue; whoever gets it must ask before it is begun."""
        send, tenant, data = self._bus.queue.send, ticket.tenant, ticket.data
        while True:
            with suppress(UnavailableError):
                await send(self._queue, tenant, data, item=ticket.name, life=ELSEWHERE)
                return
            await anyio.sleep(self._timing.in_progress_seconds)

    # Offers

    def _hear(self, delivery: Delivery) -> None:
        if not delivery.data:
            self._transport.tell(delivery.reply, encode(self._alive()))
            return
        offer = decode(Offer, delivery.data)
        taken = self._answer_before(offer.name)
        if taken is None:
            taken = self._decide(offer, delivery.reply)
            if taken:
                return
        self._transport.tell(delivery.reply, TAKEN if taken else REFUSED)

    def _answer_before(self, name: str) -> bool | None:
        """Return what was said to an earlier copy of an offer, None if there was none."""
        return True if name in self._held else self._answered.get(name)

    def _decide(self, offer: Offer, reply: str) -> bool:
        """Take an item or not; one that was long on its way is not believed to be wanted still."""
        age = (self._bus.clock() - offer.at).total_seconds()
        ticket = OfferedTicket(offer, reply, self)
        is_wanted = age < self._timing.offer_seconds and not self._is_past(offer)
        taken = is_wanted and self._take(offer.tenant, ticket)
        if taken:
            self._held[offer.name] = ticket
            self._untold[id(ticket)] = ticket
            self._has_untold.set()
        self._remember(offer.name, taken=taken)
        return taken

    def _is_past(self, offer: Offer) -> bool:
        """Say whether a later owner of the shard has asked here already."""
        return offer.epoch < self._epochs.get(offer.shard, 0)

    def _remember(self, name: str, *, taken: bool) -> None:
        now = loop_time()
        self._answered[name] = taken
        self._ages.append((now, name))
        while self._ages[0][0] < now - REMEMBERED_SECONDS:
            self._answered.pop(self._ages.popleft()[1], None)

    async def _keep_telling(self) -> None:
        while True:
            await self._has_untold.wait()
            await anyio.sleep(self._timing.taken_seconds)
            untold, self._untold = self._untold, {}
            for ticket in untold.values():
                with suppress(UnavailableError):
                    await self._transport.publish(ticket.reply, TAKEN)

    # Signs of life

    async def _keep_announcing(self) -> None:
        while True:
            await self._announce()
            await anyio.sleep(self._timing.heartbeat_seconds)

    async def _announce(self, *, leaving: bool = False) -> None:
        if leaving or not self._has_left:
            with suppress(UnavailableError):
                await self._transport.publish(WORKER_SUBJECT, encode(self._alive(leaving=leaving)))

    def _alive(self, *, leaving: bool = False) -> WorkerAlive:
        return WorkerAlive(
            worker=self.name, queue=self._queue, has_room=self._room(), leaving=leaving
        )
