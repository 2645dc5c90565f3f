"""Workers: long or costly work, offered by owners, done and reported.

An item is nowhere but in its owner's journal and here, from when it is taken until its result is
committed. The owner's journal decides which attempt counts, so an item that runs twice still ends
once. A result that cannot be delivered is kept and told again; it takes no place.
"""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
import msgspec
import structlog

from bus.codec import MessageDecoder, decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, ProblemError, problem
from bus.fairness import Places, Turns, reserved_of
from bus.ports import Bus, Delivery
from bus.requests.dead_letters import post_letter
from bus.requests.rpc import command
from bus.subjects import fill
from bus.tasks import TaskPool, loop_time
from bus.telemetry import metrics
from bus.work.grants import LAPSE_BEATS, OfferEndpoint, TakenItem
from schemas.base import SUBMIT
from schemas.decision import Publish
from schemas.fleet import (
    STOP_WORK_SUBJECT,
    UNHEARD_RESULT,
    StopWork,
    UnheardResult,
)
from schemas.journal import CommandEnvelope
from schemas.letters import WORK, DeadLetter, dead_lettered, undelivered
from schemas.problems import Problem
from schemas.work import (
    Claim,
    Done,
    Granted,
    ReplyTo,
    Stopped,
    WorkAnswer,
    WorkCommand,
    WorkFailure,
    WorkItem,
    item_of,
    tenant_of,
)

log = structlog.get_logger()

B = TypeVar("B")

RawItem = WorkItem[msgspec.Raw]
"""An item whose body is not read yet."""

Report = Done | WorkFailure | Stopped
"""What a worker says at the end of an item."""

_raw_item = MessageDecoder[RawItem](RawItem)

_ANSWER = cast("type[WorkAnswer]", WorkAnswer)

_UNREADABLE = Problem(
    code="unavailable",
    message="No worker could read the work: the fleet is of different versions.",
    retryable=True,
)

PLACES = 50
"""Items of a queue that a process works on at once unless it is declared otherwise."""

ANSWER_SECONDS = 60.0
"""How long a worker waits for an answer before it asks again, or lets an item go unbegun."""

MOST_HELD_BYTES = 128 * 1024**2
"""Items that are worked on, together; above it takes no more. One is always taken."""

MOST_UNREPORTED_BYTES = 64 * 1024**2
"""Results that are not committed yet, together; above it a worker takes nothing."""

REPORTING_SHARE = 0.5
"""Of the time that a process has to leave; what is not heard by then is stored."""

LEAST_PATIENCE = 1.0
"""Seconds in which results are still told to their owners, however late it is."""

MAX_NAME = 200
"""Characters of a name that are told."""

LEAST_UNREPORTED_BYTES = 4096
"""So much at least takes a result that waits, with its item and the task that reports it."""


def _stopped(item: WorkItem[Any]) -> Report:
    return Stopped(work=item.work, attempt=item.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[B]):
    """A kind of work: ``handle`` does it, and returns what is reported of it.

    ``stopped`` returns that where the work was called off, which cancels ``handle``.
    What ``is_long`` takes hours, so that no tenant may wait for the places of another.

    An actor declares it with functions whose first argument is what does its work, and says in
    ``places`` how many items one process works on, by its settings.
    """

    queue: str
    body_type: type[B]
    handle: Callable[..., Awaitable[Report]]
    stopped: Callable[..., Report] = _stopped
    is_long: bool = False
    places: Callable[[Any], int] = lambda _: PLACES

    def of(self, doer: Any) -> "Job[B]":
        """Return a declared job as it is done by ``doer``."""
        stopped = self.stopped if self.stopped is _stopped else partial(self.stopped, doer)
        return replace(self, handle=partial(self.handle, doer), stopped=stopped)


class WorkOwner(Protocol):
    """Whom a worker asks before it begins, and to whom it reports: the owners, as a rule."""

    async def ask(self, envelope: CommandEnvelope, *, timeout: float) -> bytes:
        """Return the encoded ``WorkAnswer``.

        Raises:
            ProblemError: a refusal, or ``unavailable`` after ``timeout`` seconds.
        """
        ...


WorkOwners = Callable[[RawItem], WorkOwner]
"""Returns who waits for an item."""


def owners_of(owners: Mapping[str, WorkOwner]) -> WorkOwners:
    """Return who waits for an item, by the entity that it is to be reported to."""

    def find(item: RawItem) -> WorkOwner:
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
        owners: WorkOwners,
        process: str,
        bus: Bus,
        timing: Timing,
        *,
        capacity: int,
        per_tenant: int | None = None,
    ) -> None:
        self._job = job
        self._owners = owners
        self._body = MessageDecoder[B](job.body_type)
        self._process = process
        self._bus = bus
        self._timing = timing
        reserved = reserved_of(capacity)
        turns = Turns[None](capacity, per_tenant=per_tenant, reserved=reserved, shared=job.is_long)
        self._places = Places(
            turns,
            capacity=capacity + reserved,
            lapse_seconds=LAPSE_BEATS * timing.heartbeat_seconds,
        )
        self._held_bytes = 0
        self._held_bytes_of = Counter[str]()
        self._unreported = self._unreported_bytes = 0
        self._reports: dict[str, UnheardResult] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._freed = anyio.Event()
        self._draining = False
        self._endpoint = OfferEndpoint(
            job.queue, self._places, bus, timing, may=self._may_take, begin=self._begin
        )
        self._in_flight = metrics.WORK_IN_FLIGHT.at(job.queue)
        self.ready = False

    # Life

    async def run(self) -> None:
        """Take items and work until cancelled or drained."""
        transport = self._bus.transport
        async with (
            transport.subscription(STOP_WORK_SUBJECT, self._stop_work),
            anyio.create_task_group() as tasks,
        ):
            # Unbounded here: places and unreported bytes are the bounds of what is taken.
            self._pool = TaskPool(tasks, self._work, most=sys.maxsize)
            async with self._endpoint.opened():
                self.ready = True
                await anyio.sleep_forever()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until items are taken."""
        return None if self.ready else f"items of queue {self._job.queue} are not being taken"

    async def drain(self) -> None:
        """Take no more items, let those that run end, and see that all results are heard.

        Those that are not heard for long are stored in inboxes; if that cannot be, this worker does
        not say that it leaves, and counts as lost.
        """
        self._draining = True
        self._places.cancel_all()
        patience = loop_time() + self._timing.drain_seconds * REPORTING_SHARE
        while self.running:
            await self._one_freed()
        with anyio.move_on_after(max(patience - loop_time(), LEAST_PATIENCE)):
            while self._unreported:
                await self._one_freed()
        if await self._stores_reports():
            await self._endpoint.leave()

    async def _one_freed(self) -> None:
        self._freed = anyio.Event()
        await self._freed.wait()

    async def _stores_reports(self) -> bool:
        """Submit what was not heard as commands to its entities; say whether they are stored."""
        outbox = self._bus.outbox
        for name, result in list(self._reports.items()):
            subject = fill(SUBMIT + UNHEARD_RESULT, tenant=result.envelope.tenant)
            await outbox.post(subject, encode(result), message_id=name)
        try:
            await outbox.flush(timeout=self._timing.request_try_seconds)
        except DeadlineError:
            return not self._reports
        return True

    @property
    def running(self) -> int:
        """How many items are being worked on."""
        return self._places.taken

    # What is taken

    def _may_take(self, line: str) -> bool:
        """Say whether an item of a line may be taken, if there is a place for it."""
        if self._draining or self._unreported_bytes >= MOST_UNREPORTED_BYTES:
            return False
        free = MOST_HELD_BYTES - self._held_bytes
        return free > (self._held_bytes_of[line] if self._job.is_long else 0)

    def _begin(self, taken: TakenItem) -> None:
        self._held_bytes += len(taken.data)
        self._held_bytes_of[taken.line] += len(taken.data)
        self._in_flight.set(self.running)
        self._pool.give(taken)

    def _free(self, taken: TakenItem) -> None:
        """Let the place of an item go to another: only its result is still to be heard."""
        self._held_bytes -= len(taken.data)
        self._held_bytes_of[taken.line] -= len(taken.data)
        if not self._held_bytes_of[taken.line]:
            del self._held_bytes_of[taken.line]
        self._places.leave(taken.line)
        self._in_flight.set(self.running)

    # One item

    async def _work(self, taken: TakenItem) -> None:
        self._unreported += 1
        try:
            await self._work_and_report(taken)
        finally:
            self._unreported -= 1
            self._freed.set()

    async def _work_and_report(self, taken: TakenItem) -> None:
        try:
            item = _read(taken)
            owner = self._owners(item)
            result = await self._done_if_granted(item, owner)
        except ProblemError as refused:
            await self._dead_letter(taken, self._unworkable(taken, str(refused)))
            return
        finally:
            self._free(taken)
        # Not where this process is ending: nobody would take what is offered.
        self._endpoint.grant()
        self._endpoint.reports(taken)
        if result is not None:
            if isinstance(result, WorkFailure) and result.elsewhere:
                result = msgspec.structs.replace(result, worker=self._endpoint.name)
            envelope = _enveloped(f"{item.id}.result", item, result)
            try:
                await self._report(item.reply_to.entity, owner, envelope)
            except ProblemError as refused:
                reason = f"its owner refuses it: {refused.problem.code}"
                letter = undelivered(envelope, item.reply_to.entity, reason, self._bus.clock())
                await self._dead_letter(taken, letter)
                return
        self._endpoint.ended(taken)

    async def _done_if_granted(self, item: RawItem, owner: WorkOwner) -> Report | None:
        """Work on an item; what may happen once alone is claimed before.

        A claim is good for a moment: later the item may have moved on. It is told then, and also
        where no answer came, that nothing was begun: the claim may be committed.
        """
        if not item.once:
            return await self._perform(item)
        asked_at = loop_time()
        claim = _enveloped(f"{item.id}.claim", item, Claim(work=item.work, attempt=item.attempt))
        try:
            answer = decode(_ANSWER, await owner.ask(claim, timeout=ANSWER_SECONDS))
        except ProblemError as refused:
            if not refused.problem.retryable:
                raise
        else:
            if not isinstance(answer, Granted):
                return None
            if loop_time() - asked_at <= self._timing.ack_wait_seconds / 2:
                return await self._perform(item)
        return Stopped(work=item.work, attempt=item.attempt, sent=False)

    async def _perform(self, item: RawItem) -> Report:
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

    async def _report(self, entity: str, owner: WorkOwner, envelope: CommandEnvelope) -> None:
        """Tell the owner, again until it is heard: no work is done twice for that.

        Raises:
            ProblemError: the owner refuses it for good.
        """
        size = max(len(envelope.body), LEAST_UNREPORTED_BYTES)
        self._unreported_bytes += size
        self._reports[envelope.id] = UnheardResult(entity=entity, envelope=envelope)
        try:
            await self._tell(owner, envelope)
        finally:
            self._unreported_bytes -= size
            del self._reports[envelope.id]

    async def _tell(self, owner: WorkOwner, envelope: CommandEnvelope) -> None:
        while True:
            try:
                await owner.ask(envelope, timeout=ANSWER_SECONDS)
            except ProblemError as refused:
                if not refused.problem.retryable:
                    raise
                log.warning("worker.not_heard", envelope=envelope.id, code=refused.problem.code)
                await anyio.sleep(self._timing.room_tight_seconds)
            else:
                return

    def _unworkable(self, taken: TakenItem, reason: str) -> Publish:
        """Return the letter of what is no item, or of none that may be begun here."""
        letter = DeadLetter(
            id=taken.name,
            subject=WORK + self._job.queue,
            reason=reason,
            at=self._bus.clock(),
            deliveries=1,
            body=taken.data.decode(errors="replace"),
        )
        return dead_lettered(letter, tenant_of(taken.line), "work", self._job.queue)

    async def _dead_letter(self, taken: TakenItem, letter: Publish) -> None:
        log.warning("worker.dead_lettered", item=taken.name, queue=self._job.queue)
        await post_letter(self._bus.outbox, letter)
        with suppress(DeadlineError):
            await self._bus.outbox.flush(timeout=self._timing.request_try_seconds)
        self._endpoint.dropped(taken)

    # What the bus asks

    async def _stop_work(self, delivery: Delivery) -> None:
        scope = self._scopes.get(decode(StopWork, delivery.data).item)
        if scope is not None:
            scope.cancel()


def _read(taken: TakenItem) -> RawItem:
    """Return an item; one that cannot be read without its body, so that who waits is told.

    Raises:
        ProblemError: its name does not tell who waits.
    """
    try:
        return _raw_item(taken.data)
    except ProblemError:
        reply_to, work, attempt = _named(taken.name)
        return WorkItem(
            id=taken.name,
            work=work,
            attempt=attempt,
            queue="",
            tenant=reply_to.tenant,
            reply_to=reply_to,
            since=datetime.min.replace(tzinfo=UTC),
            body=msgspec.Raw(b""),
        )


def _named(name: str) -> tuple[ReplyTo, str, int]:
    try:
        return item_of(name)
    except ValueError:
        raise problem("validation", f"{name[:MAX_NAME]!r} names no item of work") from None


def _enveloped(name: str, item: RawItem, body: WorkCommand) -> CommandEnvelope:
    return command(name, item.reply_to.tenant, item.reply_to.key, body)


def redriven_item(name: str) -> tuple[str, CommandEnvelope]:
    """Return the entity of an item that a worker laid aside unbegun, and what tells it so.

    The owner alone hands out work: it begins the next attempt at the same piece of it, if this one
    is open still.

    Raises:
        ProblemError: no item has such a name.
    """
    reply_to, work, attempt = _named(name)
    stopped = Stopped(work=work, attempt=attempt, sent=False)
    return reply_to.entity, command(f"{name}.result", reply_to.tenant, reply_to.key, stopped)


def _failed(item: WorkItem[Any], reason: Problem, *, sent: bool = True) -> WorkFailure:
    return WorkFailure(work=item.work, attempt=item.attempt, problem=reason, sent=sent)


def _crashed(item: WorkItem[Any], kind: str) -> Problem:
    code = "outcome_unknown" if item.once else "internal"
    return Problem(code=code, message=f"the worker failed with {kind}")
