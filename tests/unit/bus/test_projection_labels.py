"""Rows are found by any of their labels, and by when they are from, without a scan."""

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.projection import Change, Table, TableQuery

THINGS = Table(
    name="thing",
    key=("number",),
    columns=("colour", "at", "labels"),
    fixed=("at", "labels"),
    newest="at",
    filters=(("colour",),),
    counted=("colour",),
    labels="labels",
)
labels_ = st.none() | st.dictionaries(st.sampled_from("pq"), st.sampled_from("12"), min_size=1)
things = st.lists(
    st.tuples(
        st.sampled_from(("acme", "bolt")),
        st.integers(0, 9).map(str),
        st.sampled_from(("red", "blue")),
        st.integers(0, 4),
        labels_,
    ),
    max_size=25,
)
Thing = tuple[str, str, str, int, dict[str, str] | None]


@contextmanager
def filled(given_: list[Thing]) -> Generator[tuple[sqlite3.Connection, list[Thing]]]:
    """Insert things, each in place of the one before it of its name; return those that are left."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as rows:
        rows.executescript(THINGS.sql)
        left: dict[tuple[str, str], Thing] = {}
        for thing in given_:
            before = THINGS.known(rows, [thing[:2]]).get(thing[:2])
            text = json.dumps(thing[4]) if thing[4] is not None else None
            if before is not None:
                THINGS.write(rows, [Change(before, None)])
            THINGS.write(rows, [Change(None, (*thing[:4], text))])
            left[thing[:2]] = thing
        yield rows, sorted(left.values(), key=lambda each: (each[3], each[1]), reverse=True)


def found(rows: sqlite3.Connection, query: TableQuery) -> tuple[list[Any], int | None]:
    """Walk all pages."""
    page = THINGS.page(rows, "acme", query)
    numbers = [row["number"] for row in page.rows]
    while page.cursor is not None:
        page = THINGS.page(rows, "acme", query._replace(cursor=page.cursor))
        numbers += [row["number"] for row in page.rows]
    return numbers, page.total


@settings(max_examples=60)
@given(things, st.integers(1, 3))
def test_labels_times_and_filters_together_find_what_has_all_of_them(
    given_: list[Thing], limit: int
):
    spans = ((None, None), (1, None), (None, 3), (1, 3))
    with filled(given_) as (rows, left):
        for labels, colour, (since, until) in product(
            ({}, {"p": "1"}, {"p": "1", "q": "2"}), (None, "red"), spans
        ):
            query = TableQuery({"colour": colour}, limit, labels=labels, since=since, until=until)
            wanted = [
                number
                for tenant, number, its, at, own in left
                if tenant == "acme"
                and colour in (None, its)
                and labels.items() <= (own or {}).items()
                and (since is None or at >= since)
                and (until is None or at < until)
            ]
            assert found(rows, query) == (wanted, len(wanted))


def test_of_several_labels_the_rarest_leads_and_nothing_is_sorted():
    given_: list[Thing] = [
        ("acme", str(number), "red", number, {"p": "1", "q": "2" if number % 30 else "1"})
        for number in range(90)
    ]
    with filled(given_) as (rows, _):
        statements: list[str] = []
        rows.set_trace_callback(statements.append)
        query = TableQuery({}, 5, cursor="75.1", labels={"p": "1", "q": "1"}, since=1, until=80)
        assert THINGS.page(rows, "acme", query).total == 2
        rows.set_trace_callback(None)
        [page] = [each for each in statements if "ORDER BY" in each]
        plan = [step[3] for step in rows.execute(f"EXPLAIN QUERY PLAN {page}")]
        assert "label = 'q' AND l.value = '1'" in page.replace("l.label", "label")
        assert all("SCAN" not in step and "B-TREE" not in step for step in plan)
        assert "AND (at,number)<(?,?))" in plan[0]


def test_a_row_without_labels_writes_none_and_a_row_that_goes_leaves_none():
    with filled([("acme", "1", "red", 1, None), ("acme", "2", "red", 2, {"p": "1"})]) as (rows, _):
        count = "SELECT count(*) FROM thing_label"
        assert rows.execute(count).fetchone() == (1,)
        keys = [("acme", "1"), ("acme", "2")]
        for row in THINGS.known(rows, keys).values():
            THINGS.write(rows, [Change(row, None)])
        assert rows.execute(count).fetchone() == (0,)
