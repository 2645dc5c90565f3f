"""Batches of a process: requests that come together are one batch, and one look serves them all.

A request has a ticket from before its batch is made. A worker that dies leaves it, and the next one
waits for the same batch instead of paying for another; where the ticket does not name the batch,
the outcome is unknown, and that is what is said.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from actors.streaming.adapters.batch_store import Ticket, Tickets
from actors.streaming.core.batches.form import Item, fits
from actors.streaming.core.errors.faults import ProviderFaultError, fault
from actors.streaming.flow.batch_watch import Placed, WantedBatch, Watches, stepped
from bus.errors import ProblemError
from schemas.problems import Problem

log = structlog.get_logger()

_FIRST_SERVER_ERROR = 500

_LEAVING = Problem(
    code="unavailable", message="The process stops; the batch goes on.", retryable=True
)
_REPLACED = "Another attempt waits for this batch now."
_LOST = Problem(
    code="outcome_unknown",
    message="Whether the provider made the batch is not known; it was not submitted again.",
)


class BatchSettings(NamedTuple):
    """Seconds: how long a batch gathers requests, how long it may take to make, to leave."""

    window: float = 0.25
    making: float = 120.0
    leaving: float = 8.0


@dataclass(slots=True)
class _Group:
    """Requests that become one batch."""

    members: list[WantedBatch] = field(default_factory=list[WantedBatch])
    size: int = 0
    begun: bool = False
    made: anyio.Event = field(default_factory=anyio.Event)
    batch: str | None = None
    failed: dict[str, Problem] = field(default_factory=dict[str, Problem])
    called_off: int = 0

    def items(self) -> list[Item]:
        return [one.item for one in self.members if one.key not in self.failed]


@asynccontextmanager
async def opened(
    tickets: Tickets, settings: BatchSettings | None = None
) -> AsyncGenerator["Batches"]:
    """Make and follow batches for as long as this is held open."""
    async with anyio.create_task_group() as tasks:
        yield Batches(tickets, tasks, settings or BatchSettings())
        tasks.cancel_scope.cancel()


class Batches:
    """Submits requests in batches and brings their results."""

    def __init__(self, tickets: Tickets, tasks: TaskGroup, settings: BatchSettings) -> None:
        self._tickets = tickets
        self._tasks = tasks
        self._settings = settings
        self._gathering: dict[tuple[str, str | None], _Group] = {}
        self._unmade: list[_Group] = []
        self._watches = Watches(tasks)
        self.leaving = False

    async def leave(self) -> None:
        """Let batches that are being made come to an end, and everybody who waits go."""
        self.leaving = True
        with anyio.move_on_after(self._settings.leaving):
            for group in list(self._unmade):
                await group.made.wait()
        self._watches.dismiss(_LEAVING)

    async def place(self, wanted: WantedBatch) -> Placed:
        """Have a request in a batch, the one it is in already or a new one.

        Raises:
            ProviderFaultError: it was refused, or ``outcome_unknown``.
        """
        if self.leaving:
            raise ProviderFaultError(_LEAVING)
        with anyio.move_on_after(self._settings.making):
            while (ticket := await self._tickets.find(wanted.key)) is not None:
                if ticket.target != wanted.target:
                    raise fault("unavailable", "The request is in a batch of another provider.")
                if ticket.attempt > wanted.context.attempt:
                    raise fault("unavailable", _REPLACED)
                if ticket.batch is not None:
                    mine = msgspec.structs.replace(ticket, attempt=wanted.context.attempt)
                    await self._tickets.change(wanted.key, mine)
                    return Placed(ticket.batch, ticket.secret, ticket.alone)
                # Whoever is making it may be at it still.
                await anyio.sleep(1)
            return await self._join(wanted)
        raise ProviderFaultError(_LOST)

    async def result(self, wanted: WantedBatch, placed: Placed) -> bytes | Problem:
        """Wait for what a batch has brought for a request.

        Raises:
            ProviderFaultError: nothing can be learnt of it now, or another attempt has it.
        """
        if self.leaving:
            raise ProviderFaultError(_LEAVING)
        found = await self._watches.result(wanted, placed)
        ticket = await self._tickets.find(wanted.key)
        if ticket is not None and ticket.attempt != wanted.context.attempt:
            raise fault("unavailable", _REPLACED)
        return found

    async def forget(self, wanted: WantedBatch) -> None:
        """Let a request whose result was a failure be sent again, here or to another provider.

        Where the ticket cannot be dropped, a later attempt reads the same result once more.
        """
        with suppress(ProviderFaultError, ProblemError):
            ticket = await self._tickets.find(wanted.key)
            if ticket is not None and ticket.attempt == wanted.context.attempt:
                await self._tickets.drop(wanted.key)

    def carries(self, wanted: WantedBatch) -> bool:
        """Say whether a request is in a batch that is being made."""
        return any(one is wanted for group in self._unmade for one in group.members)

    async def cancel(self, wanted: WantedBatch, placed: Placed) -> None:
        """Ask the provider to cancel a batch that nobody else's request is in."""
        if placed.alone:
            await stepped(wanted, placed.secret, wanted.form.cancel(placed.batch))

    # Making

    async def _join(self, wanted: WantedBatch) -> Placed:
        if self.leaving:
            raise ProviderFaultError(_LEAVING)
        group = self._group_for(wanted)
        try:
            await group.made.wait()
        except anyio.get_cancelled_exc_class():
            if group.begun:
                group.called_off += 1
            else:
                group.members.remove(wanted)
            raise
        if wanted.key in group.failed or group.batch is None:
            raise ProviderFaultError(group.failed.get(wanted.key, _LOST))
        return Placed(group.batch, wanted.secret, len(group.members) == 1)

    def _group_for(self, wanted: WantedBatch) -> _Group:
        """Return the group that a request has joined, a new one where none has room for it."""
        name = (wanted.target, wanted.secret)
        group, size = self._gathering.get(name), len(msgspec.json.encode(wanted.item))
        if group is None or not fits(group.items(), group.size, size):
            group = self._gathering[name] = _Group()
            self._unmade.append(group)
            self._tasks.start_soon(self._make, name, group)
        elif any(one.key == wanted.key for one in group.members):
            # No ticket says so yet: both would be one line of the same batch.
            raise fault("unavailable", "Another attempt submits this request now.")
        group.members.append(wanted)
        group.size += size
        return group

    async def _make(self, name: tuple[str, str | None], group: _Group) -> None:
        try:
            await anyio.sleep(self._settings.window)
            if self._gathering.get(name) is group:
                del self._gathering[name]
            group.begun = True
            await self._take_tickets(group)
            if group.items():
                await self._submit(group)
        except Exception as error:  # noqa: BLE001  one batch must not take the others down with it
            # Without its traceback: it may quote what the provider has answered.
            log.error("batches.crashed", error=type(error).__name__)  # noqa: TRY400
        finally:
            self._unmade.remove(group)
            group.made.set()

    async def _take_tickets(self, group: _Group) -> None:
        async with anyio.create_task_group() as tasks:
            for one in group.members:
                tasks.start_soon(self._take_ticket, group, one)

    async def _take_ticket(self, group: _Group, one: WantedBatch) -> None:
        ticket = Ticket(attempt=one.context.attempt, target=one.target, secret=one.secret)
        try:
            await self._tickets.take(one.key, ticket)
        except ProviderFaultError as error:
            group.failed[one.key] = error.problem

    async def _submit(self, group: _Group) -> None:
        first, items = group.members[0], group.items()
        creating = False
        try:
            upload = first.form.upload(items)
            uploaded = await stepped(first, first.secret, upload) if upload else b""
            creating = True
            answer = await stepped(first, first.secret, first.form.create(items, uploaded))
            group.batch = first.form.read_id(answer)
        except (ProviderFaultError, ProblemError) as error:
            if creating and not _is_refusal(error.problem):
                return
            await self._refused(group, error.problem)
        else:
            await self._note(group, group.batch)
            if group.called_off == len(group.members) and not self.leaving:
                with suppress(ProviderFaultError, ProblemError):
                    await stepped(first, first.secret, first.form.cancel(group.batch))

    async def _refused(self, group: _Group, problem: Problem) -> None:
        """No batch was made: the requests may be sent again.

        One whose ticket cannot be dropped is told so too; a later attempt takes it for lost.
        """
        for one in group.members:
            if one.key not in group.failed:
                group.failed[one.key] = problem
                with suppress(ProviderFaultError, ProblemError):
                    await self._tickets.drop(one.key)

    async def _note(self, group: _Group, batch: str) -> None:
        """Write the batch into the tickets; one that cannot be stays without, and is waited for."""
        for one in group.members:
            if one.key in group.failed:
                continue
            ticket = Ticket(
                attempt=one.context.attempt,
                target=one.target,
                secret=one.secret,
                batch=batch,
                alone=len(group.members) == 1,
            )
            try:
                await self._tickets.change(one.key, ticket)
            except (ProviderFaultError, ProblemError):
                log.warning("batches.ticket_not_stored", batch=batch)


def _is_refusal(problem: Problem) -> bool:
    """Say whether a failed request to make a batch has certainly made none.

    The provider said no, with its status or under one of success, or was not reached. A server
    error or a lost answer says nothing.
    """
    status = problem.details.get("status")
    if isinstance(status, int):
        return status < _FIRST_SERVER_ERROR
    return problem.code in {"unavailable", "rate_limited"} or not problem.retryable
