"""Making sure that open work is with a worker or in the queue, after whatever happened."""

from datetime import timedelta
from typing import Any

import anyio
import msgspec

from bus.codec import encode
from bus.config import Timing
from bus.errors import UnavailableError
from bus.ports import Bus
from bus.shard.book import Address, Book
from bus.shard.dispatch import Dispatcher
from bus.shard.inbox import Inbox
from bus.shard.roll_call import unheld
from bus.shard.turn import Letter
from schemas.decision import Work
from schemas.journal import Mail

OpenWork = list[tuple[Address, Work]]


class OpenWorkKeeper:
    """Sends work again where that is safe, and begins it anew where the bus has lost it.

    An item is safe to send again while the queue still remembers its id: a repeat is swallowed. An
    older one, or one of an earlier life of the queue, may be held by a worker: that is asked first.
    """

    def __init__(
        self, book: Book, dispatcher: Dispatcher, inbox: Inbox, name: str, bus: Bus, timing: Timing
    ) -> None:
        self._book = book
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._name = name
        self._bus = bus
        self._timing = timing
        self._reconnected = anyio.Event()

    async def run(self) -> None:
        """Look after the open work now, and again each time the bus comes back."""
        await self._after_takeover()
        while True:
            await self._reconnected.wait()
            self._reconnected = anyio.Event()
            await self._after_reconnect()

    async def bus_came_back(self) -> None:
        """Note that the bus was away."""
        self._reconnected.set()

    async def _after_takeover(self) -> None:
        known = list(self._book.open_work())
        generation = await self._generation()
        fresh: OpenWork = []
        if generation == self._book.generation:
            limit = self._bus.clock() - timedelta(seconds=self._timing.repeat_window_seconds)
            fresh = [(address, work) for address, work in known if work.since > limit]
        for address, work in fresh:
            self._dispatcher.send(address, work, repeat=True)
        await self._begin_lost_anew([entry for entry in known if entry not in fresh], generation)

    async def _after_reconnect(self) -> None:
        sent = self._dispatcher.is_sending
        known = [entry for entry in self._book.open_work() if not sent(entry[1])]
        generation = await self._generation()
        if generation != self._book.generation:
            await self._begin_lost_anew(known, generation)

    async def _begin_lost_anew(self, doubtful: OpenWork, generation: str) -> None:
        """Ask again and again until no doubtful item is open: who holds one may still die with it.

        No queue hands out such an item again. Only then may a next owner rely on the queue.
        """
        while doubtful := self._still_open(doubtful):
            lost = await unheld(
                self._bus.transport, self._name, doubtful, seconds=self._timing.roll_call_seconds
            )
            if self._reconnected.is_set():
                return
            for address, work in self._still_open(lost):
                self._inbox.put(Letter(self._redispatch(address, work)))
            while self._still_open(lost):  # noqa: ASYNC110  seldom and short
                await anyio.sleep(self._timing.work_resend_seconds)
        self._book.generation = generation

    def _still_open(self, work: OpenWork) -> OpenWork:
        return [entry for entry in work if self._book.is_open(*entry)]

    def _redispatch(self, address: Address, work: Work) -> Mail:
        command: Any = self._book.entity.redispatch(work)
        body = msgspec.Raw(encode(command))
        return Mail(id=f"redispatch.{work.id}", tenant=address[0], key=address[1], body=body)

    async def _generation(self) -> str:
        while True:
            try:
                return await self._bus.queue.generation()
            except UnavailableError:
                await anyio.sleep(self._timing.work_resend_seconds)
