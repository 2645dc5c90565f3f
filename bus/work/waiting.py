"""Items of work that wait for a worker, by queue and line, and those whose time has not come. Pure.

In a line the highest priority goes first, and among equals the oldest. Items are nowhere else but
in their entities' states: a new owner finds them there.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from schemas.work import WorkItem

T = TypeVar("T")

SLACK = 64
"""Names of items that are gone may stand in a heap, as many as of those that wait and so many."""

Rank = tuple[int, datetime, str]
"""The place of an item in its line: by priority, by age, and its name."""


class _Line:
    """The items of one line: a heap of those that wait, and of some that are gone."""

    __slots__ = ("count", "heap")

    def __init__(self) -> None:
        self.heap: list[Rank] = []
        self.count = 0


class _Waiting(NamedTuple, Generic[T]):
    queue: str
    line: str
    rank: Rank
    item: T
    time: datetime | None


class TenantWaiting(NamedTuple):
    """That items of a line wait: how many, and since when the first does."""

    line: str
    items: int
    since: datetime


class WaitingWork(Generic[T]):
    """Items by name. Each waits once, in its line or for its time."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, _Line]] = {}
        self._items: dict[str, _Waiting[T]] = {}
        self._early: dict[str, _Waiting[T]] = {}
        self._times: list[tuple[datetime, str]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._items or name in self._early

    def __len__(self) -> int:
        return len(self._items) + len(self._early)

    @property
    def queues(self) -> Iterable[str]:
        """The queues for which anything waits whose time has come."""
        return self._lines.keys()

    @property
    def items(self) -> list[T]:
        """All that waits."""
        return [each.item for waiting in (self._items, self._early) for each in waiting.values()]

    def waits(self, queue: str, line: str) -> bool:
        """Say whether anything waits in a line of a queue."""
        return line in self._lines.get(queue, ())

    def add(self, work: WorkItem[Any], item: T, now: datetime) -> None:
        """Let an item wait, in the place that its priority and age give it, once its time comes."""
        name, time = work.id, work.not_before
        if name in self._items or name in self._early:
            return
        rank = (-work.priority, work.since, name)
        waiting = _Waiting(work.queue, work.line, rank, item, time)
        if time is not None and time > now:
            self._early[name] = waiting
            heapq.heappush(self._times, (time, name))
        else:
            self._enter(waiting)

    def ripen(self, now: datetime) -> datetime | None:
        """Let those wait in their lines whose time has come; return when the next one's comes."""
        while self._times:
            at, name = self._times[0]
            stands = self._is_due(name, at)
            if stands and at > now:
                return at
            heapq.heappop(self._times)
            if stands:
                self._enter(self._early.pop(name))
        return None

    def take(self, queue: str, line: str) -> T | None:
        """Remove and return the first item of a line, None if nothing waits there."""
        if not self.waits(queue, line):
            return None
        return self.remove(self._head(self._lines[queue][line])[2])

    def remove(self, name: str) -> T | None:
        """Remove an item that waits no more, and return it; None if it does not."""
        if (early := self._early.pop(name, None)) is not None:
            if len(self._times) > 2 * len(self._early) + SLACK:
                self._times = [(at, gone) for at, gone in self._times if self._is_due(gone, at)]
                heapq.heapify(self._times)
            return early.item
        found = self._items.pop(name, None)
        if found is None:
            return None
        lines = self._lines[found.queue]
        line = lines[found.line]
        line.count -= 1
        if not line.count:
            del lines[found.line]
            if not lines:
                del self._lines[found.queue]
        elif len(line.heap) > 2 * line.count + SLACK:
            line.heap = [entry for entry in line.heap if self._stands(entry)]
            heapq.heapify(line.heap)
        return found.item

    def waiting(self, queue: str, most: int) -> list[TenantWaiting]:
        """Return where items of a queue wait; where that are more lines than ``most``, in turn."""
        lines = self._lines.get(queue, {})
        chosen = list(islice(lines, most))
        found: list[TenantWaiting] = []
        for name in chosen:
            line = lines[name]
            found.append(TenantWaiting(name, line.count, self._head(line)[1]))
            if len(lines) > most:
                lines[name] = lines.pop(name)
        return found

    def _enter(self, waiting: _Waiting[T]) -> None:
        lines = self._lines.setdefault(waiting.queue, {})
        line = lines.get(waiting.line)
        if line is None:
            line = lines[waiting.line] = _Line()
        self._items[waiting.rank[2]] = waiting
        heapq.heappush(line.heap, waiting.rank)
        line.count += 1

    def _head(self, line: _Line) -> Rank:
        """Return the first entry that stands; a line has one."""
        while not self._stands(line.heap[0]):
            heapq.heappop(line.heap)
        return line.heap[0]

    def _stands(self, entry: Rank) -> bool:
        known = self._items.get(entry[2])
        return known is not None and known.rank is entry

    def _is_due(self, name: str, at: datetime) -> bool:
        early = self._early.get(name)
        return early is not None and early.time == at


def is_early(work: WorkItem[Any], now: datetime) -> bool:
    """Say whether the time of an item has not come."""
    return work.not_before is not None and work.not_before > now
