"""Stands for the owners of items: offers them to workers, and names nobody before."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
from anyio.abc import TaskGroup

from bus.config import Timing
from bus.membership import Membership
from bus.ports import Bus
from bus.work.assignments import Assignment
from bus.work.registry import WorkerRegistry
from schemas.fleet import Alive
from schemas.work import ReplyTo, WorkItem

SINCE = datetime(2026, 11, 21, tzinfo=UTC)


def item(
    name: str,
    tenant: str = "acme",
    *,
    body: Any = None,
    once: bool = False,
    since: datetime = SINCE,
    queue: str = "q",
    **more: Any,
) -> WorkItem[Any]:
    """Return an item of work for a test."""
    return WorkItem(
        id=name,
        work="w",
        attempt=1,
        queue=queue,
        tenant=tenant,
        reply_to=ReplyTo(entity="e", tenant=tenant, key=name),
        since=since,
        body={"name": name} if body is None else body,
        once=once,
        **more,
    )


class Hirer:
    """An ``ItemOwner`` that offers what is granted at once, unless it is told to keep it."""

    shard, epoch, can_name = "s", 1, True

    def __init__(self, registry: WorkerRegistry, tasks: TaskGroup) -> None:
        self.registry = registry
        self.assignments: list[Assignment] = []
        self.kept: list[Assignment] = []
        self.keeps = False
        self.losses: list[str] = []
        self.refusals: list[str] = []
        self._tasks = tasks

    async def send(self, work: WorkItem[Any]) -> None:
        """Offer an item to a worker with room, or let it wait for one."""
        assignment = self.registry.choose((work.tenant, work.id), work, self)
        if assignment is None or not await self.registry.offer(assignment):
            self.registry.wait((work.tenant, work.id), work, self)

    def granted(self, assignment: Assignment) -> None:
        if self.keeps:
            self.kept.append(assignment)
        else:
            self._tasks.start_soon(self.registry.offer, assignment)

    def refused(self, assignment: Assignment) -> None:
        self.refusals.append(assignment.work.id)
        self.registry.wait(assignment.address, assignment.work, self)

    def lost(self, assignment: Assignment) -> None:
        self.losses.append(assignment.work.id)

    async def still_wants(self, assignment: Assignment) -> bool:
        del assignment
        return True


@asynccontextmanager
async def hiring(bus: Bus, timing: Timing, name: str = "hirer") -> AsyncGenerator[Hirer]:
    """Run a registry of workers while the context is open."""
    alive = Alive(process=name, actor="agents")
    membership = Membership(bus.transport, lambda: alive, timing)
    registry = WorkerRegistry(name, membership, bus, timing)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(membership.run)
        tasks.start_soon(registry.run)
        yield Hirer(registry, tasks)
        tasks.cancel_scope.cancel()
