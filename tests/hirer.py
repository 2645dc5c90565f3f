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
from bus.work.errands import Errand
from bus.work.registry import Workforce
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
    """An ``Employer`` that offers what is granted at once, unless it is told to keep it."""

    shard, epoch, can_name = "s", 1, True

    def __init__(self, workforce: Workforce, tasks: TaskGroup) -> None:
        self.workforce = workforce
        self.errands: list[Errand] = []
        self.kept: list[Errand] = []
        self.keeps = False
        self.losses: list[str] = []
        self.refusals: list[str] = []
        self._tasks = tasks

    async def send(self, work: WorkItem[Any]) -> None:
        """Offer an item to a worker with room, or let it wait for one."""
        errand = self.workforce.choose((work.tenant, work.id), work, self)
        if errand is None or not await self.workforce.offer(errand):
            self.workforce.wait((work.tenant, work.id), work, self)

    def granted(self, errand: Errand) -> None:
        if self.keeps:
            self.kept.append(errand)
        else:
            self._tasks.start_soon(self.workforce.offer, errand)

    def refused(self, errand: Errand) -> None:
        self.refusals.append(errand.work.id)
        self.workforce.wait(errand.address, errand.work, self)

    def lost(self, errand: Errand) -> None:
        self.losses.append(errand.work.id)

    async def still_wants(self, errand: Errand) -> bool:
        del errand
        return True


@asynccontextmanager
async def hiring(bus: Bus, timing: Timing, name: str = "hirer") -> AsyncGenerator[Hirer]:
    """Run a registry of workers while the context is open."""
    alive = Alive(process=name, actor="agents")
    membership = Membership(bus.transport, lambda: alive, timing)
    workforce = Workforce(name, membership, bus, timing)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(membership.run)
        tasks.start_soon(workforce.run)
        yield Hirer(workforce, tasks)
        tasks.cancel_scope.cancel()
