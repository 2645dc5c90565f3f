"""The newest executions in memory, for lists and counts. Fed with stored records, in any order."""

from bisect import insort
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from actors.agents.core.hour import Hour
from actors.agents.core.listing import Activity, page_executions
from schemas.executions import (
    ENDED,
    ExecutionList,
    ExecutionRecord,
    ExecutionSummary,
    ListExecutions,
)

CAPACITY = 50_000
"""Executions kept, all tenants together: some 30 MB."""

RECORD_PATIENCE = timedelta(seconds=30)
"""The first record of an execution follows within a second, or the bus was away."""

_Age = tuple[datetime, str]


class _Entry(NamedTuple):
    revision: int
    summary: ExecutionSummary


class ExecutionIndex:
    """Summaries of the newest executions of each tenant.

    A record may come several times and out of order: an older revision never replaces a newer one.
    When the index is full, the oldest execution of a tenant with more than its share goes; its
    agent's ``executions`` still counts it, its ``running`` no longer does. What is older than
    something a tenant has lost already is not taken in again.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tenants: dict[str, _Tenant] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def observe(self, tenant: str, record: ExecutionRecord, size: int = 0) -> None:
        """Take in one record, which has ``size`` bytes."""
        if self._of(tenant).observe(record, size):
            self._size += 1
        if self._size > self._capacity:
            self._crowded(tenant).forget_oldest()
            self._size -= 1

    def begun(self, tenant: str, execution_id: str, now: datetime) -> None:
        """Count an execution that was accepted as open, until its first record is here."""
        self._of(tenant).begun(execution_id, now)

    def knows(self, tenant: str, execution_id: str) -> bool:
        """Say whether a record of an execution is here, or it was begun a moment ago."""
        held = self._tenants.get(tenant)
        return held is not None and held.knows(execution_id)

    def open(self, tenant: str, now: datetime) -> int:
        """Return how many executions of a tenant have not ended, as far as is known here."""
        held = self._tenants.get(tenant)
        return held.open(now) if held is not None else 0

    def stored_lately(self, tenant: str, now: datetime) -> int:
        """Return the bytes of a tenant's records of executions that ended within an hour."""
        held = self._tenants.get(tenant)
        return held.stored.total(now) if held is not None else 0

    @property
    def tenants(self) -> list[str]:
        """Those of whom anything is known."""
        return list(self._tenants)

    def _of(self, tenant: str) -> "_Tenant":
        held = self._tenants.get(tenant)
        if held is None:
            held = self._tenants[tenant] = _Tenant()
        return held

    def activity(self, tenant: str, agent_id: str) -> Activity:
        """Return how often an agent was executed, and how many of its executions are under way."""
        held = self._tenants.get(tenant)
        return held.activities.get(agent_id, Activity()) if held else Activity()

    def page(self, tenant: str, query: ListExecutions) -> ExecutionList:
        """Return one page of a tenant's executions, newest first."""
        held = self._tenants.get(tenant)
        if held is None:
            return page_executions((), query)
        if query.status is None and query.session is None:
            return held.slice(query)
        return page_executions(held.newest_first(query.agent_id), query)

    def _crowded(self, tenant: str) -> "_Tenant":
        """The tenant that must give way: the one that just grew, unless it is within its share."""
        grown = self._tenants[tenant]
        if len(grown) * len(self._tenants) > self._capacity:
            return grown
        return max(self._tenants.values(), key=len)


class _Tenant:
    def __init__(self) -> None:
        self.activities: dict[str | None, Activity] = {}
        self.running = 0
        self.stored = Hour()
        self._begun: dict[str, datetime] = {}
        self._entries: dict[str, _Entry] = {}
        self._ages: list[_Age] = []
        self._ages_of: dict[str | None, list[_Age]] = {}
        self._forgotten: _Age | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def begun(self, execution_id: str, now: datetime) -> None:
        """Count an execution as open; its first record comes within seconds."""
        if execution_id not in self._entries:
            self._begun[execution_id] = now

    def knows(self, execution_id: str) -> bool:
        """Say whether an execution is known."""
        return execution_id in self._entries or execution_id in self._begun

    def open(self, now: datetime) -> int:
        """Count what has not ended. A record that has not come for long will not come."""
        while self._begun and now - next(iter(self._begun.values())) > RECORD_PATIENCE:
            del self._begun[next(iter(self._begun))]
        return self.running + len(self._begun)

    def observe(self, record: ExecutionRecord, size: int) -> bool:
        """Take in a record; say whether it is one more execution. Embeddings are not listed."""
        if record.kind == "embed":
            if not _is_running(record):
                self._begun.pop(record.execution_id, None)
            return False
        self._begun.pop(record.execution_id, None)
        age = (record.created_at, record.execution_id)
        known = self._entries.get(record.execution_id)
        if known is None and self._forgotten is not None and age <= self._forgotten:
            return False
        if known is not None and known.revision >= record.revision:
            return False
        self._entries[record.execution_id] = _Entry(record.revision, _summary(record))
        if known is None:
            insort(self._ages, age)
            insort(self._ages_of.setdefault(record.agent_id, []), age)
        if not _is_running(record) and (known is None or _is_running(known.summary)):
            self.stored.add(record.completed_at or record.created_at, size)
        self._count(
            record.agent_id,
            executions=known is None,
            running=_is_running(record) - (known is not None and _is_running(known.summary)),
        )
        return known is None

    def forget_oldest(self) -> None:
        """Drop the oldest execution."""
        self._forgotten = self._ages.pop(0)
        summary = self._entries.pop(self._forgotten[1]).summary
        # The oldest of all is the oldest of its agent.
        self._ages_of[summary.agent_id].pop(0)
        self._count(summary.agent_id, executions=0, running=-_is_running(summary))

    def newest_first(self, agent_id: str | None) -> Iterator[ExecutionSummary]:
        """Yield the executions of an agent, or all, newest first."""
        return (self._entries[execution].summary for _, execution in reversed(self._held(agent_id)))

    def slice(self, query: ListExecutions) -> ExecutionList:
        """Return a page by place alone, without looking at what is not on it."""
        ages = self._held(query.agent_id)
        end = max(len(ages) - query.offset, 0)
        page = ages[max(end - query.limit, 0) : end]
        return ExecutionList(
            executions=[self._entries[execution].summary for _, execution in reversed(page)],
            total=len(ages),
            limit=query.limit,
            offset=query.offset,
        )

    def _held(self, agent_id: str | None) -> list[_Age]:
        return self._ages if agent_id is None else self._ages_of.get(agent_id, [])

    def _count(self, agent_id: str | None, *, executions: int, running: int) -> None:
        self.running += running
        standing = self.activities.get(agent_id, Activity())
        self.activities[agent_id] = Activity(
            standing.executions + executions, standing.running + running
        )


def _is_running(execution: ExecutionRecord | ExecutionSummary) -> bool:
    return execution.status not in ENDED


def _summary(record: ExecutionRecord) -> ExecutionSummary:
    return ExecutionSummary(
        execution_id=record.execution_id,
        agent_id=record.agent_id,
        status=record.status,
        created_at=record.created_at,
        completed_at=record.completed_at,
        duration_ms=record.duration_ms,
        tokens_used=record.tokens_used,
        cost=record.cost,
        attempts=record.attempts,
        session=record.session,
    )
