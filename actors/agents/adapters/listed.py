"""The projection of executions: what lists show of them, and of the sessions they belong to.

A row is made by the events of an execution or, where these are purged, by its record. An event may
repeat what a record has told: the last word on status and attempts counts, the usage of an attempt
counts once.
"""

from datetime import datetime
from typing import NamedTuple

from actors.agents.core.dues import summed
from actors.agents.core.execution import spent_by
from bus.codec import decode
from bus.projection import EXPIRED_AT_ONCE, Fact, Projection, Rows, Table, Views
from bus.projection.file import microseconds
from bus.subjects import filter_for
from schemas.attempts import Attempts
from schemas.base import Internal
from schemas.executions import RECORD_SUBJECT, ExecutionRecord, ExecutionStatus
from schemas.ids import AgentId, SessionId
from schemas.ledger import Charge
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionTimedOut,
    GenerationFinished,
    ReserveAsked,
    ReserveRefused,
    TaskPlace,
    UsageSettled,
)
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
    ),
    newest="created",
    filters=(
        ("session",),
        ("agent",),
        ("status",),
        ("session", "status"),
        ("agent", "status"),
    ),
    counted=("agent", "status"),
)
"""``settled`` names the attempts whose usage is in ``tokens`` and ``cost``, ``bytes`` is about the
size of the record."""

SESSIONS = Table(
    name="conversation",
    key=("agent", "session"),
    columns=("user", "execution", "at", "turns"),
    newest="at",
    filters=(("agent",), ("user",), ("agent", "user")),
    counted=("agent",),
)
"""A row for each session of an agent in which an execution was completed: its newest turn."""

_IS_TURN = "{0}.status = 'COMPLETED' AND {0}.session IS NOT NULL AND {0}.agent IS NOT NULL"

_TURN = """
INSERT INTO conversation
VALUES (new.tenant, new.agent, new.session, new.user, new.execution, new.completed, 1)
ON CONFLICT DO UPDATE SET
    turns = turns + 1,
    user = CASE WHEN excluded.at >= at THEN excluded.user ELSE user END,
    execution = CASE WHEN excluded.at >= at THEN excluded.execution ELSE execution END,
    at = max(at, excluded.at);
"""

_ENDED = """
INSERT INTO ended VALUES (new.completed / 60000000, new.tenant, new.bytes)
ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
"""

TABLES = f"""
{EXECUTIONS.sql}
{SESSIONS.sql}
CREATE INDEX execution_ended ON execution (completed) WHERE completed IS NOT NULL;
CREATE INDEX execution_open ON execution_count (tenant, n)
    WHERE n > 0 AND status IN ('PENDING', 'RUNNING', 'WAITING');
CREATE TABLE ended (minute, tenant, bytes, PRIMARY KEY (minute, tenant)) WITHOUT ROWID;
CREATE TRIGGER turn_shown AFTER INSERT ON execution
    WHEN {_IS_TURN.format("new")} BEGIN {_TURN} END;
CREATE TRIGGER turn_made AFTER UPDATE OF status ON execution
    WHEN new.status IS NOT old.status AND {_IS_TURN.format("new")} BEGIN {_TURN} END;
CREATE TRIGGER turn_gone AFTER DELETE ON execution WHEN {_IS_TURN.format("old")} BEGIN
    UPDATE conversation SET turns = turns - 1
        WHERE tenant = old.tenant AND agent = old.agent AND session = old.session;
    DELETE FROM conversation
        WHERE tenant = old.tenant AND agent = old.agent AND session = old.session AND turns <= 0;
END;
CREATE TRIGGER end_shown AFTER INSERT ON execution
    WHEN new.completed IS NOT NULL BEGIN {_ENDED} END;
CREATE TRIGGER end_made AFTER UPDATE OF completed ON execution
    WHEN old.completed IS NULL AND new.completed IS NOT NULL BEGIN {_ENDED} END;
"""  # noqa: S608

_RECORD_BYTES = 900
"""What a record has besides its texts."""

_NEW = """
INSERT INTO execution VALUES (:tenant, :execution, :agent, :session, :user, :status, :created,
    :completed, :attempts, :tokens, :cost, :settled, :bytes)
"""
_IF_MISSING = f"{_NEW} ON CONFLICT DO NOTHING"
_INSTEAD = f"""{_NEW} ON CONFLICT DO UPDATE SET status = excluded.status,
    completed = excluded.completed, attempts = excluded.attempts, tokens = excluded.tokens,
    cost = excluded.cost, settled = excluded.settled, bytes = excluded.bytes
"""
_THIS = "WHERE tenant = ? AND execution = ?"
_OPEN = f"{_THIS} AND completed IS NULL"
_STATUS = f"UPDATE execution SET status = ? {_OPEN}"  # noqa: S608
_PLANNED = f"UPDATE execution SET attempts = ? {_OPEN}"  # noqa: S608
_STARTED = f"UPDATE execution SET status = 'RUNNING', attempts = ? {_OPEN}"  # noqa: S608
_END = f"UPDATE execution SET status = ?, completed = ? {_OPEN}"  # noqa: S608
_SPENT = f"SELECT settled, tokens, cost FROM execution {_THIS}"  # noqa: S608
_SPEND = f"""
UPDATE execution SET settled = ?, tokens = ?, cost = ?, bytes = bytes + ? {_THIS}
"""  # noqa: S608

_ENDS: dict[type, ExecutionStatus] = {
    ExecutionCompleted: "COMPLETED",
    ExecutionFailed: "FAILED",
    ExecutionCancelled: "CANCELLED",
    ExecutionTimedOut: "TIMED_OUT",
}


class _Whose(Internal):
    """What counts of an origin."""

    agent_id: AgentId | None = None
    session: SessionId | None = None
    user: str | None = None
    task: str = ""


class _Begun(Internal, tag="accepted"):
    """What counts of ``Accepted``; the prompt is passed over unread."""

    origin: _Whose
    at: datetime
    task_at: TaskPlace | None = None


class _State(Internal):
    """What counts of the state from which an entry starts."""

    origin: _Whose
    accepted_at: datetime
    status: ExecutionStatus = "PENDING"
    ended_at: datetime | None = None
    step: str = ""
    attempts: Attempts = Attempts()
    usage: Usage | None = None
    cost: int | None = None


class _Spent(NamedTuple):
    """What an event says of an attempt's spending."""

    attempt: str
    usage: Usage | None
    charges: list[Charge] | None
    always: bool = False


def apply(rows: Rows, fact: Fact) -> None:
    """Change the row of an execution as an event does the execution."""
    this, event = (fact.tenant, fact.key), fact.event
    match event:
        case _Begun():
            place = event.task_at
            task = place.length if place is not None else len(event.origin.task)
            row = _row(
                fact, event.origin, created=microseconds(event.at), bytes=_RECORD_BYTES + task
            )
            rows.execute(_IF_MISSING, row)
        case _State():
            rows.execute(_IF_MISSING, _started_from(fact, event))
        case ReserveAsked():
            rows.execute(_PLANNED, (event.attempt, *this))
        case AttemptStarted():
            rows.execute(_STARTED, (event.attempt, *this))
        case ReserveRefused():
            rows.execute(_STATUS, ("WAITING", *this))
        case AttemptFailed() | GenerationFinished() | UsageSettled():
            _spend(rows, fact, _spent(event))
            if isinstance(event, AttemptFailed):
                rows.execute(_STATUS, ("WAITING", *this))
        case _:
            rows.execute(_END, (_ENDS[type(event)], microseconds(event.at), *this))


def shown(rows: Rows, data: bytes) -> None:
    """Make the row of a stored record, in place of an older one."""
    record = decode(ExecutionRecord, data)
    _, tenant, _ = record.stream.split(".", 2)
    row = {
        "tenant": tenant,
        "execution": record.execution_id,
        "agent": record.agent_id,
        "session": record.session,
        "user": record.user,
        "status": record.status,
        "created": microseconds(record.created_at),
        "completed": _moment(record.completed_at),
        "attempts": record.attempts,
        "tokens": record.tokens_used,
        "cost": record.cost,
        "settled": "".join(f"{each.step}.{each.attempt} " for each in record.settled),
        "bytes": len(data),
    }
    rows.execute(_INSTEAD, row)


def expire(rows: Rows, before: int) -> int:
    """Remove the executions that ended before a moment, and the sessions that have no others."""
    rows.execute("DELETE FROM ended WHERE minute < ?", (before // 60_000_000,))
    which = "SELECT tenant, execution FROM execution WHERE completed < ? LIMIT ?"
    gone = rows.execute(which, (before, EXPIRED_AT_ONCE)).fetchall()
    for this in gone:
        rows.execute(f"DELETE FROM execution {_THIS}", this)  # noqa: S608
    return len(gone)


def _row(fact: Fact, whose: _Whose, **known: object) -> dict[str, object]:
    row = dict.fromkeys(("completed", "tokens", "cost"))
    row |= {"tenant": fact.tenant, "execution": fact.key, "status": "PENDING", "attempts": 0}
    row |= {"agent": whose.agent_id, "session": whose.session, "user": whose.user, "settled": ""}
    return row | known


def _started_from(fact: Fact, state: _State) -> dict[str, object]:
    current = state.attempts.of(state.step)
    return _row(
        fact,
        state.origin,
        status=state.status,
        created=microseconds(state.accepted_at),
        completed=_moment(state.ended_at),
        tokens=state.usage.total if state.usage else None,
        cost=state.cost,
        attempts=current.attempt if current else 0,
        settled="".join(
            f"{work}.{attempt} "
            for work, known in state.attempts.works.items()
            for attempt in known.settled
        ),
        bytes=_RECORD_BYTES + len(state.origin.task),
    )


def _spent(event: AttemptFailed | GenerationFinished | UsageSettled) -> _Spent:
    attempt, charges = f"{event.work}.{event.attempt} ", event.charges
    if isinstance(event, GenerationFinished):
        return _Spent(attempt, spent_by(event.answer, event.detours), charges, always=True)
    return _Spent(attempt, event.usage, charges)


def _spend(rows: Rows, fact: Fact, spent: _Spent) -> None:
    """Add what an attempt has used, once."""
    this = (fact.tenant, fact.key)
    known = rows.execute(_SPENT, this).fetchone()
    if known is None or f" {spent.attempt}" in f" {known[0]}":
        return
    settled, tokens, cost = known
    if spent.usage is not None:
        settled, tokens = settled + spent.attempt, (tokens or 0) + spent.usage.total
    if spent.charges or spent.always:
        cost = summed(cost, spent.charges)
    rows.execute(_SPEND, (settled, tokens, cost, fact.size, *this))


def _moment(at: datetime | None) -> int | None:
    return microseconds(at) if at is not None else None


LISTED = Projection(
    name="executions",
    entity=EXECUTION_ENTITY,
    version=1,
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
    | ExecutionTimedOut,
    apply=apply,
    whole=False,
    views=Views(filter_for(RECORD_SUBJECT), shown),
    base_type=_State,
    expire=expire,
)
