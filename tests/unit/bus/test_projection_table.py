"""Pages of a table: right for any filters, whole when they are walked, and never a scan."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.projection import Change, Row, Table, TableQuery, table

COLOURS = ("red", "blue", None)
THINGS = Table(
    name="thing",
    key=("place", "number"),
    columns=("colour", "owner", "at"),
    newest="at",
    filters=(("colour",), ("owner",), ("owner", "colour")),
    counted=("colour", "place"),
)
rows_ = st.tuples(
    st.sampled_from(("acme", "bolt")),
    st.sampled_from("xy"),
    st.sampled_from("123"),
    st.sampled_from(COLOURS),
    st.sampled_from(("ann", "bob", None)),
    st.integers(0, 3),
)
steps = st.lists(st.tuples(st.booleans(), rows_), max_size=40)


@contextmanager
def opened() -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as rows:
        rows.executescript(THINGS.sql)
        yield rows


def put(rows: sqlite3.Connection, row: Row) -> None:
    THINGS.write(rows, [Change(None, row)])


def played(rows: sqlite3.Connection, changes: list[tuple[bool, Any]]) -> list[tuple[Any, ...]]:
    """Make the changes, many at a time; return the rows as they have to be, newest first."""
    model: dict[Row, Row] = {}
    together: dict[Row, Change] = {}
    for stays, row in changes:
        key = row[:3]
        if key in together:
            THINGS.write(rows, list(together.values()))
            together = {}
        before, after = model.pop(key, None), row if stays else None
        if after is not None:
            model[key] = after
        together[key] = Change(before, after)
    THINGS.write(rows, list(together.values()))
    assert THINGS.known(rows, [*model, ("acme", "x", "none")]) == model
    return sorted(model.values(), key=lambda row: (row[5], row[1], row[2]), reverse=True)


def test_as_many_rows_as_are_written_by_one_statement_and_one_more_are_all_there():
    for count in (
        1,
        table.WRITTEN_AT_ONCE - 1,
        table.WRITTEN_AT_ONCE,
        2 * table.WRITTEN_AT_ONCE + 1,
    ):
        with opened() as rows:
            made = [("acme", "x", str(number), "red", None, number) for number in range(count)]
            THINGS.write(rows, [Change(None, row) for row in made])
            again = [Change(row, (*row[:3], "blue", *row[4:])) for row in made]
            THINGS.write(rows, again)
            assert [change.after for change in again] == list(
                THINGS.known(rows, [row[:3] for row in made]).values()
            )
            assert THINGS.counts(rows, "acme", {"colour": "blue"}) == [("blue", "x", count)]


def test_a_fixed_column_stays_as_it_was_written_first():
    fixed = Table(name="f", key=("k",), columns=("a", "b"), newest="b", filters=(), fixed=("a",))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as rows:
        rows.executescript(fixed.sql)
        for row in (("acme", "1", "x", 1), ("acme", "1", "y", 2)):
            fixed.write(rows, [Change(None, row)])
        assert fixed.known(rows, [("acme", "1")]) == {("acme", "1"): ("acme", "1", "x", 2)}


@settings(max_examples=60)
@given(steps, st.integers(0, 5), st.integers(1, 4))
def test_any_filters_find_all_rows_that_match_newest_first(
    changes: list[tuple[bool, Any]], offset: int, limit: int
):
    with opened() as rows:
        model = played(rows, changes)
        for colour, owner, place in product((*COLOURS,), ("ann", None), ("x", None)):
            wanted = [
                row
                for row in model
                if row[0] == "acme"
                and colour in (None, row[3])
                and owner in (None, row[4])
                and place in (None, row[1])
            ]
            where = {"colour": colour, "owner": owner, "place": place}
            page = THINGS.page(rows, "acme", TableQuery(where, limit, offset))
            assert [tuple(row.values()) for row in page.rows] == wanted[offset : offset + limit]
            assert page.total == len(wanted)
            assert (page.cursor is not None) == (len(wanted) > offset + limit)


@settings(max_examples=60)
@given(steps, st.integers(1, 4))
def test_pages_by_cursor_show_each_row_once_though_others_are_added(
    changes: list[tuple[bool, Any]], limit: int
):
    with opened() as rows:
        model = [row for row in played(rows, changes) if row[0] == "acme"]
        seen: list[tuple[Any, ...]] = []
        cursor = None
        for number in range(100):
            page = THINGS.page(rows, "acme", TableQuery({}, limit, cursor=cursor))
            seen.extend(tuple(row.values()) for row in page.rows)
            put(rows, ("acme", "new", str(number), "red", "ann", 9 + number))
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == model


def test_every_filter_goes_by_an_index_and_sorts_nothing():
    with opened() as rows:
        statements: list[str] = []
        rows.set_trace_callback(statements.append)
        for names in ((), ("colour",), ("owner",), ("colour", "owner")):
            THINGS.page(rows, "acme", TableQuery(dict.fromkeys(names, "x"), 5, cursor="3.x.1"))
        rows.set_trace_callback(None)
        pages = [each for each in statements if "ORDER BY" in each]
        assert len(pages) == 4
        for statement in pages:
            plan = " ".join(step[3] for step in rows.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert "USING" in plan
            assert "INDEX" in plan
            assert "B-TREE" not in plan


def test_where_rows_are_too_many_to_be_counted_there_is_no_total(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(table, "MOST_COUNTED", 3)
    with opened() as rows:
        for number in range(5):
            put(rows, ("acme", "x", str(number), "red", "ann" if number < 3 else "bob", number))
            put(rows, ("acme", "y", str(number), "red", "bob", number))
        assert THINGS.page(rows, "acme", TableQuery({"owner": "ann"}, 2)).total == 3
        assert THINGS.page(rows, "acme", TableQuery({"owner": "bob"}, 2)).total is None
        assert THINGS.page(rows, "acme", TableQuery({"colour": "red"}, 2)).total == 10


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.x", "1.x.1.2", "-1.x.1", "9" * 19 + ".x.1"])
def test_what_is_no_cursor_is_refused(cursor: str):
    with opened() as rows, pytest.raises(ValueError, match="cursor"):
        THINGS.page(rows, "acme", TableQuery({}, 2, cursor=cursor))
