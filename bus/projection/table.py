"""A table of which lists show pages: by filters, newest first, with exact totals or none.

Each row belongs to a tenant, and no question is about two of them. A page costs what is on it:
there is an index for each set of filters, and the rows are counted by the columns of which there
are few values. Rows are read and written many at a time, because a statement of its own for each
costs several times as much. Pure: it makes SQL, and reads rows.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import msgspec

from bus.projection.definition import Rows

_NUMBER = re.compile(r"[0-9]{1,18}")

MOST_COUNTED = 100_000
"""Rows that are counted one by one for a total; where there are more it is not told."""

WRITTEN_AT_ONCE = 32
"""Rows of one statement: beyond that a row costs no less."""

Row = tuple[Any, ...]


class Change(NamedTuple):
    """A row before and after: there was none, or there is none any more, where one is None."""

    before: Row | None
    after: Row | None


class Query(NamedTuple):
    """Which rows: those that have these values, a filter that is None being none.

    A page begins behind ``cursor``, or behind ``offset`` rows.
    """

    where: Mapping[str, Any]
    limit: int
    offset: int = 0
    cursor: str | None = None


class Page(NamedTuple):
    """Rows, how many match in all, and the cursor behind the last row; None where that is the end.

    The total is exact, or None where it would take long.
    """

    rows: list[dict[str, Any]]
    total: int | None
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``key`` names a row within its tenant, ``newest`` is the column by which pages go.

    ``filters`` are the sets of columns that have an index, each beginning with what has to match;
    of those that serve a query the longest is taken, then the first. By ``counted`` columns totals
    are kept, so that rows are changed by ``write`` alone. ``fixed`` columns stay as a row has been
    written first, and cost nothing afterwards. A row begins with its tenant and its key.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    newest: str
    filters: tuple[tuple[str, ...], ...]
    counted: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The statements that create the table, its indexes and its counts."""
        key, columns = ", ".join(self.keys), ", ".join(self.all_columns)
        table = f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID;"
        indexes = "".join(map(self._index, ((), *self.filters)))
        counted = ", ".join(("tenant", *self.counted))
        counts = (
            f"CREATE TABLE {self.name}_count ({counted}, n INTEGER NOT NULL, "
            f"PRIMARY KEY ({counted})) WITHOUT ROWID;"
        )
        return table + indexes + (counts if self.counted else "")

    def known(self, rows: Rows, keys: Sequence[Row]) -> dict[Row, Row]:
        """Return the rows of these keys that there are, each key with its tenant."""
        found = rows.execute(_statements(self).find, (msgspec.json.encode(keys).decode(),))
        width = len(self.keys)
        return {row[:width]: row for row in found}

    def write(self, rows: Rows, changes: Sequence[Change]) -> None:
        """Make changes, at most one of each row."""
        written = [change.after for change in changes if change.after is not None]
        whole = len(written) - len(written) % WRITTEN_AT_ONCE
        for start in range(0, whole, WRITTEN_AT_ONCE):
            together = written[start : start + WRITTEN_AT_ONCE]
            rows.execute(_statements(self).put_many, [value for row in together for value in row])
        if written[whole:]:
            rows.executemany(_statements(self).put, written[whole:])
        for change in changes:
            if change.after is None and change.before is not None:
                rows.execute(_statements(self).remove, change.before[: len(self.keys)])
        if self.counted:
            self._count(rows, changes)

    def _count(self, rows: Rows, changes: Sequence[Change]) -> None:
        places = [self.all_columns.index(column) for column in ("tenant", *self.counted)]
        steps = Counter[Row]()
        for change in changes:
            for row, step in ((change.after, 1), (change.before, -1)):
                if row is not None:
                    # What has no value is counted under the empty one: a key holds no NULL.
                    steps[tuple(["" if row[at] is None else row[at] for at in places])] += step
        rows.executemany(
            _statements(self).step, [(*values, step) for values, step in steps.items() if step]
        )

    def page(self, rows: Rows, tenant: str, query: Query) -> Page:
        """Return a page.

        Raises:
            ValueError: the cursor is none of this table.
        """
        where = {name: value for name, value in query.where.items() if value is not None}
        index = self._serving(where)
        values = (tenant, *where.values())
        matching = f"{self.name} INDEXED BY {index} WHERE {_equal(where)}"
        place = "", ()
        if query.cursor is not None:
            marks = ", ".join("?" * len(self._order))
            place = f" AND ({', '.join(self._order)}) < ({marks})", self._place(query.cursor)
        order = ", ".join(f"{column} DESC" for column in self._order)
        found = rows.execute(
            f"SELECT {', '.join(self.all_columns)} FROM {matching}{place[0]} "  # noqa: S608
            f"ORDER BY {order} LIMIT ? OFFSET ?",
            (*values, *place[1], query.limit + 1, query.offset),
        ).fetchall()
        total = self._total(rows, tenant, where, matching)
        named = [dict(zip(self.all_columns, row, strict=True)) for row in found[: query.limit]]
        more = len(found) > query.limit
        return Page(named, total, self._cursor(named[-1]) if more else None)

    def counts(
        self, rows: Rows, tenant: str, where: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return how many rows a tenant has, by each combination of the counted columns."""
        where = where or {}
        columns = ", ".join(self.counted)
        found = f"SELECT {columns}, n FROM {self.name}_count WHERE {_equal(where)}"  # noqa: S608
        return rows.execute(found, (tenant, *where.values())).fetchall()

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name a row, its tenant first."""
        return ("tenant", *self.key)

    @property
    def all_columns(self) -> tuple[str, ...]:
        """All columns of a row in their order."""
        return (*self.keys, *self.columns)

    @property
    def _order(self) -> tuple[str, ...]:
        return (self.newest, *self.key)

    def _index(self, filters: tuple[str, ...]) -> str:
        # A row without a value is never asked for by it, and costs this index nothing.
        there = " AND ".join(f"{each} IS NOT NULL" for each in filters if each not in self.keys)
        columns = ", ".join(dict.fromkeys(("tenant", *filters, *self._order)))
        which = f" WHERE {there}" if there else ""
        return f"CREATE INDEX {self._index_name(filters)} ON {self.name} ({columns}){which};"

    def _index_name(self, filters: tuple[str, ...]) -> str:
        return "_by_".join((self.name, *(filters or ("age",))))

    def _serving(self, where: Mapping[str, Any]) -> str:
        serving = [each for each in self.filters if where.keys() >= set(each)]
        return self._index_name(max(serving, key=len, default=()))

    def _total(
        self, rows: Rows, tenant: str, where: Mapping[str, Any], matching: str
    ) -> int | None:
        values = (tenant, *where.values())
        if self.counted and where.keys() <= set(self.counted):
            kept = f"SELECT ifnull(sum(n), 0) FROM {self.name}_count WHERE {_equal(where)}"  # noqa: S608
            return rows.execute(kept, values).fetchone()[0]
        found = f"SELECT count(*) FROM (SELECT 1 FROM {matching} LIMIT ?)"  # noqa: S608
        count: int = rows.execute(found, (*values, MOST_COUNTED + 1)).fetchone()[0]
        return count if count <= MOST_COUNTED else None

    def _cursor(self, row: Mapping[str, Any]) -> str:
        return ".".join(str(row[column]) for column in self._order)

    def _place(self, cursor: str) -> tuple[Any, ...]:
        newest, *key = cursor.split(".")
        if len(key) != len(self.key) or not _NUMBER.fullmatch(newest):
            message = "this is no cursor of this list"
            raise ValueError(message)
        return (int(newest), *key)


def _equal(where: Mapping[str, Any]) -> str:
    return " AND ".join(f"{column} = ?" for column in ("tenant", *where))


class _Statements(NamedTuple):
    """What reads and changes the rows of a table; ``find`` takes a list of keys as JSON."""

    find: str
    put: str
    put_many: str
    remove: str
    step: str


@cache
def _statements(table: Table) -> _Statements:
    name, keys = table.name, ", ".join(table.keys)
    sought = " AND ".join(f"{key} = sought.value ->> {at}" for at, key in enumerate(table.keys))
    changing = [each for each in table.all_columns if each not in (*table.keys, *table.fixed)]
    marks = f"({', '.join('?' * len(table.all_columns))})"
    new = ", ".join(f"{column} = excluded.{column}" for column in changing)
    put = f"INSERT INTO {name} VALUES {{}} ON CONFLICT DO UPDATE SET {new}"  # noqa: S608
    counted = ", ".join("?" * (len(table.counted) + 2))
    return _Statements(
        find=f"SELECT {name}.* FROM json_each(?) AS sought CROSS JOIN {name} WHERE {sought}",  # noqa: S608
        put=put.format(marks),
        put_many=put.format(", ".join([marks] * WRITTEN_AT_ONCE)),
        remove=f"DELETE FROM {name} WHERE ({keys}) = ({', '.join('?' * len(table.keys))})",  # noqa: S608
        step=f"INSERT INTO {name}_count VALUES ({counted}) "  # noqa: S608
        "ON CONFLICT DO UPDATE SET n = n + excluded.n",
    )
