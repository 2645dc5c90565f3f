"""Handing out the open work of a shard: each item to the one worker that a stored commit names."""

from collections.abc import Iterable

import msgspec
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.shard.book import ShardBook
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.turn import PendingCommand
from bus.tasks import TaskPool
from bus.work.assignments import Assignment
from bus.work.registry import WorkerRegistry
from schemas.entity import EntityAddress
from schemas.journal import CommandEnvelope
from schemas.work import AnyWorkItem, Lost

MOST_AT_ONCE = 64
"""Offers that wait at once for the journal to confirm that they are still ours to make."""

LOOKS_MISSED = 2
"""An idle owner looks up its journal with each housekeeping; after so many it may be cut off."""


class WorkDispatch:
    """Names a worker for each open item, and offers it once that is stored.

    While it is ``paused`` nothing is named for which there is no turn.
    """

    def __init__(
        self,
        book: ShardBook,
        fence: Fence,
        inbox: Inbox,
        registry: WorkerRegistry,
        timing: Timing,
        tasks: TaskGroup,
    ) -> None:
        self.shard = fence.subject
        self.epoch = fence.epoch
        self._book = book
        self._fence = fence
        self._inbox = inbox
        self._registry = registry
        self._timing = timing
        self._granted: dict[str, Assignment] = {}
        self._naming: dict[str, Assignment] = {}
        self._named: dict[str, Assignment] = {}
        self._kept: dict[str, tuple[EntityAddress, AnyWorkItem]] = {}
        self._is_paused = False
        self._late = TaskPool(tasks, self._offer_if_ours, most=MOST_AT_ONCE)

    @property
    def is_over(self) -> bool:
        """Whether the shard was let go: its next owner finds its open items in their entities.

        Answers to offers and tasks that were under way come later still. An item that they put into
        the registry would wait for an owner that is no more, and hide it from the next one here.
        """
        return self._fence.is_down

    @property
    def wants_commit(self) -> bool:
        """Whether workers keep places for items that no commit names for them yet."""
        return bool(self._granted)

    @property
    def can_name(self) -> bool:
        """Whether a commit that names a worker would be stored now, as far as is known."""
        looks = LOOKS_MISSED * self._timing.housekeeping_seconds
        return not self._is_paused and self._fence.was_ours(within=looks)

    def pause(self, *, paused: bool) -> None:
        """Keep items back while there is no room for commits that would name workers for them."""
        self._is_paused = paused
        if paused:
            for assignment in list(self._granted.values()):
                self._keep_back(assignment)
        elif self._kept:
            kept, self._kept = self._kept, {}
            for address, work in kept.values():
                self.wait(address, work)

    def name(self, opened: Iterable[tuple[EntityAddress, AnyWorkItem]] = ()) -> dict[str, str]:
        """Name the workers of items for the next commit: of those that it opens, and of others."""
        gone = [
            each.work
            for each in self._granted.values()
            if not self._book.is_open(each.address, each.work)
        ]
        self.closed(gone)
        self._naming = dict(self._granted)
        for address, work in opened:
            if self._is_new(work) and (assignment := self._registry.choose(address, work, self)):
                self._naming[work.id] = assignment
        return {item: assignment.worker.name for item, assignment in self._naming.items()}

    def are_named(self) -> None:
        """Note that the commit is stored: from now on the workers may be offered their items."""
        for item in self._naming:
            self._granted.pop(item, None)
        self._named |= self._naming
        self._naming = {}

    async def assign(self, opened: Iterable[tuple[EntityAddress, AnyWorkItem]] = ()) -> None:
        """Offer what is named; what was just opened and is not named waits."""
        for address, work in opened:
            if work.id not in self._named and self._is_new(work):
                self.wait(address, work)
        named, self._named = self._named, {}
        # What a former owner offers late may have been begun elsewhere.
        fresh = self._fence.was_ours(within=self._timing.work_resend_seconds)
        for assignment in named.values():
            if fresh:
                await self._offer(assignment)
            else:
                self._late.give(assignment)

    def wait(self, address: EntityAddress, work: AnyWorkItem) -> None:
        """Let an item wait for a worker."""
        if self.is_over:
            return
        if self._is_paused:
            self._kept[work.id] = (address, work)
        else:
            self._registry.wait(address, work, self)

    def adopt(self, address: EntityAddress, work: AnyWorkItem, worker: str) -> None:
        """Note that a worker holds an item."""
        if not self.is_over:
            self._registry.adopt(address, work, self, worker)

    def begin_anew(self, address: EntityAddress, work: AnyWorkItem) -> None:
        """Let the entity replace an item that may be lost with its worker."""
        body = msgspec.Raw(encode(Lost(work=work.work, attempt=work.attempt, begun=True)))
        envelope = CommandEnvelope(
            id=f"lost.{work.id}", tenant=address[0], key=address[1], body=body
        )
        self._inbox.put(PendingCommand(envelope))

    def lacks(self, address: EntityAddress, work: AnyWorkItem) -> bool:
        """Say whether an item is open, and neither waits nor is with a worker."""
        is_known = work.id in self._named or work.id in self._kept or self._registry.has(work.id)
        return not is_known and self._book.is_open(address, work)

    def closed(self, items: Iterable[AnyWorkItem]) -> None:
        """Forget what is open no more."""
        for work in items:
            self._granted.pop(work.id, None)
            self._kept.pop(work.id, None)
            self._registry.closed(work.id)

    def finish(self) -> None:
        """Hear no more of workers, at the end of ownership."""
        self._registry.dismiss(self)

    # What is heard of workers: see ``ItemOwner``

    def granted(self, assignment: Assignment) -> None:
        """Name the worker by the next commit, together with all others."""
        if self.can_name:
            self._granted[assignment.work.id] = assignment
        else:
            self._keep_back(assignment)
        self._inbox.wake()

    def refused(self, assignment: Assignment) -> None:
        """Let the item wait for another worker."""
        self.wait(assignment.address, assignment.work)

    def lost(self, assignment: Assignment) -> None:
        """Begin anew what a worker had that has gone."""
        self.begin_anew(assignment.address, assignment.work)

    async def still_wants(self, assignment: Assignment) -> bool:
        """Say whether an item is open and ours."""
        return await self._fence.holds() and self._book.is_open(assignment.address, assignment.work)

    def _keep_back(self, assignment: Assignment) -> None:
        """Give the place to others until the next turn: who is cut off would only hold it."""
        self._granted.pop(assignment.work.id, None)
        self._registry.closed(assignment.work.id)
        self._kept[assignment.work.id] = (assignment.address, assignment.work)

    async def _offer(self, assignment: Assignment) -> None:
        is_open = self._book.is_open(assignment.address, assignment.work) and not self.is_over
        if is_open and not await self._registry.offer(assignment):
            self.wait(assignment.address, assignment.work)

    async def _offer_if_ours(self, assignment: Assignment) -> None:
        await self._fence.confirm(within=self._timing.work_resend_seconds)
        await self._offer(assignment)

    def _is_new(self, work: AnyWorkItem) -> bool:
        """Say whether no worker was ever named for an item."""
        return work.id not in self._book.assigned and not self._registry.has(work.id)
