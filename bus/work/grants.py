"""A worker's offer endpoint: it takes items, grants free places and shows that the worker lives.

An offered item is stored nowhere but in its owner's journal. The owner learns from the result that
it was taken, or, if that takes longer, from a word of ours. Where items wait for a worker, their
registry says so, and is granted a place that frees; an offer that names the grant takes it.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import structlog

from bus.codec import MessageDecoder, decode, encode
from bus.config import Timing
from bus.errors import UnavailableError
from bus.fairness import Places, Wish
from bus.ids import new_id
from bus.ports import Bus, Delivery
from bus.subjects import demand_subject, grant_subject, offer_subject
from bus.tasks import Wakeup, background, loop_time
from schemas.fleet import (
    WORKER_SUBJECT,
    Demand,
    Grant,
    Held,
    InventoryRequest,
    Offer,
    OfferAnswer,
    Unused,
    WorkerAlive,
    WorkerMessage,
)

log = structlog.get_logger()

REMEMBERED_SECONDS = 5.0
"""A copy of an offer that was answered is known so long: many times as long as one is under way."""

LAPSE_BEATS = 2
"""A grant lapses after so many heartbeats in which its registry says nothing of it."""

TAKEN, REFUSED = encode(OfferAnswer(taken=True)), encode(OfferAnswer(taken=False))

_message = MessageDecoder[WorkerMessage](WorkerMessage)


class TakenItem:
    """An item that was taken, until its result is committed. ``shard`` is its owner's."""

    __slots__ = ("data", "line", "name", "reply", "shard")

    def __init__(self, offer: Offer, reply: str) -> None:
        self.data = bytes(offer.item)
        self.name = offer.name
        self.line = offer.line
        self.shard = offer.shard
        self.reply = reply


class OfferEndpoint:
    """Answers offers to one worker, grants its free places, and announces it.

    ``may`` says whether an item of a line may be taken, apart from its place; ``begin`` begins
    one that is taken.
    """

    name = ""

    def __init__(
        self,
        queue: str,
        places: Places,
        bus: Bus,
        timing: Timing,
        *,
        may: Callable[[str], bool],
        begin: Callable[[TakenItem], None],
    ) -> None:
        self._queue = queue
        self._places = places
        self._clock = bus.clock
        self._transport = bus.transport
        self._timing = timing
        self._may = may
        self._begin = begin
        self._held: dict[str, TakenItem] = {}
        self._untold: dict[str, TakenItem] = {}
        self._has_untold = Wakeup()
        self._answered: dict[tuple[str, int], bool] = {}
        self._ages: deque[tuple[float, tuple[str, int]]] = deque()
        self._epochs: dict[str, int] = {}
        self._has_dropped = False
        self._has_left = False

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Take offers while the context is open, under a name of its own."""
        self.name = f"{self._queue}-{new_id()}"
        transport = self._transport
        forget = transport.on_reconnect(self._bus_came_back)
        try:
            async with (
                transport.reception(offer_subject(self.name), self._hear),
                transport.reception(demand_subject(self._queue), self._hear_demand),
                background(self._keep_announcing, self._keep_notifying),
            ):
                yield
        finally:
            forget()

    async def leave(self) -> None:
        """Say that all is done."""
        self._has_left = True
        for taken in self._held.values():
            # Its result is stored elsewhere: nobody may think that it was never taken.
            self._transport.tell(taken.reply, TAKEN)
        if self.name:
            await self._announce(leaving=True)

    def reports(self, taken: TakenItem) -> None:
        """Note that the result of an item is on its way, which tells that it was taken."""
        self._untold.pop(taken.name, None)

    def ended(self, taken: TakenItem) -> None:
        """Note that an item is not held any more."""
        self._untold.pop(taken.name, None)
        self._held.pop(taken.name, None)

    def dropped(self, taken: TakenItem) -> None:
        """Note that an item which may be open still is not held any more."""
        self._has_dropped = True
        self.ended(taken)

    def grant(self) -> None:
        """Grant the places that are free to whom they are due."""
        while (made := self._places.promise(loop_time(), self._may)) is not None:
            grant = Grant(worker=self.name, queue=self._queue, number=made.number, line=made.tenant)
            self._transport.tell(grant_subject(made.registry), encode(grant))

    # What arrives

    def _hear(self, delivery: Delivery) -> None:
        if not delivery.data:
            self._transport.tell(delivery.reply, encode(self._alive()))
            return
        envelope = _message(delivery.data)
        match envelope:
            case Offer():
                self._hear_offer(envelope, delivery.reply)
            case InventoryRequest():
                self._transport.tell(delivery.reply, encode(self.fence(envelope)))
            case Unused():
                self._places.cancel(envelope.grant)
                self.grant()

    def _hear_demand(self, delivery: Delivery) -> None:
        demand, now = decode(Demand, delivery.data), loop_time()
        wishes = [Wish(each.line, each.count, now - each.age) for each in demand.wanted]
        self._places.hear(demand.registry, wishes, demand.naming.get(self.name, ()), now)
        self.grant()

    def fence(self, call: InventoryRequest) -> Held:
        """Take no offer of an earlier epoch any more, and tell what is held of a shard.

        The promise cannot be given once an item was dropped here: it was begun, and nobody knows
        which it was.
        """
        self._epochs[call.shard] = max(call.epoch, self._epochs.get(call.shard, 0))
        items = [name for name, taken in self._held.items() if taken.shard == call.shard]
        return Held(items=items, epoch=0 if self._has_dropped else call.epoch)

    # Offers

    def _hear_offer(self, offer: Offer, reply: str) -> None:
        taken = self._answer_before(offer)
        if taken is None:
            taken = self._decide(offer, reply)
            if taken:
                return
        self._transport.tell(reply, TAKEN if taken else REFUSED)

    def _answer_before(self, offer: Offer) -> bool | None:
        """Return what was said to an earlier copy of an offer, None if there was none.

        What was refused may be offered again by another grant.
        """
        return True if offer.name in self._held else self._answered.get((offer.name, offer.grant))

    def _decide(self, offer: Offer, reply: str) -> bool:
        has_place = not self._is_past(offer) and self._may(offer.line) and self._takes(offer)
        self._places.cancel(offer.grant)
        if has_place:
            taken = TakenItem(offer, reply)
            self._held[offer.name] = self._untold[offer.name] = taken
            self._has_untold.set()
            self._begin(taken)
        self._remember(offer, taken=has_place)
        return has_place

    def _takes(self, offer: Offer) -> bool:
        """Take a place for an item: the one that it was granted, or any if it comes unasked.

        One that comes unasked and was long on its way is not believed to be wanted still.
        """
        if offer.grant:
            return self._places.redeem(offer.grant, offer.line, loop_time())
        age = (self._clock() - offer.at).total_seconds()
        return age < self._timing.offer_seconds and self._places.take(offer.line)

    def _is_past(self, offer: Offer) -> bool:
        """Say whether a later owner of the shard was heard of here already."""
        known = self._epochs.get(offer.shard, 0)
        self._epochs[offer.shard] = max(known, offer.epoch)
        return offer.epoch < known

    def _remember(self, offer: Offer, *, taken: bool) -> None:
        now, name = loop_time(), (offer.name, offer.grant)
        self._answered[name] = taken
        self._ages.append((now, name))
        while self._ages[0][0] < now - REMEMBERED_SECONDS:
            self._answered.pop(self._ages.popleft()[1], None)

    async def _keep_notifying(self) -> None:
        while True:
            await self._has_untold.wait()
            await anyio.sleep(self._timing.taken_seconds)
            untold, self._untold = self._untold, {}
            for taken in untold.values():
                with suppress(UnavailableError):
                    await self._transport.publish(taken.reply, TAKEN)

    # Signs of life

    async def _keep_announcing(self) -> None:
        while True:
            self._places.lapse(loop_time())
            self.grant()
            await self._announce()
            await anyio.sleep(self._timing.heartbeat_seconds)

    async def _announce(self, *, leaving: bool = False) -> None:
        if leaving or not self._has_left:
            with suppress(UnavailableError):
                await self._transport.publish(WORKER_SUBJECT, encode(self._alive(leaving=leaving)))

    def _alive(self, *, leaving: bool = False) -> WorkerAlive:
        room = self._places.free
        return WorkerAlive(worker=self.name, queue=self._queue, room=room, leaving=leaving)

    async def _bus_came_back(self) -> None:
        """Keep no place for a registry that may have missed it, or the time since."""
        self._places.cancel_all()
