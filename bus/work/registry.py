"""The workers that a process knows: who lives, who has room, and which items they were given.

Items are offered to one worker by a plain message and stored nowhere: what is to be done stands in
the journal. So it must be known when a worker dies. Each is subscribed to a subject of its own as
long as it lives, and the bus says at once when nobody listens there any more: that is proof. One
that is only silent is given up after a while. Knows no shard.

What no worker has room for waits here. Workers are told of it, and grant places as they free.
"""

import itertools
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, NobodyListensError, UnavailableError
from bus.membership import Membership
from bus.ports import Bus, Delivery
from bus.subjects import demand_subject, grant_subject
from bus.tasks import Wakeup, loop_time
from bus.work.assignments import Assignment, ItemOwner, KnownWorker
from bus.work.waiting import WaitingWork, is_early
from schemas.entity import EntityAddress
from schemas.fleet import (
    WORKER_SUBJECT,
    Demand,
    Grant,
    Offer,
    OfferAnswer,
    Unused,
    WantedPlaces,
    WorkerAlive,
)
from schemas.work import AnyWorkItem

log = structlog.get_logger()

LATE_BEATS = 1.5
"""A worker from which nothing came for so many beats is asked whether it lives."""

MOST_WANTED = 256
"""Lines for which one message asks; where more wait, the others are asked for by the next."""

DEMAND_SECONDS = 0.01
"""What begins to wait within this is told together."""


class _Unassigned(NamedTuple):
    """An item that waits."""

    address: EntityAddress
    work: AnyWorkItem
    owner: ItemOwner


class WorkerRegistry:
    """Offers items to workers, and tells whose they are when one is refused or its worker gone.

    ``name`` is a token that no other worker registry has.
    """

    def __init__(self, name: str, membership: Membership, bus: Bus, timing: Timing) -> None:
        self._name = name
        self._membership = membership
        self._transport = bus.transport
        self._clock = bus.clock
        self._timing = timing
        self._late = LATE_BEATS * timing.heartbeat_seconds
        self._answers = f"_cb.sys.offered.{name}"
        self._tokens = itertools.count(1)
        self._workers: dict[str, KnownWorker] = {}
        self._queues: dict[str, deque[KnownWorker]] = {}
        self._assignments: dict[str, Assignment] = {}
        self._unanswered: dict[str, Assignment] = {}
        self._waiting = WaitingWork[_Unassigned]()
        self._granted: dict[str, Assignment] = {}
        self._asked_for: set[str] = set()
        self._wants = Wakeup()
        self._believes_from = -inf

    async def run(self) -> None:
        """Listen to the workers, look after them and ask for places, until cancelled."""
        forget = self._transport.on_reconnect(self._bus_came_back)
        try:
            async with (
                self._transport.reception(WORKER_SUBJECT, self._heard),
                self._transport.reception(f"{self._answers}.*", self._answered),
                self._transport.reception(grant_subject(self._name), self._hear_grant),
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._keep_asking)
                await self._look_after_all(tasks)
        finally:
            forget()

    # Items

    def choose(
        self, address: EntityAddress, work: AnyWorkItem, owner: ItemOwner
    ) -> Assignment | None:
        """Give an item to a worker that seems to have room, unless others wait in its line."""
        if self._waiting.waits(work.queue, work.line):
            return None
        if work.not_before is not None and is_early(work, self._clock()):
            return None
        worker = self._next_with_room(work)
        if worker is None:
            return None
        worker.room -= 1
        return Assignment(address, work, owner, worker)

    async def offer(self, assignment: Assignment) -> bool:
        """Offer an item to its worker; return False if that has gone.

        What comes of it is told to the owner, unless the item is ``closed`` before.
        """
        self._granted.pop(assignment.work.id, None)
        if self._workers.get(assignment.worker.name) is not assignment.worker:
            return False
        self._note(assignment)
        if not await self._send(assignment):
            self.closed(assignment.work.id)
            return False
        return True

    def wait(self, address: EntityAddress, work: AnyWorkItem, owner: ItemOwner) -> None:
        """Let an item wait until a worker grants it a place."""
        waits = self._waiting.waits(work.queue, work.line)
        self._waiting.add(work, _Unassigned(address, work, owner), self._clock())
        if not waits:
            self._wants.set()

    def adopt(
        self, address: EntityAddress, work: AnyWorkItem, owner: ItemOwner, worker: str
    ) -> None:
        """Note that a worker holds an item."""
        holder = self._known(worker, work.queue)
        self._note(Assignment(address, work, owner, holder)).taken = True

    def meet(self, worker: str, queue: str) -> None:
        """Look after a worker of which others have told."""
        self._known(worker, queue)

    def knows(self, worker: str) -> bool:
        """Say whether a worker that was met is not known to have gone."""
        return worker in self._workers

    def has(self, item: str) -> bool:
        """Say whether an item waits here, or with a worker that has neither refused it nor gone."""
        return item in self._assignments or item in self._waiting or item in self._granted

    def closed(self, item: str) -> None:
        """Forget an item that is open no more."""
        self._waiting.remove(item)
        granted = self._granted.pop(item, None)
        if granted is not None:
            self._give_back(granted.worker.subject, granted.grant)
        assignment = self._assignments.pop(item, None)
        if assignment is not None:
            self._unanswered.pop(assignment.token, None)
            assignment.worker.assignments.pop(item, None)
            assignment.worker.room += 1

    def dismiss(self, owner: ItemOwner) -> None:
        """Forget all items of an owner."""
        known = [*self._assignments.values(), *self._granted.values(), *self._waiting.items]
        for each in known:
            if each.owner is owner:
                self.closed(each.work.id)

    def _note(self, assignment: Assignment) -> Assignment:
        name = assignment.work.id
        if self.has(name):
            self.closed(name)
        self._assignments[name] = assignment
        assignment.worker.assignments[name] = assignment
        return assignment

    def _next_with_room(self, work: AnyWorkItem) -> KnownWorker | None:
        """Return the worker whose turn it is, of those with room; a silent one only if need be."""
        workers = self._queues.get(work.queue)
        if not workers:
            return None
        now, line = loop_time(), work.line
        avoid = self._avoided(work) if work.avoid else ()
        for silence in (self._late, self._timing.member_gone_seconds):
            for _ in range(len(workers)):
                worker = workers[0]
                workers.rotate(-1)
                has_room = worker.room > 0 and line not in worker.full_for
                if has_room and now - worker.heard <= silence and worker.name not in avoid:
                    return worker
        return None

    def _avoided(self, work: AnyWorkItem) -> Sequence[str]:
        """Return the workers that are not to have an item; none where there is no other."""
        return work.avoid if any(o.name not in work.avoid for o in self._queues[work.queue]) else ()

    # What waits

    async def _keep_asking(self) -> None:
        """Tell workers what waits for them: when it begins, and with each beat."""
        while True:
            now, pause = self._clock(), self._timing.heartbeat_seconds
            if (due := self._waiting.ripen(now)) is not None:
                pause = min(pause, (due - now).total_seconds())
            await self._wants.wait(pause)
            self._waiting.ripen(self._clock())
            naming = self._naming()
            wanted = {*self._waiting.queues, *naming}
            for queue in wanted | self._asked_for:
                self._ask(queue, naming.get(queue, {}))
            self._asked_for = wanted
            if wanted:
                await anyio.sleep(DEMAND_SECONDS)

    def _ask(self, queue: str, naming: dict[str, list[int]]) -> None:
        now = self._clock()
        wanted = [
            WantedPlaces(line=each.line, count=each.items, age=(now - each.since).total_seconds())
            for each in self._waiting.waiting(queue, MOST_WANTED)
        ]
        demand = Demand(registry=self._name, queue=queue, wanted=wanted, naming=naming)
        self._transport.tell(demand_subject(queue), encode(demand))

    def _naming(self) -> dict[str, dict[str, list[int]]]:
        """Return the grants that are about to be used, by queue and worker."""
        found: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for assignment in self._granted.values():
            if not assignment.owner.can_name:
                continue
            of_queue = found[assignment.work.queue]
            of_queue.setdefault(assignment.worker.name, []).append(assignment.grant)
        return found

    def _hear_grant(self, delivery: Delivery) -> None:
        grant = decode(Grant, delivery.data)
        worker = self._known(grant.worker, grant.queue)
        if grant.number <= worker.granted:
            # A copy, or one that was overtaken: it lapses.
            return
        worker.granted = grant.number
        found = self._waiting.take(grant.queue, grant.line)
        if found is not None and worker.name in self._avoided(found.work):
            found = self.wait(found.address, found.work, found.owner)
        if found is None:
            self._give_back(worker.subject, grant.number)
            return
        assignment = Assignment(found.address, found.work, found.owner, worker, grant.number)
        self._granted[found.work.id] = assignment
        found.owner.granted(assignment)

    def _give_back(self, worker: str, grant: int) -> None:
        self._transport.tell(worker, encode(Unused(grant=grant)))

    # Offers

    async def _send(self, assignment: Assignment) -> bool:
        work = assignment.work
        self._unanswered.pop(assignment.token, None)
        assignment.token, assignment.at = str(next(self._tokens)), loop_time()
        assignment.tries += 1
        self._unanswered[assignment.token] = assignment
        item = msgspec.Raw(encode(work))
        offer = Offer(
            name=work.id,
            line=work.line,
            at=self._clock(),
            item=item,
            shard=assignment.owner.shard,
            epoch=assignment.owner.epoch,
            grant=assignment.grant,
        )
        reply = f"{self._answers}.{assignment.token}"
        try:
            await self._transport.publish(assignment.worker.subject, encode(offer), reply=reply)
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
        worker.room = alive.room
        if alive.room:
            worker.full_for.clear()

    def _answered(self, delivery: Delivery) -> None:
        assignment = self._unanswered.get(delivery.subject.rpartition(".")[2])
        if assignment is None:
            return
        if delivery.is_unheard:
            self._unheard(assignment)
            return
        assignment.worker.heard = loop_time()
        if decode(OfferAnswer, delivery.data).taken:
            assignment.taken = True
            del self._unanswered[assignment.token]
        else:
            if not assignment.grant:
                assignment.worker.full_for.add(assignment.work.line)
            self._refused(assignment)

    def _known(self, name: str, queue: str) -> KnownWorker:
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = KnownWorker(name, queue, loop_time())
            self._queues.setdefault(queue, deque()).append(worker)
        return worker

    def _refused(self, assignment: Assignment) -> None:
        self.closed(assignment.work.id)
        assignment.owner.refused(assignment)

    def _unheard(self, assignment: Assignment) -> None:
        """Note that nobody was there to be offered an item; an earlier offer may have been heard.

        That is then settled by the worker's end.
        """
        worker = assignment.worker
        worker.heard = min(worker.heard, loop_time() - self._late)
        if assignment.tries == 1:
            self._refused(assignment)

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
                for assignment in list(self._overdue(now)):
                    tasks.start_soon(self._offer_again, assignment)
            looked = now

    def _look_after(self, worker: KnownWorker, now: float, tasks: TaskGroup) -> None:
        silence = now - worker.heard
        if silence > self._timing.ack_wait_seconds:
            self._gone(worker, "it is silent")
        elif silence > self._late and not worker.is_asked_after:
            worker.is_asked_after = True
            tasks.start_soon(self._ask_after, worker)

    async def _ask_after(self, worker: KnownWorker) -> None:
        """Find out whether a worker lives: one whose connection was cut comes back at once."""
        if await self._is_unheard(worker):
            await anyio.sleep(self._timing.heartbeat_seconds / 2)
            if await self._is_unheard(worker) and loop_time() >= self._believes_from:
                self._gone(worker, "nobody listens")
        worker.is_asked_after = False

    async def _is_unheard(self, worker: KnownWorker) -> bool:
        patience = self._timing.heartbeat_seconds
        try:
            await self._transport.request(worker.subject, b"", timeout=patience)
        except NobodyListensError:
            return True
        except (UnavailableError, DeadlineError):
            return False
        worker.heard = loop_time()
        return False

    def _overdue(self, now: float) -> Iterator[Assignment]:
        """Yield what was offered so long ago that the offer or its answer may be lost."""
        for assignment in self._unanswered.values():
            if now - assignment.at < self._timing.offer_seconds:
                return
            yield assignment

    async def _offer_again(self, assignment: Assignment) -> None:
        """Offer an item to the same worker as before: it knows which offers it has heard."""
        if await assignment.owner.still_wants(assignment) and assignment.token in self._unanswered:
            await self._send(assignment)

    def _gone(self, worker: KnownWorker, reason: str) -> None:
        if self._workers.get(worker.name) is worker:
            log.info(
                "worker.gone", worker=worker.name, reason=reason, items=len(worker.assignments)
            )
            self._forget(worker)
            for assignment in list(worker.assignments.values()):
                self.closed(assignment.work.id)
                assignment.owner.lost(assignment)

    def _farewell(self, name: str) -> None:
        """Note that a worker has left in good order: the results of what it had are stored."""
        worker = self._workers.get(name)
        if worker is not None:
            self._forget(worker)
            for assignment in list(worker.assignments.values()):
                self.closed(assignment.work.id)
                if not assignment.taken:
                    assignment.owner.refused(assignment)

    def _forget(self, worker: KnownWorker) -> None:
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
