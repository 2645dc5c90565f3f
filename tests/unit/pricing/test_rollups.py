"""Rollups: a report from them is the report of all calls, and reads no more of them with time."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from actors.pricing.adapters import reports
from actors.pricing.adapters.costs import COSTS, apply
from actors.pricing.core import report
from actors.pricing.core.periods import TimeSpan, periods
from actors.pricing.core.rollups import CUBES, DAY, HOUR, cube_for, pieces
from bus.codec import encode
from bus.ports import Filed
from bus.projection import Fact
from bus.projection.file import ProjectionFile
from schemas.journal import Commit, Entry
from schemas.ledger import Lapsed, Party, Reference, Voided
from schemas.reports import CostReport, GroupBy, ReportCosts
from tests.charges import BEGAN, NAMES, TENANT, charge, charged, events

LONGEST = TimeSpan(BEGAN - timedelta(days=1), BEGAN + timedelta(days=6))
BY: list[list[GroupBy]] = [
    [],
    ["day"],
    ["model"],
    ["user", "project"],
    ["hour", "model"],
    ["provider", "weekday", "agent"],
    ["project", "hour_of_day"],
]
FILTERS = ("user", "project", "agent_id", "provider", "model")


def lapses() -> st.SearchStrategy[list[Any]]:
    """Ends of leases, each followed or not by what was spent or by nothing at all."""

    def followed(at: timedelta, later: timedelta, then: str, execution: str, who: str) -> list[Any]:
        party, booked = Party(user=who), 7 * 10**6
        reference = Reference(execution_id=execution, step=9, attempt=1, at=BEGAN)
        lapsed = Lapsed(
            reference=reference, party=party, at=BEGAN + at, held_pico=booked, booked_pico=booked
        )
        bill = charged(
            charge(5), execution=execution, step=9, at=BEGAN + later, party=party, booked=booked
        )
        void = Voided(reference=reference, at=BEGAN + later, booked_pico=booked)
        return [lapsed, *{"bill": [bill], "void": [void], "": []}[then]]

    moments = st.timedeltas(timedelta(0), timedelta(days=4))
    return st.builds(
        followed,
        moments,
        moments,
        st.sampled_from(["bill", "void", ""]),
        st.sampled_from(["x1", "x2", "y1", "y2"]),
        NAMES,
    )


def numbered(happened: list[list[Any]]) -> list[Any]:
    """Return all events; no lease ends twice."""
    return [
        msgspec.structs.replace(
            event, reference=msgspec.structs.replace(event.reference, step=step)
        )
        for step, each in enumerate(happened, start=1)
        for event in each
    ]


HAPPENED = st.lists(st.one_of(events().map(lambda one: [one]), lapses()), max_size=10).map(numbered)
SETTLED = st.lists(st.booleans(), min_size=32, max_size=32)
SPANS = st.tuples(st.integers(-600, 6000), st.integers(1, 6000)).map(
    lambda minutes: TimeSpan(
        BEGAN + timedelta(minutes=minutes[0]), BEGAN + timedelta(minutes=sum(minutes))
    )
)


def filled(rows: sqlite3.Connection, happened: Iterable[Any], settled: Sequence[bool]) -> None:
    """Apply events in batches that end where ``settled`` says, and at last."""
    rows.executescript(COSTS.tables)
    for number, (event, ends) in enumerate(zip(happened, settled, strict=False)):
        apply(rows, Fact(TENANT, "ledger", "s", number, 0, BEGAN, event))
        if ends:
            COSTS.settle(rows)
    COSTS.settle(rows)


def both(
    rows: sqlite3.Connection, asked: ReportCosts, span: TimeSpan, zone: str = "UTC"
) -> tuple[CostReport, CostReport]:
    """Return a report from rollups and the one from all calls, without its percentiles."""
    units = [name for name in asked.group_by if name in report.TIME_UNITS]
    parts = periods(span, ZoneInfo(zone), units[0]) if units else None  # type: ignore[arg-type]
    rolled = report.from_rollups(TENANT, asked, span, parts)
    assert rolled is not None
    questions = (rolled, report.question(TENANT, asked, span, parts)._replace(costs=None))
    found = [[rows.execute(*one).fetchall() if one else [] for one in each] for each in questions]
    first, second = (report.report(asked, span, report.FoundCosts(*each)) for each in found)
    return _sorted(first), _sorted(second)


def _sorted(answer: CostReport) -> CostReport:
    lines = sorted(answer.lines, key=lambda line: str(line.group))
    return msgspec.structs.replace(answer, lines=lines)


@pytest.mark.parametrize("by", BY, ids=lambda by: "+".join(by) or "nothing")
@settings(max_examples=25)
@given(
    happened=HAPPENED,
    settled=SETTLED,
    span=SPANS,
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
)
def test_a_report_from_rollups_is_that_of_all_calls(
    by: list[GroupBy], happened: list[Any], settled: list[bool], span: TimeSpan, zone: str
):
    asked = ReportCosts(group_by=by, trend=True)

    with closing(sqlite3.connect(":memory:")) as rows:
        filled(rows, happened, settled)
        first, second = both(rows, asked, span, zone)

    assert first == second


@given(HAPPENED, SETTLED, SPANS, st.sampled_from(FILTERS))
def test_filters_leave_the_same_of_both(
    happened: list[Any], settled: list[bool], span: TimeSpan, name: str
):
    with closing(sqlite3.connect(":memory:")) as rows:
        filled(rows, happened, settled)
        for value in ("ada", "ä;'\"", "openai", "gpt-4o"):
            asked = msgspec.convert({name: value}, ReportCosts)
            first, second = both(rows, asked, span)
            assert first == second


def test_a_bill_after_the_end_of_a_lease_takes_its_rollup_back():
    reference = Reference(execution_id="x1", step=1, attempt=1, at=BEGAN)
    lapsed = Lapsed(reference=reference, party=Party(), at=BEGAN, held_pico=9, booked_pico=9)
    late = charged(charge(4), at=BEGAN + timedelta(hours=5), booked=9)

    with closing(sqlite3.connect(":memory:")) as rows:
        filled(rows, [lapsed, late], [True, True])
        total = both(rows, ReportCosts(), LONGEST)[0].total
        kept = rows.execute(
            "SELECT sum(cost_rest), sum(executions) FROM rollup WHERE width = ? AND cube = 0",
            (DAY,),
        ).fetchone()

    assert (total.cost_pico, total.calls, total.executions, total.estimated_calls) == (4, 1, 1, 0)
    assert kept == (4, 1)


def test_an_execution_is_counted_once_however_many_hours_and_models_it_has():
    spent = [
        charged(charge(1, model=model), step=step, at=BEGAN + timedelta(hours=9 * step))
        for step, model in enumerate(["gpt-4o", "gpt-4o-mini", "gpt-4o"], start=1)
    ]

    with closing(sqlite3.connect(":memory:")) as rows:
        filled(rows, spent, [True] * 3)
        answer = both(rows, ReportCosts(group_by=["model"]), LONGEST)[0]

    assert answer.total.executions == 1
    assert [line.totals.executions for line in answer.lines] == [1, 1]


def test_what_rollups_do_not_know_is_answered_from_calls():
    def source(**asked: Any) -> object:
        return report.from_rollups(TENANT, ReportCosts(**asked), LONGEST, None)

    assert all(source(**{name: "a"}) for name in FILTERS)
    assert source(group_by=["user", "model"]) is None
    assert source(group_by=["user"], model="gpt-4o") is None
    assert source(group_by=["tier"]) is None
    assert source(percentiles=True) is None


def bills(first: int, many: int, whole: int) -> list[Any]:
    """Return the bills of calls within four days in which there are ``whole`` of them."""
    return [
        charged(
            charge(5, model=f"m{number % 3}"),
            execution=f"x{number}",
            at=BEGAN + timedelta(days=4) * number / whole,
            party=Party(user=f"u{number % 4}", agent_id=f"a{number % 3}"),
        )
        for number in range(first, first + many)
    ]


class Steps:
    """Counts hundreds of steps of SQLite's machine."""

    def __init__(self, rows: sqlite3.Connection) -> None:
        self.count = 0
        rows.set_progress_handler(self._step, 100)

    def _step(self) -> None:
        self.count += 1


@pytest.mark.parametrize("by", [[], ["day"], ["model"], ["agent", "day"], ["user"]])
def test_a_report_reads_as_much_however_many_calls_there_are(by: list[GroupBy]):
    def steps(calls: int) -> int:
        with closing(sqlite3.connect(":memory:")) as rows:
            filled(rows, bills(0, calls, calls), [False] * calls)
            counted = Steps(rows)
            assert both_total(rows, by) == calls
            return counted.count

    assert steps(4_800) < 1.2 * steps(1_200)


def test_new_calls_are_added_with_as_much_work_however_many_there_are():
    def steps(doubled: int) -> int:
        with closing(sqlite3.connect(":memory:")) as rows:
            filled(rows, bills(0, 250, 300), [False] * 250)
            for _ in range(doubled):
                rows.execute("CREATE TEMP TABLE copy AS SELECT * FROM call")
                rows.execute("UPDATE copy SET execution = execution || 'again'")
                rows.execute("INSERT INTO call SELECT * FROM copy")
                rows.execute("DROP TABLE copy")
            COSTS.settle(rows)
            for number, event in enumerate(bills(250, 50, 300)):
                apply(rows, Fact(TENANT, "ledger", "s", number, 0, BEGAN, event))
            counted = Steps(rows)
            COSTS.settle(rows)
            return counted.count

    assert steps(7) < 1.5 * steps(0)


def both_total(rows: sqlite3.Connection, by: list[GroupBy]) -> int:
    """Return the calls of a report from rollups."""
    asked, span = ReportCosts(group_by=by), LONGEST
    parts = periods(span, ZoneInfo("UTC"), "day") if "day" in by else None
    question = report.from_rollups(TENANT, asked, span, parts)
    assert question is not None
    found = [rows.execute(*one).fetchall() if one else [] for one in question]
    return report.report(asked, span, report.FoundCosts(*found)).total.calls


def commit(n: int, event: Any) -> tuple[Filed, Commit]:
    entry = Entry(
        tenant=TENANT, key="ledger", command=f"{n}", kind="settle", events=[Raw(encode(event))]
    )
    filed = Filed(n, "_cb.journal.account.0", b"")
    return filed, Commit(n=n, epoch=1, turn=f"{n}", at=BEGAN, entries=[entry])


def test_what_is_not_settled_yet_is_answered_from_calls(tmp_path: Path):
    file = ProjectionFile(tmp_path / "costs.sqlite3", COSTS)
    asked = ReportCosts()
    questions = (
        report.from_rollups(TENANT, asked, LONGEST, None),
        report.question(TENANT, asked, LONGEST, None),
    )

    def answered() -> tuple[str, int]:
        answer, _ = file.ask(partial(reports._rolled_answer, asked, LONGEST, *questions), 5)
        return answer.source, answer.total.calls

    file.open()
    file.reset("life")
    file.apply([commit(1, bills(0, 1, 9)[0])])
    assert answered() == ("rollups", 1)
    file.apply([commit(2, bills(1, 1, 9)[0])], more=True)
    assert answered() == ("calls", 2)
    file.apply([commit(3, bills(2, 1, 9)[0])])
    assert answered() == ("rollups", 3)
    file.apply([commit(4, bills(3, 1, 9)[0])], more=True)
    file.settle()
    assert answered() == ("rollups", 4)
    file.close()


@given(st.integers(0, 40 * DAY), st.integers(1, 40 * DAY))
def test_pieces_cover_a_span_and_are_whole(since: int, length: int):
    found = sorted(pieces(since, since + length))

    assert [found[0].since, *(one.until for one in found)] == [
        *(one.since for one in found),
        since + length,
    ]
    for one in found:
        assert not one.width or one.since % one.width == one.until % one.width == 0
        assert one.width == DAY or one.until - one.since < 2 * (DAY if one.width else HOUR)


def test_a_cube_is_found_for_names_it_tells_apart():
    assert cube_for([]) == cube_for(["model"]) == CUBES[0]
    assert cube_for(["model", "agent"]) == CUBES[2]
    assert cube_for(["user"]) == CUBES[3]
    assert cube_for(["user", "agent"]) is None
