"""The projection of executions: its rows say what the records say, wherever its journal begins."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agents.adapters.listed import (
    EXECUTIONS,
    FOLD,
    LISTED,
    PROJECT,
    SESSIONS,
    USER,
    expire,
)
from actors.agents.adapters.lists import counted
from actors.agents.core.execution import evolve
from actors.agents.core.outward import record
from actors.agents.core.state import Execution
from bus.codec import encode
from bus.ports import Filed
from bus.projection import EXPIRED_AT_ONCE, Fact, TableQuery
from bus.projection.file import ProjectionFile, microseconds
from schemas.executions import ENDED, ExecutionRecord
from schemas.journal import Commit, Entry
from schemas.ledger import Charge
from schemas.lifecycle import Delete, ExecutionEvent, UsageSettled
from schemas.usage import Usage
from schemas.work import Lost
from tests.unit.agents.runs import Run, Steps, accept, finish, played, steps
from tests.unit.agents.samples import NOW, later
from tests.unit.agents.samples import record as sample

EVERYTHING = TableQuery({}, 1000)
_EVENTS = msgspec.json.Decoder(LISTED.event_type)
_WANTED = {each.__struct_config__.tag for each in LISTED.event_type.__args__}


@contextmanager
def tables() -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as rows:
        rows.executescript(LISTED.tables)
        yield rows


def happen(
    rows: sqlite3.Connection, events: Sequence[ExecutionEvent], key: str = "e1", together: int = 0
) -> None:
    """Apply events as they stand in a journal, so many at once."""
    facts: list[Fact] = []
    for event in events:
        data = encode(event)
        if event.__struct_config__.tag in _WANTED:
            known = _EVENTS.decode(data)
            facts.append(Fact("acme", key, "s.0", 1, 0, NOW, known, len(data)))
    together = together or max(len(facts), 1)
    for start in range(0, len(facts), together):
        apply(rows, facts[start : start + together])


def apply(rows: sqlite3.Connection, facts: Sequence[Fact]) -> None:
    FOLD.apply(rows, [facts] if facts else [], unfit)


def unfit(fact: Fact, error: Exception) -> None:
    raise AssertionError(fact) from error


def show(rows: sqlite3.Connection, stored: ExecutionRecord) -> None:
    assert LISTED.views is not None
    LISTED.views.apply(rows, encode(stored))


def shown(rows: sqlite3.Connection) -> list[tuple[Any, ...]]:
    columns = "execution, agent, session, user, status, code, created, completed, attempts, tokens"
    return rows.execute(f"SELECT {columns}, cost FROM execution ORDER BY 1").fetchall()  # noqa: S608


def told(stored: ExecutionRecord) -> tuple[Any, ...]:
    """Return the row of a record."""
    ended = stored.completed_at and microseconds(stored.completed_at)
    whose = (stored.execution_id, stored.agent_id, stored.session, stored.user)
    spent = (stored.attempts, stored.tokens_used, stored.cost)
    code = stored.error.code if stored.error else None
    return (*whose, stored.status, code, microseconds(stored.created_at), ended, *spent)


@settings(max_examples=100)
@given(steps, st.data())
def test_a_row_says_what_the_record_says_wherever_the_journal_begins(
    sequence: Steps, data: st.DataObject
):
    run = played(sequence)
    events = run.events
    first = data.draw(st.integers(0, len(events)), label="the first event that is not purged")
    stored = data.draw(st.integers(first, len(events)), label="events in the stored record")
    with tables() as rows:
        if stored:
            show(rows, record(_after(events[:stored])))
        together = data.draw(st.integers(1, 4), label="events that are applied at once")
        happen(rows, events[first:], together=together)
        assert shown(rows) == [told(record(run.execution))]


def _after(events: Sequence[ExecutionEvent]) -> Execution:
    state = None
    for event in events:
        state = evolve(state, event)
    assert state is not None
    return state


@pytest.mark.parametrize("events_in_record", [0, 1, 2, 3, 4, 5])
def test_the_usage_and_cost_of_an_attempt_count_once_in_a_row(events_in_record: int):
    charge = Charge(
        provider="openai",
        model="m",
        usage=Usage(input=3, output=4),
        cost_pico=500,
        reported_pico=None,
        row=None,
        unpriced=None,
    )
    late = UsageSettled(work="1", attempt=1, usage=Usage(output=9), charges=[charge, charge])
    done = msgspec.structs.replace(finish(2), charges=[charge])
    run = played([(Lost(work="1", attempt=1, begun=True), 1.0), (done, 1.0)])
    events = [*run.events, late]
    with tables() as rows:
        if events_in_record:
            show(rows, record(_after(events[:events_in_record])))
        happen(rows, events)
        happen(rows, [late])
        assert shown(rows) == [told(record(_after(events)))]
        assert shown(rows)[0][-1] == 1500


def test_the_state_from_which_an_entry_starts_makes_the_row_that_is_missing():
    run = played([(finish(1), 1.0)])
    with tables() as rows:
        base = msgspec.json.decode(encode(run.execution), type=LISTED.base_type)
        fact = Fact("acme", "e1", "s.0", 1, 0, NOW, base, 10)
        apply(rows, [fact])
        assert shown(rows) == [told(record(run.execution))]
        rows.execute("UPDATE execution SET tokens = 77")
        apply(rows, [fact])
        assert shown(rows)[0][-2] == 77


def test_a_session_has_its_newest_turn_and_how_many_there_were():
    with tables() as rows:
        ends = {"status": "COMPLETED", "session": "s1"}
        for number in (2, 3, 1):
            show(rows, sample(number, completed_at=later(number), user=f"u{number}", **ends))
        show(rows, sample(4, status="FAILED", session="s1", completed_at=later(9)))
        show(rows, sample(5, completed_at=later(5), agent_id="writer", **ends))
        show(rows, sample(6, completed_at=later(6)))
        [row] = SESSIONS.page(rows, "acme", TableQuery({"agent": "reviewer"}, 10)).rows
        assert (row["session"], row["execution"], row["user"], row["turns"]) == (
            "s1",
            "execution-3",
            "u3",
            3,
        )
        everyone = SESSIONS.page(rows, "acme", EVERYTHING)
        assert [(each["agent"], each["turns"]) for each in everyone.rows] == [
            ("writer", 1),
            ("reviewer", 3),
        ]
        of_user = SESSIONS.page(rows, "acme", TableQuery({"agent": "reviewer", "user": "u3"}, 10))
        assert (of_user.total, len(of_user.rows)) == (1, 1)


def test_what_has_ended_long_ago_leaves_the_tables():
    with tables() as rows:
        for number in range(20):
            ended = later(number) if number % 2 else None
            status = "COMPLETED" if number % 2 else "RUNNING"
            show(rows, sample(number, status=status, completed_at=ended, session=f"s{number}"))
        assert expire(rows, microseconds(later(10)), 0) == 5
        assert expire(rows, microseconds(later(10)), 0) == 0
        left = EXECUTIONS.page(rows, "acme", EVERYTHING)
        assert (left.total, len(left.rows)) == (15, 15)
        assert SESSIONS.page(rows, "acme", EVERYTHING).total == 5
        assert all((row["completed"] or 10**18) >= microseconds(later(10)) for row in left.rows)
        assert EXPIRED_AT_ONCE >= 15
        assert expire(rows, microseconds(later(1000)), 0) == 5
        assert counted(rows, since=0).open == {"acme": 10}


def test_a_row_is_found_by_user_project_and_labels_from_events_and_records_alike():
    wanted = accept()
    whose = {"user": "ann", "project": "spring", "labels": {"token": "t1"}, "kept": 60}
    origin = msgspec.structs.replace(wanted.origin, **whose)
    run = Run()
    run.take(msgspec.structs.replace(wanted, origin=origin))
    run.take(finish(1))
    stored = record(run.execution)
    assert (stored.labels, stored.expires_at) == ({"token": "t1"}, later(60))
    for fill in (lambda rows: happen(rows, run.events), lambda rows: show(rows, stored)):
        with tables() as rows:
            fill(rows)
            for labels in ({USER: "ann"}, {PROJECT: "spring"}, {"token": "t1", USER: "ann"}):
                page = EXECUTIONS.page(rows, "acme", TableQuery({}, 9, labels=labels))
                assert [row["execution"] for row in page.rows] == ["e1"]
            assert not EXECUTIONS.page(rows, "acme", TableQuery({}, 9, labels={"token": "t2"})).rows
            assert expire(rows, 0, microseconds(later(59))) == 0
            assert expire(rows, 0, microseconds(later(60))) == 1


def test_the_row_of_a_deleted_execution_goes_and_nothing_brings_it_back():
    run = played([(finish(1), 1.0)])
    run.take(Delete())
    with tables() as rows:
        happen(rows, run.events, together=1)
        happen(rows, [UsageSettled(work="1", attempt=1, usage=Usage(output=9))])
        base = msgspec.json.decode(encode(run.execution), type=LISTED.base_type)
        apply(rows, [Fact("acme", "e1", "s.0", 1, 0, NOW, base, 10)])
        assert shown(rows) == []
        assert SESSIONS.page(rows, "acme", EVERYTHING).total == 0


def test_open_executions_and_the_bytes_of_ended_ones_are_counted_by_tenant():
    with tables() as rows:
        show(rows, sample(1, status="RUNNING"))
        show(rows, sample(2, status="WAITING", stream="cb.bolt.stream.x"))
        ended = sample(3, completed_at=later(60))
        show(rows, ended)
        show(rows, ended)
        assert counted(rows, since=microseconds(NOW)) == (
            {"acme": 1, "bolt": 1},
            {"acme": len(encode(ended))},
        )
        assert counted(rows, since=microseconds(later(600))).stored == {}
        plan = rows.execute(
            "EXPLAIN QUERY PLAN SELECT tenant, sum(n) FROM execution_count WHERE n > 0 "
            "AND status IN ('PENDING', 'RUNNING', 'WAITING') GROUP BY tenant"
        ).fetchall()
        assert "execution_open" in plan[0][3]


@settings(max_examples=30)
@given(st.lists(steps, max_size=4))
def test_open_executions_are_those_that_have_not_ended(histories: list[Steps]):
    runs = [played(history) for history in histories]
    with tables() as rows:
        for number, run in enumerate(runs):
            happen(rows, run.events, key=f"e{number}")
        still = sum(run.execution.status not in ENDED for run in runs)
        assert counted(rows, since=0).open.get("acme", 0) == still


def test_an_entry_that_starts_from_a_state_says_what_the_rows_do_not_know(tmp_path: Path):
    run = played([(finish(1), 1.0)])
    late = UsageSettled(work="1", attempt=2, usage=Usage(output=9))
    entry = Entry(
        tenant="acme",
        key="e1",
        command="c",
        base=msgspec.Raw(encode(run.execution)),
        events=[msgspec.Raw(encode(late))],
    )
    commit = Commit(n=1, epoch=1, turn="t", at=NOW, entries=[entry])
    file = ProjectionFile(tmp_path / "executions.sqlite3", LISTED)
    with closing(file):
        file.open()
        file.apply([(Filed(1, "_cb.journal.execution.0", b""), commit)])
        [row], _ = file.ask(shown, 5.0)
    assert row[4] == "COMPLETED"
    assert row[9] == (record(run.execution).tokens_used or 0) + 9


def test_an_execution_whose_row_cannot_be_made_or_kept_costs_no_other_its_own():
    [accepted, *_] = [_EVENTS.decode(encode(event)) for event in played([(finish(1), 1.0)]).events]
    broken = msgspec.structs.replace(accepted, at=None)
    huge = UsageSettled(work="1", attempt=1, usage=Usage(output=2**63))
    left_out: list[str] = []
    with tables() as rows:
        batch = [
            [Fact("acme", key, "s.0", 1, 0, NOW, event, 1) for event in events]
            for key, events in {
                "e1": [accepted],
                "broken": [broken],
                "huge": [accepted, huge],
                "e2": [accepted],
            }.items()
        ]
        FOLD.apply(rows, batch, lambda fact, _: left_out.append(fact.key))
        assert [row[0] for row in shown(rows)] == ["e1", "e2"]
        assert counted(rows, since=0).open == {"acme": 2}
    assert left_out == ["broken", "huge"]
