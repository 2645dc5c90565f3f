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

from bus.codec import decode
from bus.projection.definition import Rows

_NUMBER = re.compile(r"[0-9]{1,18}")

RARE = 1000
"""Rows of a label that are counted to see which of several is the rarest."""

MOST_COUNTED = 100_000
"""Rows that are counted one by one for a total; where there are more it is not told."""

WRITTEN_AT_ONCE = 32
"""Rows of one statement: beyond that a row costs no less."""

Row = tuple[Any, ...]


class Change(NamedTuple):
    """A row before and after: there was none, or there is none any more, where one is None."""

    before: Row | None
    after: Row | None


class TableQuery(NamedTuple):
    """Which rows: those that have these values, a filter that is None being none.

    ``labels`` are those that a row must have, and its newest column is at least ``since`` and below
    ``until``. A page begins behind ``cursor``, or behind ``offset`` rows.
    """

    where: Mapping[str, Any]
    limit: int
    offset: int = 0
    cursor: str | None = None
    labels: Mapping[str, str] = {}
    since: int | None = None
    until: int | None = None


class TablePage(NamedTuple):
    """Rows, how many match in all, and the cursor behind the last row; None where that is the end.

    The total is exact, or None where it would take long.
    """

    rows: list[dict[str, Any]]
    total: int | None
    cursor: str | None


class _Matching(NamedTuple):
    """Rows as SQL, with the values of its marks and the columns by which pages go."""

    sql: str
    values: tuple[Any, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``key`` names a row within its tenant, ``newest`` is the column by which pages go.

    ``filters`` are the sets of columns that have an index, each beginning with what has to match;
    of those that serve a query the longest is taken, then the first. By ``counted`` columns totals
    are kept, so that rows are changed by ``write`` alone. ``fixed`` columns stay as a row has been
    written first, and cost nothing afterwards. ``labels`` is the fixed column, if there is one,
    with the labels by which a row is found as well: a JSON object of texts, or NULL, which costs
    nothing. A row begins with its tenant and its key.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    newest: str
    filters: tuple[tuple[str, ...], ...]
    counted: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    labels: str = ""

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
        columns = ", ".join(("tenant", "label", "value", *self._order))
        labels = (
            f"CREATE TABLE {self.name}_label ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID;"
        )
        return table + indexes + (counts if self.counted else "") + (labels if self.labels else "")

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
        if self.labels:
            self._label(rows, changes)

    def _label(self, rows: Rows, changes: Sequence[Change]) -> None:
        """Write the labels of new rows, and remove those of rows that go."""
        at = self.all_columns.index(self.labels)
        for before, after in changes:
            row = before or after
            if row is not None and row[at] is not None and (before is None or after is None):
                sql = _statements(self).label if before is None else _statements(self).unlabel
                of = dict(zip(self.all_columns, row, strict=True))
                place = [of[column] for column in self._order]
                labels = decode(dict[str, str], row[at].encode())
                rows.executemany(sql, [(row[0], *label, *place) for label in labels.items()])

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

    def page(self, rows: Rows, tenant: str, query: TableQuery) -> TablePage:
        """Return a page.

        Raises:
            ValueError: the cursor is none of this table.
        """
        every = found = self._matching(rows, tenant, query)
        place = "", ()
        if query.cursor is not None:
            behind = self._place(query.cursor)
            if query.until is not None and behind[0] < query.until:
                # Of two bounds SQLite would begin at the outer one.
                found = self._matching(rows, tenant, query._replace(until=None))
            marks = ", ".join("?" * len(self._order))
            place = f" AND ({', '.join(found.order)}) < ({marks})", behind
        columns = ", ".join(f"r.{column}" for column in self.all_columns)
        order = ", ".join(f"{column} DESC" for column in found.order)
        shown = rows.execute(
            f"SELECT {columns} FROM {found.sql}{place[0]} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
            (*found.values, *place[1], query.limit + 1, query.offset),
        ).fetchall()
        total = self._total(rows, tenant, query, every)
        named = [dict(zip(self.all_columns, row, strict=True)) for row in shown[: query.limit]]
        more = len(shown) > query.limit
        return TablePage(named, total, self._cursor(named[-1]) if more else None)

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

    def _matching(self, rows: Rows, tenant: str, query: TableQuery) -> _Matching:
        """Return the rows that a query means, by the index that serves it best."""
        where = _given(query)
        labels = self._by_rarity(rows, tenant, query.labels)
        if labels:
            joined = " AND ".join(f"r.{column} = l.{column}" for column in self.keys)
            source = f"{self.name}_label AS l CROSS JOIN {self.name} AS r ON {joined}"
            first, row = " AND l.label = ? AND l.value = ?", "l"
        else:
            source, first, row = f"{self.name} AS r INDEXED BY {self._serving(where)}", "", "r"
        span = {f" AND {row}.{self.newest} >= ?": query.since}
        span |= {f" AND {row}.{self.newest} < ?": query.until}
        span = {sql: moment for sql, moment in span.items() if moment is not None}
        equal = "".join(f" AND r.{column} = ?" for column in where)
        same = " AND ".join(f"o.{column} = l.{column}" for column in ("tenant", *self._order))
        others = (
            f" AND EXISTS (SELECT 1 FROM {self.name}_label AS o"  # noqa: S608
            f" WHERE {same} AND o.label = ? AND o.value = ?)"
        ) * (len(labels) - 1)
        return _Matching(
            f"{source} WHERE {row}.tenant = ?{first}{''.join(span)}{equal}{others}",
            (
                tenant,
                *(labels[0] if labels else ()),
                *span.values(),
                *where.values(),
                *(part for label in labels[1:] for part in label),
            ),
            tuple(f"{row}.{column}" for column in self._order),
        )

    def _by_rarity(
        self, rows: Rows, tenant: str, labels: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Return labels, that with the fewest rows first as far as a short look tells."""
        if len(labels) < 2:  # noqa: PLR2004  one alone needs no comparing
            return list(labels.items())
        count = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self.name}_label"  # noqa: S608
            " WHERE tenant = ? AND label = ? AND value = ? LIMIT ?)"
        )
        return sorted(
            labels.items(),
            key=lambda label: rows.execute(count, (tenant, *label, RARE)).fetchone(),
        )

    def _total(self, rows: Rows, tenant: str, query: TableQuery, found: _Matching) -> int | None:
        where, narrows = _given(query), (query.since, query.until) != (None, None)
        if self.counted and where.keys() <= set(self.counted) and not (query.labels or narrows):
            kept = f"SELECT ifnull(sum(n), 0) FROM {self.name}_count WHERE {_equal(where)}"  # noqa: S608
            return rows.execute(kept, (tenant, *where.values())).fetchone()[0]
        counting = f"SELECT count(*) FROM (SELECT 1 FROM {found.sql} LIMIT ?)"  # noqa: S608
        count: int = rows.execute(counting, (*found.values, MOST_COUNTED + 1)).fetchone()[0]
        return count if count <= MOST_COUNTED else None

    def _cursor(self, row: Mapping[str, Any]) -> str:
        return ".".join(str(row[column]) for column in self._order)

    def _place(self, cursor: str) -> tuple[Any, ...]:
        newest, *key = cursor.split(".")
        if len(key) != len(self.key) or not _NUMBER.fullmatch(newest):
            message = "this is no cursor of this list"
            raise ValueError(message)
        return (int(newest), *key)


def _given(query: TableQuery) -> dict[str, Any]:
    return {name: value for name, value in query.where.items() if value is not None}


def _equal(where: Mapping[str, Any]) -> str:
    return " AND ".join(f"{column} = ?" for column in ("tenant", *where))


class _Statements(NamedTuple):
    """What reads and changes the rows of a table; ``find`` takes a list of keys as JSON."""

    find: str
    put: str
    put_many: str
    remove: str
    step: str
    label: str
    unlabel: str


@cache
def _statements(table: Table) -> _Statements:
    name, keys = table.name, ", ".join(table.keys)
    sought = " AND ".join(f"{key} = sought.value ->> {at}" for at, key in enumerate(table.keys))
    changing = [each for each in table.all_columns if each not in (*table.keys, *table.fixed)]
    marks = f"({', '.join('?' * len(table.all_columns))})"
    new = ", ".join(f"{column} = excluded.{column}" for column in changing)
    put = f"INSERT INTO {name} VALUES {{}} ON CONFLICT DO UPDATE SET {new}"  # noqa: S608
    counted = ", ".join("?" * (len(table.counted) + 2))
    labelled = ("tenant", "label", "value", table.newest, *table.key)
    label = ", ".join("?" * len(labelled))
    return _Statements(
        find=f"SELECT {name}.* FROM json_each(?) AS sought CROSS JOIN {name} WHERE {sought}",  # noqa: S608
        put=put.format(marks),
        put_many=put.format(", ".join([marks] * WRITTEN_AT_ONCE)),
        remove=f"DELETE FROM {name} WHERE ({keys}) = ({', '.join('?' * len(table.keys))})",  # noqa: S608
        step=f"INSERT INTO {name}_count VALUES ({counted}) "  # noqa: S608
        "ON CONFLICT DO UPDATE SET n = n + excluded.n",
        label=f"INSERT INTO {name}_label VALUES ({label})",  # noqa: S608
        unlabel=f"DELETE FROM {name}_label WHERE ({', '.join(labelled)}) = ({label})",  # noqa: S608
    )
