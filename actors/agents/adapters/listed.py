"""The projection of executions: what lists show of them, and of the sessions they belong to.

A row is made by the events of an execution or, where these are purged, by its record. An event may
repeat what a record has told: the last word on status and attempts counts, the usage of an attempt
counts once.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from actors.agents.core.execution import spent_by
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
from schemas import pages
from schemas.attempts import Attempts
from schemas.base import Internal
from schemas.bills import summed
from schemas.executions import RECORD_SUBJECT, ExecutionRecord, ExecutionStatus
from schemas.ids import AgentId, SessionId
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionDeleted,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    TaskPlace,
    UsageSettled,
)
from schemas.llm import Kind
from schemas.problems import ProblemCode
from schemas.spend import ReserveAsked, ReserveRefused, Spend
from schemas.usage import Usage

EXECUTIONS = Table(
    name="execution",
    key=("execution",),
    columns=(
        "agent",
        "session",
        "user",
        "status",
        "created",
        "completed",
        "attempts",
        "tokens",
        "cost",
        "settled",
        "bytes",
        "labels",
        "kept",
        "code",
    ),
    newest="created",
    filters=(
        ("session",),
        ("agent",),
        ("status",),
        ("agent", "status"),
    ),
    counted=("agent", "status"),
    fixed=("agent", "session", "user", "created", "labels", "kept"),
    labels="labels",
)
"""``settled`` names the attempts whose usage is in ``tokens`` and ``cost``, ``bytes`` is about the
size of the record. ``labels`` are those of the request, its user and its project, ``kept`` the
microseconds after its end at which a row goes; NULL is as for all. ``code`` says why no answer
came."""

USER, PROJECT = ":user", ":project"
"""Labels that no request can name."""

SESSIONS = Table(
    name="conversation",
    key=("agent", "session"),
    columns=("user", "execution", "at", "turns"),
    newest="at",
    filters=(("agent",), ("agent", "user")),
    counted=("agent",),
)
"""A row for each session of an agent in which an execution was completed: its newest turn."""

TABLES = f"""
{EXECUTIONS.sql}
{SESSIONS.sql}
CREATE INDEX execution_ended ON execution (completed) WHERE completed IS NOT NULL;
CREATE INDEX execution_kept ON execution (completed + kept)
    WHERE completed IS NOT NULL AND kept IS NOT NULL;
CREATE INDEX execution_open ON execution_count (tenant, n)
    WHERE n > 0 AND status IN ('PENDING', 'RUNNING', 'WAITING');
CREATE TABLE ended (minute, tenant, bytes, PRIMARY KEY (minute, tenant)) WITHOUT ROWID;
"""

_COMPLETED = EXECUTIONS.all_columns.index("completed")

_ENDED = """
INSERT INTO ended VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes
"""

UNLISTED: Kind = "embed"
"""Embeddings are kept for an hour and answered as they end: no list has them."""

_MINUTE = 60_000_000
"""Of microseconds."""

_RECORD_BYTES = 900
"""What a record has besides its texts."""

_ENDS: dict[type, ExecutionStatus] = {
    ExecutionCompleted: "COMPLETED",
    ExecutionFailed: "FAILED",
    ExecutionCancelled: "CANCELLED",
    ExecutionTimedOut: "TIMED_OUT",
}


_END_CODES: dict[ExecutionStatus, ProblemCode] = {"CANCELLED": "cancelled", "TIMED_OUT": "timeout"}


class _Whose(Internal):
    """What counts of an origin."""

    agent_id: AgentId | None = None
    session: SessionId | None = None
    user: str | None = None
    project: str | None = None
    task: str = ""
    kind: Kind = "generate"
    labels: dict[str, str] = {}
    kept: int | None = None


class _Begun(Internal, tag="accepted"):
    """What counts of ``Accepted``; the prompt is passed over unread."""

    origin: _Whose
    at: datetime
    task_at: TaskPlace | None = None


class _Why(Internal):
    """What counts of a problem."""

    code: ProblemCode


class _State(Internal):
    """What counts of the state from which an entry starts."""

    origin: _Whose
    accepted_at: datetime
    status: ExecutionStatus = "PENDING"
    ended_at: datetime | None = None
    step: str = ""
    attempts: Attempts = Attempts()
    usage: Usage | None = None
    spend: Spend = Spend()
    problem: _Why | None = None
    deleted_at: datetime | None = None


class _Row(msgspec.Struct):
    """A row of ``EXECUTIONS``, its columns in their order."""

    tenant: str
    execution: str
    agent: str | None
    session: str | None
    user: str | None
    status: ExecutionStatus
    created: int
    completed: int | None = None
    attempts: int = 0
    tokens: int | None = None
    cost: int | None = None
    settled: str = ""
    bytes: int = _RECORD_BYTES
    labels: str | None = None
    kept: int | None = None
    code: ProblemCode | None = None

    def end_code(self) -> ProblemCode | None:
        """Return the code of an end that has no problem of its own."""
        return _END_CODES.get(self.status)


class _Turn(NamedTuple):
    """A turn of a session: tenant, agent and name of that, and what is told of its newest turn."""

    session: tuple[str, str, str]
    user: str | None
    execution: str
    at: int


def changed(known: Row | None, facts: Sequence[Fact]) -> Row | None:
    """Return the row of an execution as its events change it; none where they delete it."""
    row = _Row(*known) if known is not None else None
    for fact in facts:
        if isinstance(fact.event, ExecutionDeleted):
            return None
        row = _started(row, fact) if row is None else row
        if row is not None:
            _change(row, fact)
    return msgspec.structs.astuple(row) if row is not None else None


def summed_up(rows: Rows, changes: Sequence[Change]) -> None:
    """Keep what is told of many executions: the newest turns of sessions, bytes of what ended."""
    ended = Counter[tuple[int, str]]()
    turns: list[tuple[_Turn, int]] = []
    for before, after in changes:
        row, step = after or before, _has_ended(after) - _has_ended(before)
        if row is None or not step:
            continue
        of = _Row(*row)
        if step > 0:
            ended[(of.completed or 0) // _MINUTE, of.tenant] += of.bytes
        if of.status == "COMPLETED" and of.session is not None and of.agent is not None:
            key = (of.tenant, of.agent, of.session)
            turns.append((_Turn(key, of.user, of.execution, of.completed or 0), step))
    rows.executemany(_ENDED, [(*place, size) for place, size in ended.items()])
    if turns:
        _take_turns(rows, turns)


def _has_ended(row: Row | None) -> bool:
    return row is not None and row[_COMPLETED] is not None


def _take_turns(rows: Rows, turns: Sequence[tuple[_Turn, int]]) -> None:
    known = SESSIONS.known(rows, list({turn.session for turn, _ in turns}))
    sessions = {key: (_Turn(key, *row[3:6]), row[6]) for key, row in known.items()}
    for turn, step in turns:
        newest, count = sessions.get(turn.session, (turn, 0))
        is_newer = step > 0 and turn.at >= newest.at
        sessions[turn.session] = (turn if is_newer else newest, count + step)
    changes = [
        Change(known.get(key), (*key, *turn[1:], count) if count > 0 else None)
        for key, (turn, count) in sessions.items()
    ]
    SESSIONS.write(rows, changes)


FOLD = Fold(table=EXECUTIONS, row=changed, sums=summed_up)


def shown(rows: Rows, data: bytes) -> None:
    """Make the row of a stored record, in place of an older one."""
    record = decode(ExecutionRecord, data)
    if record.kind == UNLISTED:
        return
    _, tenant, _ = record.stream.split(".", 2)
    row = _Row(
        tenant=tenant,
        execution=record.execution_id,
        agent=record.agent_id,
        session=record.session,
        user=record.user,
        status=record.status,
        created=microseconds(record.created_at),
        completed=_moment(record.completed_at),
        attempts=record.attempts,
        tokens=record.tokens_used,
        cost=record.cost,
        settled="".join(f"{each.step}.{each.attempt} " for each in record.settled),
        bytes=len(data),
        labels=_labels(record.labels, record.user, record.project),
        kept=_span(record.completed_at, record.expires_at),
        code=record.error.code if record.error else None,
    )
    known = EXECUTIONS.known(rows, [(tenant, record.execution_id)])
    before = known.get((tenant, record.execution_id))
    FOLD.write(rows, [Change(before, msgspec.structs.astuple(row))])


def expire(rows: Rows, before: int, now: int) -> int:
    """Remove the executions that ended before a moment, and the sessions that have no others.

    Those that are kept for a time of their own go when it is over.
    """
    rows.execute("DELETE FROM ended WHERE minute < ?", (before // _MINUTE,))
    which = "SELECT * FROM execution WHERE completed < ? LIMIT ?"
    gone = rows.execute(which, (before, EXPIRED_AT_ONCE)).fetchall()
    own = """SELECT * FROM execution INDEXED BY execution_kept
        WHERE completed >= ? AND kept IS NOT NULL AND completed + kept <= ? LIMIT ?"""
    most = EXPIRED_AT_ONCE - len(gone)
    gone += rows.execute(own, (before, now, most)).fetchall()
    FOLD.write(rows, [Change(row, None) for row in gone])
    return len(gone)


def _started(row: _Row | None, fact: Fact) -> _Row | None:
    """Return the row that an execution begins with; None where its beginning is not there."""
    event = fact.event
    if not isinstance(event, _Begun | _State):
        return row
    whose = event.origin
    is_forgotten = isinstance(event, _State) and event.deleted_at is not None
    if whose.kind == UNLISTED or is_forgotten:
        return None
    place = event.task_at if isinstance(event, _Begun) else None
    made = _Row(
        tenant=fact.tenant,
        execution=fact.key,
        agent=whose.agent_id,
        session=whose.session,
        user=whose.user,
        status="PENDING",
        created=microseconds(event.at if isinstance(event, _Begun) else event.accepted_at),
        bytes=_RECORD_BYTES + (place.length if place is not None else len(whose.task)),
        labels=_labels(whose.labels, whose.user, whose.project),
        kept=whose.kept * 1_000_000 if whose.kept is not None else None,
    )
    if isinstance(event, _State):
        _take_state(made, event)
    return made


def _take_state(row: _Row, state: _State) -> None:
    current = state.attempts.of(state.step)
    row.status, row.completed = state.status, _moment(state.ended_at)
    if row.status == "FAILED" and state.problem is not None:
        row.code = state.problem.code
    else:
        row.code = row.end_code()
    row.tokens, row.cost = state.usage.total if state.usage else None, state.spend.cost
    row.attempts = current.attempt if current else 0
    row.settled = "".join(
        f"{work}.{attempt} "
        for work, known in pages.items(state.attempts.works)
        for attempt in known.settled
    )


def _change(row: _Row, fact: Fact) -> None:
    event, is_open = fact.event, row.completed is None
    if isinstance(event, AttemptFailed | GenerationFinished | UsageSettled):
        _spend(row, fact.size, event)
    if not is_open:
        return
    match event:
        case ReserveAsked():
            row.attempts = event.attempt
        case AttemptStarted():
            row.status, row.attempts = "RUNNING", event.attempt
        case ReserveRefused() | AttemptFailed():
            row.status = "WAITING"
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            row.status, row.completed = _ENDS[type(event)], microseconds(event.at)
            row.code = event.problem.code if isinstance(event, ExecutionFailed) else row.end_code()
        case _:
            pass


def _spend(row: _Row, size: int, event: AttemptFailed | GenerationFinished | UsageSettled) -> None:
    """Add what an attempt has used, once."""
    attempt, usage = f"{event.work}.{event.attempt} ", _usage(event)
    if f" {attempt}" in f" {row.settled}":
        return
    if usage is not None:
        row.settled, row.tokens = row.settled + attempt, (row.tokens or 0) + usage.total
    if event.charges or isinstance(event, GenerationFinished):
        row.cost = row.cost if event.charges is None else summed(row.cost, event.charges)
    row.bytes += size


def _usage(event: AttemptFailed | GenerationFinished | UsageSettled) -> Usage | None:
    """Return what all calls of an attempt have used."""
    if isinstance(event, GenerationFinished):
        return spent_by(event.answer, event.detours)
    return event.usage


def _labels(own: dict[str, str], user: str | None, project: str | None) -> str | None:
    """Return the labels of a row, None where it has none."""
    if not own and user is None and project is None:
        return None
    facts = {USER: user, PROJECT: project}
    given = {name: value for name, value in facts.items() if value is not None}
    return encode(own | given).decode()


def _span(since: datetime | None, until: datetime | None) -> int | None:
    return microseconds(until) - microseconds(since) if since and until else None


def _moment(at: datetime | None) -> int | None:
    return microseconds(at) if at is not None else None


LISTED = Projection(
    name="executions",
    entity=EXECUTION_ENTITY,
    version=3,
    tables=TABLES,
    event_type=_Begun
    | ReserveAsked
    | ReserveRefused
    | AttemptStarted
    | AttemptFailed
    | GenerationFinished
    | UsageSettled
    | ExecutionCompleted
    | ExecutionFailed
    | ExecutionCancelled
    | ExecutionTimedOut
    | ExecutionDeleted,
    together=FOLD.apply,
    whole=False,
    views=Views(filter_for(RECORD_SUBJECT), shown),
    base_type=_State,
    expire=expire,
    retention=lambda timing: timing.record_retention_days,
)
