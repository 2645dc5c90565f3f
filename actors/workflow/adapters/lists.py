"""Answers lists of instances from the projection."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from actors.workflow.adapters.listed import OWN, PLACES, RUNS
from bus.codec import decode
from bus.errors import problem
from bus.projection import Projector, Rows, TablePage, TableQuery
from bus.projection.file import microseconds, moment
from bus.requests.caller import Caller
from schemas.workflow_runs import ListWorkflowRuns, WorkflowRunList, WorkflowRunSummary

WAIT_SECONDS = 1.0
"""So long a list waits for what was committed before it; then it is unavailable, and never less."""


async def listed(projector: Projector, caller: Caller, query: ListWorkflowRuns) -> WorkflowRunList:
    """Return a page of all that was committed before it was asked for.

    Raises:
        ProblemError: ``validation``: the cursor is none of this list.
        UnavailableError: the copy does not know of all in time.
    """
    ask = partial(_page, tenant=caller.tenant, query=query)
    try:
        page: TablePage = (await projector.ask(ask, within=WAIT_SECONDS)).value
    except ValueError as error:
        raise problem("validation", str(error), field="cursor") from None
    return WorkflowRunList(
        runs=[_summary(row) for row in page.rows],
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        next=page.cursor,
    )


def _page(rows: Rows, tenant: str, query: ListWorkflowRuns) -> TablePage:
    wanted = TableQuery(
        {"workflow": query.workflow_id, "status": query.status},
        query.limit,
        query.offset,
        query.cursor,
        labels=query.metadata,
        since=microseconds(query.since) if query.since else None,
        until=microseconds(query.until) if query.until else None,
    )
    if query.place is None:
        return RUNS.page(rows, tenant, wanted)
    where = {"place": query.place, **wanted.where}
    page = PLACES.page(rows, tenant, wanted._replace(where=where, labels={}))
    keys = [(tenant, row["instance"]) for row in page.rows]
    known = RUNS.known(rows, keys)
    found = [dict(zip(RUNS.all_columns, known[key], strict=True)) for key in keys if key in known]
    return page._replace(rows=found)


def _summary(row: Mapping[str, Any]) -> WorkflowRunSummary:
    labels = decode(dict[str, str], (row["labels"] or "{}").encode())
    completed = row["completed"]
    return WorkflowRunSummary(
        instance_id=row["instance"],
        workflow_id=row["workflow"],
        version=row["version"],
        status=row["status"],
        revision=row["turn"],
        created_at=moment(row["created"]),
        completed_at=moment(completed) if completed is not None else None,
        places=row["places"].split(),
        cost=row["cost"],
        user=row["user"],
        labels={name.removeprefix(OWN): value for name, value in labels.items() if name[:1] == OWN},
    )
