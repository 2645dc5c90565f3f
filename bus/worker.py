"""Workers: long or costly work, offered by owners or pulled from a queue, and reported.

An item of the queue is acknowledged last. That of a dead worker is handed out again; whoever then
gets it asks the owner first. So it goes with an item that has waited so long that a repeat of it
may be about. The owner's journal decides which attempt counts, so an item that runs twice still
ends once.
"""

import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
import msgspec
import structlog

from bus.codec import Decoder, decode, encode
from bus.config import Timing
from bus.crew import Crew
from bus.errors import ProblemError, UnavailableError, problem
from bus.fairness import Turns, reserved_of
from bus.ids import new_id
from bus.letters import dead_subject, encoded
from bus.offers import Desk
from bus.ports import ELSEWHERE, Bus, Delivery, Ticket
from bus.room import is_full
from bus.rpc import command
from bus.telemetry import metrics
from bus.waiting import loop_time
from schemas.fleet import ROLL_CALL_SUBJECT, STOP_WORK_SUBJECT, DeadLetter, Held, RollCall, StopWork
from schemas.journal import Mail
from schemas.problems import Problem
from schemas.work import (
    Claim,
    Done,
    Failed,
    Granted,
    Lost,
    Stopped,
    WorkAnswer,
    WorkCommand,
    WorkItem,
)

log = structlog.get_logger()

B = TypeVar("B")

Envelope = WorkItem[msgspec.Raw]
"""An item whose body is not read yet."""

Report = Done | Failed | Stopped
"""What a worker says at the end of an item."""

_envelope = Decoder[Envelope](Envelope)

_ANSWER = cast("type[WorkAnswer]", WorkAnswer)

_UNREADABLE = Problem(
    code="unavailable",
    message="No worker could read the work: the fleet is of different versions.",
    retryable=True,
)

_LATE = Problem(code="unavailable", message="the grant came too late", retryable=True)

ANSWER_SECONDS = 60.0
"""How long a worker tries to report a result before it leaves the item to another worker."""

MOST_HELD_BYTES = 128 * 1024**2
"""Items that a worker holds, together; above it takes no more. One is always taken."""


def _stopped(item: WorkItem[Any]) -> Report:
    return Stopped(work=item.work, attempt=item.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[B]):
    """A kind of work: ``handle`` does it, and returns what is reported of it.

    ``stopped`` returns that where the work was called off, which cancels ``handle``.
    What ``is_long`` takes hours, so that no tenant may wait for the places of another.
    """

    queue: str
    body_type: type[B]
    handle: Callable[[WorkItem[B]], Awaitable[Report]]
    stopped: Callable[[WorkItem[B]], Report] = _stopped
    is_long: bool = False


class Principal(Protocol):
    """Whom a worker asks before it begins, and to whom it reports: the owners, as a rule."""

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        """Return the encoded ``WorkAnswer``.

        Raises:
            ProblemError: a refusal, or ``unavailable`` after ``timeout`` seconds.
        """
        ...


Principals = Callable[[Envelope], Principal]
"""Returns who waits for an item."""


def owners_of(owners: Mapping[str, Principal]) -> Principals:
    """Return who waits for an item, by the entity that it is to be reported to."""

    def find(item: Envelope) -> Principal:
        entity = item.reply_to.entity
        if entity not in owners:
            raise problem("validation", f"no {entity} is reported to from here")
        return owners[entity]

    return find


class Worker(Generic[B]):
    """Works off one queue: ``capacity`` items at once, ``per_tenant`` of them for one tenant.

    A place that frees goes to the tenant with the fewest running. A tenth of ``capacity`` stands
    ready beyond it for tenants with nothing running here. Of a job that is long, a tenant leaves as
    many places free, and as many of the bytes that may be held, as it has.
    """

    def __init__(
        self,
        job: Job[B],
        principals: Principals,
        process: str,
        bus: Bus,
        timing: Timing,
        *,
        capacity: int,
        per_tenant: int | None = None,
    ) -> None:
        self._job = job
        self._principals = principals
        self._body = Decoder[B](job.body_type)
        self._process = process
        self._bus = bus
        self._timing = timing
        self._places = capacity + reserved_of(capacity)
        self._turns = Turns[Ticket](
            capacity, per_tenant=per_tenant, reserved=reserved_of(capacity), shared=job.is_long
        )
        self._held: dict[int, Ticket] = {}
        self._held_bytes = 0
        self._held_bytes_of = Counter[str]()
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._freed = anyio.Event()
        self._draining = False
        self._awake_at, self._woke_at = math.inf, -math.inf
        self._desk = Desk(job.queue, bus, timing, take=self._take_offered, room=self._has_room)
        self._in_flight = metrics.WORK_IN_FLIGHT.at(job.queue)
        self.ready = False

    # Life

    async def run(self) -> None:
        """Take items and work until cancelled or drained."""
        transport = self._bus.transport
        async with (
            transport.subscription(ROLL_CALL_SUBJECT, self._roll_call),
            transport.subscription(STOP_WORK_SUBJECT, self._stop_work),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._keep_alive)
            self._crew = Crew(tasks, self._work, most=self._places)
            async with (
                self._bus.queue.pull(self._job.queue, credit=self._credit) as tickets,
                self._desk.opened(),
            ):
                self.ready = True
                await self._pull(tickets)

    def missing(self) -> str | None:
        """Say what is lacking until items are pulled."""
        return None if self.ready else f"queue {self._job.queue} is not being pulled"

    async def drain(self) -> None:
        """Take no more items and let those that run end; hand back what was not begun."""
        self._draining = True
        waiting = self._turns.waiting
        while len(waiting):
            tenant = next(iter(waiting))
            await self._hand_back(tenant, waiting.take(tenant))
        while self.running:
            self._freed = anyio.Event()
            await self._freed.wait()
        await self._desk.leave()

    @property
    def running(self) -> int:
        """How many items are being worked on."""
        return self._turns.running

    # Pulling, fairly over tenants

    def _credit(self, tenant: str) -> int:
        if self._draining or not self._holds_more(tenant):
            return 0
        tenants = len(self._turns.tenants | {tenant})
        room = -(-self._turns.room(tenant) // tenants)
        return max(0, self._timing.prefetch + room - self._turns.waiting.count(tenant))

    async def _pull(self, tickets: AsyncIterator[tuple[str, Ticket]]) -> None:
        async for tenant, ticket in tickets:
            if self._draining:
                await self._hand_back(tenant, ticket)
                continue
            self._hold(tenant, ticket)
            self._turns.waiting.add(tenant, ticket)
            self._start_what_fits()

    def _start_what_fits(self) -> None:
        """Begin waiting items while there is room, those of the tenants with fewest running."""
        while (following := self._turns.start()) is not None:
            self._begin(following)

    def _begin(self, held: tuple[str, Ticket]) -> None:
        self._in_flight.set(self.running)
        self._crew.give(held)

    def _has_room(self) -> bool:
        """Say whether one more item could begin at once. What waits has no room for its tenant."""
        is_full = self.running >= self._places or self._held_bytes >= MOST_HELD_BYTES
        return not self._draining and not is_full

    def _take_offered(self, tenant: str, ticket: Ticket) -> bool:
        """Begin an item that was offered, if that can be now; say whether."""
        can_hold = self._has_room() and self._holds_more(tenant)
        if not can_hold or not self._turns.begin(tenant):
            return False
        self._hold(tenant, ticket)
        self._begin((tenant, ticket))
        return True

    def _holds_more(self, tenant: str) -> bool:
        free = MOST_HELD_BYTES - self._held_bytes
        return free > (self._held_bytes_of[tenant] if self._job.is_long else 0)

    def _hold(self, tenant: str, ticket: Ticket) -> None:
        self._held[id(ticket)] = ticket
        self._held_bytes += len(ticket.data)
        self._held_bytes_of[tenant] += len(ticket.data)

    def _let_go(self, tenant: str, ticket: Ticket) -> None:
        if self._held.pop(id(ticket), None) is None:
            return
        self._held_bytes -= len(ticket.data)
        self._held_bytes_of[tenant] -= len(ticket.data)
        if not self._held_bytes_of[tenant]:
            del self._held_bytes_of[tenant]

    async def _work(self, held: tuple[str, Ticket]) -> None:
        tenant, ticket = held
        try:
            await self._handle(tenant, ticket)
        finally:
            self._let_go(tenant, ticket)
            self._turns.end(tenant)
            self._in_flight.set(self.running)
            self._freed.set()
            if not self._draining:
                self._start_what_fits()

    # One item

    async def _handle(self, tenant: str, ticket: Ticket) -> None:
        try:
            item = _envelope(ticket.data)
        except ProblemError as refused:
            await self._lay_aside(tenant, ticket, str(refused))
            return
        try:
            if not await self._needs_claim(ticket, item) or await self._is_granted(item, ticket):
                result = await self._perform(item)
                self._desk.reports(ticket)
                await self._report(item, result)
            await ticket.ack()
        except ProblemError as failed:
            log.warning("worker.report_failed", item=item.id, code=failed.problem.code)
            if failed.problem.retryable:
                await self._give_back(item, ticket)
            else:
                reason = f"its owner refuses it: {failed.problem.code}"
                await self._lay_aside(tenant, ticket, reason)

    async def _give_back(self, item: Envelope, ticket: Ticket) -> None:
        """Let another worker have an item that may have been begun: it must ask first.

        The queue may have lost it since it was handed out, and its owner knows it to be here.
        """
        send, queue = self._bus.queue.send, self._job.queue
        try:
            was_lost = await send(queue, item.tenant, ticket.data, item=item.id, life=ELSEWHERE)
        except UnavailableError:
            was_lost = False
        if was_lost:
            await ticket.ack()
        else:
            await ticket.nak(self._timing.in_progress_seconds)

    async def _needs_claim(self, ticket: Ticket, item: Envelope | None = None) -> bool:
        self._look_at_the_clock()
        if item is not None and item.once:
            return True
        known = loop_time() - self._woke_at
        old = ticket.age > min(known, self._timing.repeat_window_seconds)
        return old or await self._may_be_lost(ticket)

    def _look_at_the_clock(self) -> None:
        """Notice that this process stood still: what it holds since then may be in other hands."""
        now = loop_time()
        if now - self._awake_at > self._timing.ack_wait_seconds / 2:
            self._woke_at = now
        self._awake_at = now

    async def _may_be_lost(self, ticket: Ticket) -> bool:
        """Say whether another worker may have begun the item."""
        if ticket.deliveries > 1 or ticket.life is None:
            return ticket.deliveries > 1
        try:
            return ticket.life != await self._bus.queue.generation()
        except UnavailableError:
            return True

    async def _is_granted(self, item: Envelope, ticket: Ticket) -> bool:
        """Ask whether to begin. A grant is good for a moment: later the item may have moved on."""
        asked_at = loop_time()
        lost = await self._may_be_lost(ticket)
        if lost:
            metrics.WORK_REDELIVERED.at(self._job.queue).inc()
        asked = (
            Lost(work=item.work, attempt=item.attempt, begun=True)
            if lost
            else Claim(work=item.work, attempt=item.attempt)
        )
        # A question of its own each time: the answer to an earlier one need not hold any more.
        answer = await self._ask(f"{item.id}.claim.{new_id()}", item, asked)
        granted = isinstance(answer, Granted)
        if granted and loop_time() - asked_at > self._timing.ack_wait_seconds / 2:
            await self._release(item)
            raise ProblemError(_LATE)
        return granted

    async def _release(self, item: Envelope) -> None:
        """Let another worker begin what was claimed here, and was not begun."""
        if item.once:
            released = Stopped(work=item.work, attempt=item.attempt, sent=False)
            await self._ask(f"{item.id}.release", item, released)

    async def _perform(self, item: Envelope) -> Report:
        try:
            body = self._body(item.body)
        except ProblemError as refused:
            log.error("worker.unreadable", item=item.id, reason=refused.problem.message)  # noqa: TRY400
            return _failed(item, _UNREADABLE, sent=False)
        readable: WorkItem[Any] = msgspec.structs.replace(item, body=body)
        return await self._done(readable)

    async def _done(self, item: WorkItem[B]) -> Report:
        scope = self._scopes[item.id] = anyio.CancelScope()
        try:
            with scope:
                return await self._job.handle(item)
        except Exception as error:  # noqa: BLE001  one item must not take the others down with it
            # Without its traceback: what the work raised may quote what it worked on.
            kind = type(error).__name__
            log.error("worker.crashed", item=item.id, error=kind)  # noqa: TRY400
            return _failed(item, _crashed(item, kind))
        finally:
            self._scopes.pop(item.id, None)
        return self._job.stopped(item)

    async def _report(self, item: Envelope, result: Report) -> None:
        """Tell the owner, again while it has no room for a turn: no work is done twice for that.

        Of what may happen once alone nobody else can tell, so that is told until it is heard.
        """
        until = loop_time() + ANSWER_SECONDS
        while True:
            try:
                await self._ask(f"{item.id}.result", item, result)
            except ProblemError as refused:
                is_waited_for = is_full(refused.problem) and loop_time() <= until
                if not is_waited_for and not (item.once and refused.problem.retryable):
                    raise
                await anyio.sleep(self._timing.room_tight_seconds)
            else:
                return

    async def _ask(self, name: str, item: Envelope, body: WorkCommand) -> WorkAnswer:
        mail = command(name, item.reply_to.tenant, item.reply_to.key, body)
        principal = self._principals(item)
        return decode(_ANSWER, await principal.ask(mail, timeout=ANSWER_SECONDS))

    async def _hand_back(self, tenant: str, ticket: Ticket) -> None:
        """Give an item that was not begun to another worker.

        It goes as a new message: one that is handed out again counts as lost with its worker, and
        that would spend an attempt.
        """
        self._let_go(tenant, ticket)
        if await self._needs_claim(ticket):
            await ticket.nak(0)
            return
        try:
            item = f"handed-back.{new_id()}"
            await self._bus.queue.send(self._job.queue, tenant, ticket.data, item=item)
        except UnavailableError:
            await ticket.nak(0)
        else:
            await ticket.ack()

    async def _lay_aside(self, tenant: str, ticket: Ticket, reason: str) -> None:
        letter = DeadLetter(
            id=f"{self._job.queue}.{self._process}.{id(ticket)}",
            subject=f"_cb.work.{self._job.queue}",
            reason=reason,
            at=self._bus.clock(),
            deliveries=ticket.deliveries,
            body=ticket.data.decode(errors="replace"),
        )
        outbox, subject = self._bus.outbox, dead_subject(tenant, "work", self._job.queue)
        await outbox.post(subject, encoded(letter, outbox.max_payload))
        await outbox.flush(timeout=self._timing.request_try_seconds)
        await ticket.drop(reason)
        metrics.DEAD_LETTERS.at(self._job.queue).inc()

    # What the bus asks

    async def _keep_alive(self) -> None:
        """Give a sign of life for each item, unless it came after the last round of signs."""
        known: set[int] = set()
        while True:
            self._look_at_the_clock()
            await anyio.sleep(self._timing.in_progress_seconds)
            held = list(self._held.items())
            for name, ticket in held:
                if name in known:
                    await ticket.in_progress()
            known = {name for name, _ in held}

    async def _roll_call(self, delivery: Delivery) -> None:
        call = decode(RollCall, delivery.data)
        held = Held(
            process=self._process,
            items=list(self._names()),
            worker=self._desk.name,
            epoch=self._desk.heed(call),
        )
        await self._bus.transport.publish(call.answer_to, encode(held))

    def _names(self) -> Iterator[str]:
        for ticket in self._held.values():
            # What is no item is about to be laid aside.
            with suppress(ProblemError):
                yield _envelope(ticket.data).id

    async def _stop_work(self, delivery: Delivery) -> None:
        scope = self._scopes.get(decode(StopWork, delivery.data).item)
        if scope is not None:
            scope.cancel()


def _failed(item: WorkItem[Any], reason: Problem, *, sent: bool = True) -> Failed:
    return Failed(work=item.work, attempt=item.attempt, problem=reason, sent=sent)


def _crashed(item: WorkItem[Any], kind: str) -> Problem:
    code = "outcome_unknown" if item.once else "internal"
    return Problem(code=code, message=f"the worker failed with {kind}")
