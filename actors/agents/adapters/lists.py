"""Answers lists of executions and sessions, and what agents are doing, from the projection."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from actors.agents.adapters.listed import EXECUTIONS, PROJECT, SESSIONS, USER
from actors.agents.core.listing import Activity
from bus.codec import decode
from bus.errors import problem
from bus.projection import Projector, Rows, Table, TablePage, TableQuery
from bus.projection.file import microseconds, moment
from bus.requests.caller import Caller
from schemas.conversations import ConversationList, ConversationSummary, ListConversations
from schemas.executions import ENDED, ExecutionList, ExecutionSummary, ListExecutions

WAIT_SECONDS = 1.0
"""So long a list waits for what was committed before it; then it is unavailable, and never less."""

_MILLISECOND = timedelta(milliseconds=1)

_OPEN = """
SELECT tenant, sum(n) FROM execution_count
WHERE n > 0 AND status IN ('PENDING', 'RUNNING', 'WAITING') GROUP BY tenant
"""
_STORED = "SELECT tenant, sum(bytes) FROM ended WHERE minute >= ? GROUP BY tenant"
_KNOWN = "SELECT 1 FROM execution WHERE tenant = ? AND execution = ?"


class Counted(NamedTuple):
    """By tenant: executions that have not ended, bytes of records of those that ended lately."""

    open: dict[str, int]
    stored: dict[str, int]


class Lists:
    """Reads this process's copy of the projection, in threads."""

    def __init__(self, projector: Projector) -> None:
        self._projector = projector

    async def executions(self, caller: Caller, query: ListExecutions) -> ExecutionList:
        """Return a page of executions; raises as ``_page`` does."""
        where = {"session": query.session, "agent": query.agent_id, "status": query.status}
        facts = {USER: query.user, PROJECT: query.project}
        given = {name: value for name, value in facts.items() if value is not None}
        wanted = TableQuery(
            where,
            query.limit,
            query.offset,
            query.cursor,
            labels=query.labels | given,
            since=microseconds(query.since) if query.since else None,
            until=microseconds(query.until) if query.until else None,
        )
        page = await self._page(EXECUTIONS, caller.tenant, wanted)
        rows = [_execution(row) for row in page.rows]
        return ExecutionList(
            executions=rows,
            total=page.total,
            limit=query.limit,
            offset=query.offset,
            next=page.cursor,
        )

    async def conversations(self, caller: Caller, query: ListConversations) -> ConversationList:
        """Return a page of sessions; raises as ``_page`` does."""
        where = {"agent": query.agent_id, "user": query.user}
        wanted = TableQuery(where, query.limit, query.offset, query.cursor)
        page = await self._page(SESSIONS, caller.tenant, wanted)
        rows = [_conversation(row) for row in page.rows]
        return ConversationList(
            conversations=rows,
            total=page.total,
            limit=query.limit,
            offset=query.offset,
            next=page.cursor,
        )

    async def activities(self, tenant: str) -> dict[str, Activity]:
        """Return how many executions each agent has, and how many of them are under way.

        Raises:
            UnavailableError: the copy does not know of all in time.
        """
        counts = partial(EXECUTIONS.counts, tenant=tenant)
        return _activities((await self._projector.ask(counts, within=WAIT_SECONDS)).value)

    async def activity(self, tenant: str, agent_id: str) -> Activity:
        """Return what is known at once of an agent's executions.

        Raises:
            UnavailableError: the copy is not open.
        """
        counts = partial(EXECUTIONS.counts, tenant=tenant, where={"agent": agent_id})
        return _activities(await self._projector.peek(counts)).get(agent_id, Activity())

    async def knows(self, tenant: str, execution_id: str) -> bool:
        """Say whether an execution is known; raises as ``activity`` does."""
        find = partial(_first, _KNOWN, (tenant, execution_id))
        return await self._projector.peek(find) is not None

    async def _page(self, table: Table, tenant: str, query: TableQuery) -> TablePage:
        """Return a page of all that was committed before it was asked for.

        Raises:
            ProblemError: ``validation``: the cursor is none of this list.
            UnavailableError: the copy does not know of all in time.
        """
        asking = partial(table.page, tenant=tenant, query=query)
        try:
            return (await self._projector.ask(asking, within=WAIT_SECONDS)).value
        except ValueError as error:
            raise problem("validation", str(error), field="cursor") from None


def counted(rows: Rows, *, since: int) -> Counted:
    """Count for quotas. ``since`` is the beginning of what is lately, in microseconds."""
    stored = rows.execute(_STORED, (since // 60_000_000,)).fetchall()
    return Counted(dict(rows.execute(_OPEN).fetchall()), dict(stored))


def _first(statement: str, values: Sequence[str], rows: Rows) -> tuple[object, ...] | None:
    return rows.execute(statement, values).fetchone()


def _activities(counts: Sequence[tuple[str, str, int]]) -> dict[str, Activity]:
    found: dict[str, Activity] = {}
    for agent, status, count in counts:
        known = found.get(agent, Activity())
        running = 0 if status in ENDED else count
        found[agent] = Activity(known.executions + count, known.running + running)
    return found


def _execution(row: dict[str, Any]) -> ExecutionSummary:
    created, completed = row["created"], row["completed"]
    ended = completed is not None
    labels = decode(dict[str, str], (row["labels"] or "{}").encode())
    return ExecutionSummary(
        execution_id=row["execution"],
        agent_id=row["agent"],
        status=row["status"],
        created_at=moment(created),
        completed_at=moment(completed) if ended else None,
        duration_ms=round((moment(completed) - moment(created)) / _MILLISECOND) if ended else None,
        tokens_used=row["tokens"],
        cost=row["cost"],
        attempts=row["attempts"],
        code=row["code"],
        session=row["session"],
        user=labels.pop(USER, None),
        project=labels.pop(PROJECT, None),
        labels=labels,
    )


def _conversation(row: dict[str, Any]) -> ConversationSummary:
    return ConversationSummary(
        agent_id=row["agent"],
        session=row["session"],
        last_execution_id=row["execution"],
        last_at=moment(row["at"]),
        turns=row["turns"],
        user=row["user"],
    )
