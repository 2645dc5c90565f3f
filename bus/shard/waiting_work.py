"""Items of work that wait for a worker, oldest first, by queue and tenant. Pure.

They are nowhere else but in their entities' states: a new owner finds them there.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

SLACK = 64
"""Names of items that are gone may stand in a line, as many as of those that wait and so many."""


class _Line:
    """The items of one tenant: a heap of those that wait, and of some that are gone."""

    __slots__ = ("count", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[datetime, str]] = []
        self.count = 0


class _Waiting(NamedTuple, Generic[T]):
    queue: str
    tenant: str
    since: datetime
    item: T


class Waiting(NamedTuple):
    """That items of a tenant wait: how many, and since when the oldest does."""

    tenant: str
    items: int
    since: datetime


class WaitingWork(Generic[T]):
    """Items by name. Each waits once, in the line of its queue and tenant."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, _Line]] = {}
        self._items: dict[str, _Waiting[T]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __len__(self) -> int:
        return len(self._items)

    @property
    def queues(self) -> Iterable[str]:
        """The queues for which anything waits."""
        return self._lines.keys()

    @property
    def items(self) -> list[T]:
        """All that waits."""
        return [each.item for each in self._items.values()]

    def waits(self, queue: str, tenant: str) -> bool:
        """Say whether anything of a tenant waits for a queue."""
        return tenant in self._lines.get(queue, ())

    def add(self, queue: str, tenant: str, name: str, since: datetime, item: T) -> None:
        """Let an item wait, in the place that its age gives it."""
        if name in self._items:
            return
        line = self._lines.setdefault(queue, {}).setdefault(tenant, _Line())
        self._items[name] = _Waiting(queue, tenant, since, item)
        heapq.heappush(line.heap, (since, name))
        line.count += 1

    def take(self, queue: str, tenant: str) -> T | None:
        """Remove and return the oldest item of a tenant, None if nothing of it waits."""
        if not self.waits(queue, tenant):
            return None
        _, name = self._head(self._lines[queue][tenant])
        return self.remove(name)

    def remove(self, name: str) -> T | None:
        """Remove an item that waits no more, and return it; None if it does not."""
        found = self._items.pop(name, None)
        if found is None:
            return None
        lines = self._lines[found.queue]
        line = lines[found.tenant]
        line.count -= 1
        if not line.count:
            del lines[found.tenant]
            if not lines:
                del self._lines[found.queue]
        elif len(line.heap) > 2 * line.count + SLACK:
            line.heap = [entry for entry in line.heap if self._stands(entry)]
            heapq.heapify(line.heap)
        return found.item

    def waiting(self, queue: str, most: int) -> list[Waiting]:
        """Return for whom items of a queue wait; where that are more than ``most``, in turn."""
        lines = self._lines.get(queue, {})
        chosen = list(islice(lines, most))
        found: list[Waiting] = []
        for tenant in chosen:
            line = lines[tenant]
            found.append(Waiting(tenant, line.count, self._head(line)[0]))
            if len(lines) > most:
                lines[tenant] = lines.pop(tenant)
        return found

    def _head(self, line: _Line) -> tuple[datetime, str]:
        """Return the oldest entry that stands; a line has one."""
        while not self._stands(line.heap[0]):
            heapq.heappop(line.heap)
        return line.heap[0]

    def _stands(self, entry: tuple[datetime, str]) -> bool:
        known = self._items.get(entry[1])
        return known is not None and known.since == entry[0]
