"""The projection of instances: what lists show of them, and in which places their tokens lie.

A row is made of what each turn tells at a glance or, where turns are purged, of the record.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from actors.workflow.core.messages import INSTANCE_ENTITY
from bus.codec import decode, encode
from bus.projection import (
    EXPIRED_AT_ONCE,
    Change,
    Fact,
    Fold,
    Projection,
    Row,
    Rows,
    Table,
    Views,
)
from bus.projection.file import microseconds
from bus.subjects import filter_for
from schemas.base import Internal
from schemas.executions import ENDED, ExecutionStatus
from schemas.workflow_runs import RUN_SUBJECT, ListedOrigin, RunGlance, WorkflowRun

RUNS = Table(
    name="run",
    key=("instance",),
    columns=(
        "workflow",
        "user",
        "status",
        "created",
        "completed",
        "version",
        "turn",
        "cost",
        "places",
        "labels",
    ),
    newest="created",
    filters=(("workflow",), ("status",), ("workflow", "status")),
    counted=("workflow", "status"),
    fixed=("workflow", "user", "created", "labels"),
    labels="labels",
)
"""``places`` are names with spaces between them, ``labels`` the metadata of the first token and,
with a colon before their names, the labels of the request."""

PLACES = Table(
    name="run_place",
    key=("place", "instance"),
    columns=("workflow", "status", "created"),
    newest="created",
    filters=(("place",), ("place", "workflow"), ("place", "status")),
    fixed=("workflow", "created"),
)
"""A row for each place of an instance in which tokens lie."""

TABLES = f"""
{RUNS.sql}
{PLACES.sql}
CREATE INDEX run_ended ON run (completed) WHERE completed IS NOT NULL;
"""

OWN = ":"
"""Before the name of a label: no field of metadata begins with it."""


class _Turn(Internal, tag="turn"):
    """What counts of ``Turned``; its steps are passed over unread."""

    at: datetime
    glance: RunGlance


class _State(Internal):
    """What counts of the state from which an entry starts."""

    origin: ListedOrigin
    began_at: datetime


class _Row(msgspec.Struct):
    """A row of ``RUNS``, its columns in their order."""

    tenant: str
    instance: str
    workflow: str
    user: str | None
    status: ExecutionStatus
    created: int
    completed: int | None = None
    version: int = 1
    turn: int = 0
    cost: int | None = None
    places: str = ""
    labels: str | None = None


def changed(known: Row | None, facts: Sequence[Fact]) -> Row | None:
    """Return the row of an instance as its turns change it."""
    row = _Row(*known) if known is not None else None
    for fact in facts:
        event = fact.event
        if isinstance(event, _State):
            row = row or _begun(fact, event.origin, event.began_at)
        else:
            if row is None and event.glance.origin is not None:
                row = _begun(fact, event.glance.origin, event.at)
            if row is not None and event.glance.turn > row.turn:
                _take(row, event.glance, event.at)
    return msgspec.structs.astuple(row) if row is not None else None


def _begun(fact: Fact, origin: ListedOrigin, at: datetime) -> _Row:
    return _Row(
        tenant=fact.tenant,
        instance=fact.key,
        workflow=origin.workflow_id,
        user=origin.user,
        status="PENDING",
        created=microseconds(at),
        labels=_labels(origin.metadata, origin.labels),
    )


def _take(row: _Row, told: RunGlance, at: datetime) -> None:
    if told.status in ENDED and row.completed is None:
        row.completed = microseconds(at)
    row.status, row.version, row.turn = told.status, told.version, told.turn
    row.cost, row.places = told.cost, " ".join(told.places)


def _labels(metadata: dict[str, str], own: dict[str, str]) -> str | None:
    found = metadata | {OWN + name: value for name, value in own.items()}
    return encode(found).decode() if found else None


def placed(rows: Rows, changes: Sequence[Change]) -> None:
    """Keep in which places the tokens of changed instances lie."""
    after = {row: None for change in changes for row in _places(change.after)}
    before = {row[:3]: row for change in changes for row in _places(change.before)}
    gone = before.keys() - {row[:3] for row in after}
    PLACES.write(
        rows,
        [
            *(Change(before.get(row[:3]), row) for row in after if before.get(row[:3]) != row),
            *(Change(before[key], None) for key in gone),
        ],
    )


def _places(row: Row | None) -> list[Row]:
    if row is None:
        return []
    of = _Row(*row)
    return [
        (of.tenant, place, of.instance, of.workflow, of.status, of.created)
        for place in of.places.split()
    ]


FOLD = Fold(table=RUNS, row=changed, sums=placed)


def shown(rows: Rows, data: bytes) -> None:
    """Make the row of a stored record, in place of an older one."""
    run = decode(WorkflowRun, data)
    tenant = run.stream.split(".", 2)[1]
    row = _Row(
        tenant=tenant,
        instance=run.instance_id,
        workflow=run.workflow_id,
        user=run.user,
        status=run.status,
        created=microseconds(run.created_at),
        completed=microseconds(run.completed_at) if run.completed_at is not None else None,
        version=run.version,
        turn=run.revision,
        cost=run.cost,
        places=" ".join(dict.fromkeys(token.place for token in run.tokens)),
        labels=_labels(run.metadata, run.labels),
    )
    before = RUNS.known(rows, [(tenant, run.instance_id)]).get((tenant, run.instance_id))
    FOLD.write(rows, [Change(before, msgspec.structs.astuple(row))])


def expire(rows: Rows, before: int, now: int) -> int:
    """Remove the instances that ended before a moment."""
    del now
    which = "SELECT * FROM run WHERE completed < ? LIMIT ?"
    gone = rows.execute(which, (before, EXPIRED_AT_ONCE)).fetchall()
    FOLD.write(rows, [Change(row, None) for row in gone])
    return len(gone)


INSTANCES = Projection(
    name="workflow_runs",
    entity=INSTANCE_ENTITY,
    tables=TABLES,
    event_type=_Turn,
    together=FOLD.apply,
    whole=False,
    views=Views(filter_for(RUN_SUBJECT), shown),
    base_type=_State,
    expire=expire,
    retention=lambda timing: timing.record_retention_days,
)
