"""Handing out the open work of a shard: straight to a worker with room, or else by the queue."""

from collections.abc import Iterable

import anyio
import msgspec
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.crew import Crew
from bus.errors import UnavailableError
from bus.ports import ELSEWHERE, WorkQueue
from bus.shard.book import Address, Book
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.turn import Item, Letter
from bus.shard.workforce import Errand, Workforce
from schemas.journal import Mail
from schemas.work import Lost

MOST_AT_ONCE = 64
"""Work items whose receipts are awaited at once; one by one they would be the shard's brake."""


class Assignments:
    """Knows of each open item whether it is on its way, with a worker, or in the queue's care."""

    def __init__(
        self,
        book: Book,
        fence: Fence,
        inbox: Inbox,
        workforce: Workforce,
        queue: WorkQueue,
        timing: Timing,
        tasks: TaskGroup,
    ) -> None:
        self.shard = fence.subject
        self.epoch = fence.epoch
        self._book = book
        self._fence = fence
        self._inbox = inbox
        self._workforce = workforce
        self._queue = queue
        self._timing = timing
        self._to_send: dict[str, tuple[Address, Item]] = {}
        self._lives: dict[str, str] = {}
        self._chosen: dict[str, str] = {}
        self._unoffered: dict[str, str] = {}
        self._senders = Crew(tasks, self._send_one, most=MOST_AT_ONCE)

    def choose(self, opened: Iterable[tuple[Address, Item]]) -> dict[str, str]:
        """Name the worker of each item that a commit is about to open; empty for the queue."""
        chosen = {work.id: self._workforce.choose(work) for _, work in opened}
        self._chosen.update(chosen)
        return chosen

    async def assign(self, opened: Iterable[tuple[Address, Item]]) -> None:
        """Hand out what was just opened: to the chosen, since the commit says so, or by the queue.

        Whoever owns the shard next thus knows who can have begun an item.
        """
        # What a former owner sends late may have ended, and the queue may have forgotten it.
        fresh = self._fence.was_ours(within=self._timing.work_resend_seconds)
        for address, work in opened:
            worker = self._chosen.pop(work.id, "")
            if worker and not fresh:
                self._unoffered[work.id] = worker
            if not (worker and fresh and await self._offer(address, work, worker)):
                self.send(address, work)

    async def _offer(self, address: Address, work: Item, worker: str) -> bool:
        return await self._workforce.offer(address, work, self, worker)

    def send(self, address: Address, work: Item, *, life: str | None = None) -> None:
        """Put an item into the queue; one that is on its way already changes nothing.

        ``life`` is set where it may be there: the generation of the queue in which that was. It is
        ``ELSEWHERE`` where a worker may have it who did not tell. If the queue has not got it then,
        it is begun anew, and whoever gets the twin must ask first.
        """
        if work.id not in self._to_send:
            if life is not None:
                self._lives[work.id] = life
            self._to_send[work.id] = (address, work)
            self._senders.give(work.id)

    def adopt(self, address: Address, work: Item, worker: str) -> None:
        """Note that a worker holds an item."""
        self._workforce.adopt(address, work, self, worker)

    def begin_anew(self, address: Address, work: Item, *, lost: bool) -> None:
        """Let the entity replace an item: ``lost`` with its worker, or with the bus."""
        name = f"{'lost' if lost else 'redispatch'}.{work.id}"
        body = msgspec.Raw(encode(Lost(work=work.work, attempt=work.attempt, begun=lost)))
        self._inbox.put(Letter(Mail(id=name, tenant=address[0], key=address[1], body=body)))

    def has(self, work: Item) -> bool:
        """Say whether an item is on its way to the queue, or with a worker that lives."""
        return work.id in self._to_send or self._workforce.has(work.id)

    def closed(self, items: Iterable[Item]) -> None:
        """Forget what is open no more."""
        for work in items:
            self._workforce.closed(work.id)

    def finish(self) -> None:
        """Hear no more of workers, at the end of ownership."""
        self._workforce.dismiss(self)

    # What comes of an offer: see ``Employer``

    def refused(self, errand: Errand) -> None:
        """Let the queue find a worker."""
        self.send(errand.address, errand.work)

    def lost(self, errand: Errand) -> None:
        """Begin anew what a worker had that has gone."""
        self.begin_anew(errand.address, errand.work, lost=True)

    async def still_wants(self, errand: Errand) -> bool:
        """Say whether an item is open and ours."""
        return await self._fence.holds() and self._book.is_open(errand.address, errand.work)

    # By the queue

    async def _send_one(self, name: str) -> None:
        if name in self._unoffered and await self._is_offered(*self._to_send[name]):
            return
        while not await self._sent(*self._to_send[name]):  # noqa: ASYNC110  the wait is for a restart
            await anyio.sleep(self._timing.work_resend_seconds)
        del self._to_send[name]
        self._lives.pop(name, None)

    async def _is_offered(self, address: Address, work: Item) -> bool:
        """Offer what could not be offered at once; say whether it needs no queue."""
        worker = self._unoffered.pop(work.id)
        await self._fence.confirm(within=self._timing.work_resend_seconds)
        # It is sent anew if it is refused, and that can be before the offer returns.
        del self._to_send[work.id]
        if await self._offer(address, work, worker):
            return True
        self._to_send[work.id] = (address, work)
        return False

    async def _sent(self, address: Address, work: Item) -> bool:
        if not self._book.is_open(address, work):
            return True
        await self._fence.confirm(within=self._timing.work_resend_seconds)
        life, item = self._book.generation, encode(work)
        earlier = self._lives.get(work.id)
        try:
            stored = await self._queue.send(
                work.queue, work.tenant, item, item=work.id, life=earlier
            )
        except UnavailableError:
            # It may be stored, and a worker may hold it although a restarted queue knows nothing.
            self._lives.setdefault(work.id, life)
            return False
        if stored and earlier == ELSEWHERE:
            self.begin_anew(address, work, lost=False)
        return True
