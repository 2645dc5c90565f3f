"""The workers that a process knows: who lives, who has room, and which items they were given.

Items are offered to one worker by a plain message and stored nowhere: what is to be done stands in
the journal. So it must be known when a worker dies. Each is subscribed to a subject of its own as
long as it lives, and the bus says at once when nobody listens there any more: that is proof. One
that is only silent is given up after a while. Knows no shard.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Protocol

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, NobodyListensError, UnavailableError
from bus.ownership import Membership
from bus.ports import Bus, Delivery
from bus.shard.book import Address
from bus.shard.turn import Item
from bus.subjects import offer_subject
from bus.waiting import loop_time
from schemas.fleet import WORKER_SUBJECT, Offer, OfferAnswer, WorkerAlive

log = structlog.get_logger()

LATE_BEATS = 1.5
"""A worker from which nothing came for so many beats is asked whether it lives."""


class Employer(Protocol):
    """The owner of items, in an ``epoch`` of its ``shard``."""

    shard: str
    epoch: int

    def refused(self, errand: "Errand") -> None:
        """The worker has not taken the item, and never will."""
        ...

    def lost(self, errand: "Errand") -> None:
        """The worker has gone, and may have begun the item."""
        ...

    async def still_wants(self, errand: "Errand") -> bool:
        """Say whether the item may be offered once more."""
        ...


class Errand:
    """An item that a worker was given. ``taken`` is by its word, ``tries`` counts the offers."""

    __slots__ = ("address", "at", "employer", "taken", "token", "tries", "work", "worker")

    def __init__(self, address: Address, work: Item, employer: Employer, worker: "_Worker") -> None:
        self.address = address
        self.work = work
        self.employer = employer
        self.worker = worker
        self.taken = False
        self.token = ""
        self.tries = 0
        self.at = 0.0


class _Worker:
    """A worker as we know it. It is ``full_for`` some tenants until it says that it has room."""

    __slots__ = ("errands", "full_for", "heard", "is_asked_after", "name", "queue", "subject")

    def __init__(self, name: str, queue: str, now: float) -> None:
        self.name = name
        self.queue = queue
        self.subject = offer_subject(name)
        self.heard = now
        self.is_asked_after = False
        self.full_for: set[str] = set()
        self.errands: dict[str, Errand] = {}


class Workforce:
    """Offers items to workers, and tells whose they are when one is refused or its worker gone.

    ``name`` is a token that no other workforce has.
    """

    def __init__(self, name: str, membership: Membership, bus: Bus, timing: Timing) -> None:
        self._membership = membership
        self._transport = bus.transport
        self._clock = bus.clock
        self._timing = timing
        self._late = LATE_BEATS * timing.heartbeat_seconds
        self._answers = f"_cb.sys.offered.{name}"
        self._tokens = itertools.count(1)
        self._workers: dict[str, _Worker] = {}
        self._queues: dict[str, deque[_Worker]] = {}
        self._errands: dict[str, Errand] = {}
        self._unanswered: dict[str, Errand] = {}
        self._believes_from = -inf

    async def run(self) -> None:
        """Listen to the workers, and look after them, until cancelled."""
        forget = self._transport.on_reconnect(self._bus_came_back)
        try:
            async with (
                self._transport.reception(WORKER_SUBJECT, self._heard),
                self._transport.reception(f"{self._answers}.*", self._answered),
                anyio.create_task_group() as tasks,
            ):
                await self._look_after_all(tasks)
        finally:
            forget()

    @property
    def living(self) -> set[str]:
        """The workers that are not known to have gone."""
        return set(self._workers)

    # Items

    def choose(self, work: Item) -> str:
        """Name a worker that seems to have room for an item; empty if there is none."""
        worker = self._next_with_room(work)
        return worker.name if worker else ""

    async def offer(self, address: Address, work: Item, employer: Employer, name: str) -> bool:
        """Offer an item to the worker of a name; return False if that is not there.

        What comes of it is told to ``employer``, unless the item is ``closed`` before.
        """
        worker = self._workers.get(name)
        if worker is None:
            return False
        errand = self._note(Errand(address, work, employer, worker))
        if not await self._send(errand):
            self.closed(work.id)
            return False
        return True

    def adopt(self, address: Address, work: Item, employer: Employer, worker: str) -> None:
        """Note that a worker holds an item."""
        holder = self._known(worker, work.queue)
        self._note(Errand(address, work, employer, holder)).taken = True

    def has(self, item: str) -> bool:
        """Say whether a worker was given an item, and has neither refused it nor gone."""
        return item in self._errands

    def closed(self, item: str) -> None:
        """Forget an item that is open no more."""
        errand = self._errands.pop(item, None)
        if errand is not None:
            self._unanswered.pop(errand.token, None)
            errand.worker.errands.pop(item, None)

    def dismiss(self, employer: Employer) -> None:
        """Forget all items of an employer."""
        for errand in list(self._errands.values()):
            if errand.employer is employer:
                self.closed(errand.work.id)

    def _note(self, errand: Errand) -> Errand:
        self.closed(errand.work.id)
        self._errands[errand.work.id] = errand
        errand.worker.errands[errand.work.id] = errand
        return errand

    def _next_with_room(self, work: Item) -> _Worker | None:
        """Return the worker whose turn it is, of those with room; a silent one only if need be."""
        workers = self._queues.get(work.queue)
        if not workers:
            return None
        now, tenant = loop_time(), work.tenant
        for silence in (self._late, self._timing.member_gone_seconds):
            for _ in range(len(workers)):
                worker = workers[0]
                workers.rotate(-1)
                if now - worker.heard <= silence and tenant not in worker.full_for:
                    return worker
        return None

    async def _send(self, errand: Errand) -> bool:
        work = errand.work
        self._unanswered.pop(errand.token, None)
        errand.token, errand.at = str(next(self._tokens)), loop_time()
        errand.tries += 1
        self._unanswered[errand.token] = errand
        item = msgspec.Raw(encode(work))
        offer = Offer(
            name=work.id,
            tenant=work.tenant,
            at=self._clock(),
            item=item,
            shard=errand.employer.shard,
            epoch=errand.employer.epoch,
        )
        reply = f"{self._answers}.{errand.token}"
        try:
            await self._transport.publish(errand.worker.subject, encode(offer), reply=reply)
        except UnavailableError:
            return False
        return True

    # What workers say

    def _heard(self, delivery: Delivery) -> None:
        alive = decode(WorkerAlive, delivery.data)
        if alive.leaving:
            self._farewell(alive.worker)
            return
        worker = self._known(alive.worker, alive.queue)
        worker.heard = loop_time()
        if alive.has_room:
            worker.full_for.clear()

    def _answered(self, delivery: Delivery) -> None:
        errand = self._unanswered.get(delivery.subject.rpartition(".")[2])
        if errand is None:
            return
        if delivery.is_unheard:
            self._unheard(errand)
            return
        errand.worker.heard = loop_time()
        if decode(OfferAnswer, delivery.data).taken:
            errand.taken = True
            del self._unanswered[errand.token]
        else:
            errand.worker.full_for.add(errand.work.tenant)
            self._refused(errand)

    def _known(self, name: str, queue: str) -> _Worker:
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = _Worker(name, queue, loop_time())
            self._queues.setdefault(queue, deque()).append(worker)
        return worker

    def _refused(self, errand: Errand) -> None:
        self.closed(errand.work.id)
        errand.employer.refused(errand)

    def _unheard(self, errand: Errand) -> None:
        """Note that nobody was there to be offered an item; an earlier offer may have been heard.

        That is then settled by the worker's end.
        """
        worker = errand.worker
        worker.heard = min(worker.heard, loop_time() - self._late)
        if errand.tries == 1:
            self._refused(errand)

    # Who lives

    async def _look_after_all(self, tasks: TaskGroup) -> None:
        pause = self._timing.heartbeat_seconds / 2
        looked = loop_time()
        while True:
            await anyio.sleep(pause)
            now = loop_time()
            if now - looked > self._late or self._membership.is_deaf:
                self._excuse_all(now)
            else:
                for worker in list(self._workers.values()):
                    self._look_after(worker, now, tasks)
                for errand in list(self._overdue(now)):
                    tasks.start_soon(self._offer_again, errand)
            looked = now

    def _look_after(self, worker: _Worker, now: float, tasks: TaskGroup) -> None:
        silence = now - worker.heard
        if silence > self._timing.ack_wait_seconds:
            self._gone(worker, "it is silent")
        elif silence > self._late and not worker.is_asked_after:
            worker.is_asked_after = True
            tasks.start_soon(self._ask_after, worker)

    async def _ask_after(self, worker: _Worker) -> None:
        """Find out whether a worker lives: one whose connection was cut comes back at once."""
        if await self._is_unheard(worker):
            await anyio.sleep(self._timing.heartbeat_seconds / 2)
            if await self._is_unheard(worker) and loop_time() >= self._believes_from:
                self._gone(worker, "nobody listens")
        worker.is_asked_after = False

    async def _is_unheard(self, worker: _Worker) -> bool:
        patience = self._timing.heartbeat_seconds
        try:
            await self._transport.request(worker.subject, b"", timeout=patience)
        except NobodyListensError:
            return True
        except (UnavailableError, DeadlineError):
            return False
        worker.heard = loop_time()
        return False

    def _overdue(self, now: float) -> Iterator[Errand]:
        """Yield what was offered so long ago that the offer or its answer may be lost."""
        for errand in self._unanswered.values():
            if now - errand.at < self._timing.offer_seconds:
                return
            yield errand

    async def _offer_again(self, errand: Errand) -> None:
        """Offer an item to the same worker as before: it knows which offers it has heard."""
        if await errand.employer.still_wants(errand) and errand.token in self._unanswered:
            await self._send(errand)

    def _gone(self, worker: _Worker, reason: str) -> None:
        if self._workers.get(worker.name) is worker:
            log.info("worker.gone", worker=worker.name, reason=reason, items=len(worker.errands))
            self._forget(worker)
            for errand in list(worker.errands.values()):
                self.closed(errand.work.id)
                errand.employer.lost(errand)

    def _farewell(self, name: str) -> None:
        """Note that a worker has left in good order: what it had is done, or in the queue."""
        worker = self._workers.get(name)
        if worker is not None:
            self._forget(worker)
            for errand in list(worker.errands.values()):
                self.closed(errand.work.id)
                if not errand.taken:
                    errand.employer.refused(errand)

    def _forget(self, worker: _Worker) -> None:
        del self._workers[worker.name]
        self._queues[worker.queue].remove(worker)

    def _excuse_all(self, now: float) -> None:
        """Blame nobody's silence on the time in which we could not hear."""
        for worker in self._workers.values():
            worker.heard = now

    async def _bus_came_back(self) -> None:
        """Give everybody time to find the bus again."""
        now = loop_time()
        self._believes_from = now + self._timing.ack_wait_seconds
        self._excuse_all(now)
