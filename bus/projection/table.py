"""A table of which lists show pages: by filters, newest first, with exact totals or none.

Each row belongs to a tenant, and no statement is about two of them. A page costs what is on it:
there is an index for each set of filters, and triggers count the rows by the columns of which there
are few values. Pure: it makes SQL, and reads rows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bus.projection.definition import Rows

_NUMBER = re.compile(r"[0-9]{1,18}")

RARE = 1000
"""Rows of a label that are counted to see which of several is the rarest."""

MOST_COUNTED = 100_000
"""Rows that are counted one by one for a total; where there are more it is not told."""


class Query(NamedTuple):
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


class Page(NamedTuple):
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
    are kept. ``labels`` is the column, if there is one, with the labels of a row by which it is
    found as well: a JSON object of texts, or NULL. They never change.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    newest: str
    filters: tuple[tuple[str, ...], ...]
    counted: tuple[str, ...] = ()
    labels: str = ""

    @property
    def sql(self) -> str:
        """The statements that create the table, its indexes and its counts."""
        key, columns = ", ".join(("tenant", *self.key)), ", ".join(self._all)
        table = f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID;"
        indexes = "".join(map(self._index, ((), *self.filters)))
        return table + indexes + self._counting() + self._labelling()

    def page(self, rows: Rows, tenant: str, query: Query) -> Page:
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
        columns = ", ".join(f"r.{column}" for column in self._all)
        order = ", ".join(f"{column} DESC" for column in found.order)
        shown = rows.execute(
            f"SELECT {columns} FROM {found.sql}{place[0]} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
            (*found.values, *place[1], query.limit + 1, query.offset),
        ).fetchall()
        total = self._total(rows, tenant, query, every)
        named = [dict(zip(self._all, row, strict=True)) for row in shown[: query.limit]]
        more = len(shown) > query.limit
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
    def _all(self) -> tuple[str, ...]:
        return ("tenant", *self.key, *self.columns)

    @property
    def _order(self) -> tuple[str, ...]:
        return (self.newest, *self.key)

    def _index(self, filters: tuple[str, ...]) -> str:
        columns = ", ".join(dict.fromkeys(("tenant", *filters, *self._order)))
        return f"CREATE INDEX {self._index_name(filters)} ON {self.name} ({columns});"

    def _index_name(self, filters: tuple[str, ...]) -> str:
        return "_by_".join((self.name, *(filters or ("age",))))

    def _serving(self, where: Mapping[str, Any]) -> str:
        serving = [each for each in self.filters if where.keys() >= set(each)]
        return self._index_name(max(serving, key=len, default=()))

    def _matching(self, rows: Rows, tenant: str, query: Query) -> _Matching:
        """Return the rows that a query means, by the index that serves it best."""
        where = _given(query)
        labels = self._by_rarity(rows, tenant, query.labels)
        if labels:
            joined = " AND ".join(f"r.{column} = l.{column}" for column in ("tenant", *self.key))
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

    def _total(self, rows: Rows, tenant: str, query: Query, found: _Matching) -> int | None:
        where, narrows = _given(query), (query.since, query.until) != (None, None)
        if self.counted and where.keys() <= set(self.counted) and not (query.labels or narrows):
            kept = f"SELECT ifnull(sum(n), 0) FROM {self.name}_count WHERE {_equal(where)}"  # noqa: S608
            return rows.execute(kept, (tenant, *where.values())).fetchone()[0]
        counting = f"SELECT count(*) FROM (SELECT 1 FROM {found.sql} LIMIT ?)"  # noqa: S608
        count: int = rows.execute(counting, (*found.values, MOST_COUNTED + 1)).fetchone()[0]
        return count if count <= MOST_COUNTED else None

    def _labelling(self) -> str:
        """Keep the labels of rows by triggers; a row without any costs nothing."""
        if not self.labels:
            return ""
        table, key = f"{self.name}_label", ", ".join(self._order)
        columns = f"tenant, label, value, {key}"
        values = ", ".join(f"{{0}}.{column}" for column in self._order)
        of = f"SELECT {{0}}.tenant, key, value, {values} FROM json_each({{0}}.{self.labels})"  # noqa: S608
        when = f"WHEN {{0}}.{self.labels} IS NOT NULL BEGIN"
        return (
            f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID;"  # noqa: S608
            f"CREATE TRIGGER {table}_more AFTER INSERT ON {self.name} {when.format('new')} "
            f"INSERT INTO {table} {of.format('new')}; END;"
            f"CREATE TRIGGER {table}_less AFTER DELETE ON {self.name} {when.format('old')} "
            f"DELETE FROM {table} WHERE ({columns}) IN ({of.format('old')}); END;"
        )

    def _counting(self) -> str:
        """Count rows by triggers, so that no way of changing them can leave the counts behind."""
        if not self.counted:
            return ""
        key = ", ".join(("tenant", *self.counted))
        more, less = self._step("new", 1), self._step("old", -1)
        changed = ", ".join(self.counted)
        differ = " OR ".join(f"new.{column} IS NOT old.{column}" for column in self.counted)
        return (
            f"CREATE TABLE {self.name}_count ({key}, n INTEGER NOT NULL, PRIMARY KEY ({key})) "
            "WITHOUT ROWID;"
            f"CREATE TRIGGER {self.name}_more AFTER INSERT ON {self.name} BEGIN {more}; END;"
            f"CREATE TRIGGER {self.name}_less AFTER DELETE ON {self.name} BEGIN {less}; END;"
            f"CREATE TRIGGER {self.name}_other AFTER UPDATE OF {changed} ON {self.name} "
            f"WHEN {differ} BEGIN {less}; {more}; END;"
        )

    def _step(self, row: str, step: int) -> str:
        # What has no value is counted under the empty one, because a key holds no NULL.
        values = ", ".join(f"ifnull({row}.{column}, '')" for column in ("tenant", *self.counted))
        return (
            f"INSERT INTO {self.name}_count VALUES ({values}, {step}) "  # noqa: S608
            f"ON CONFLICT DO UPDATE SET n = n + {step}"
        )

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


def _given(query: Query) -> dict[str, Any]:
    return {name: value for name, value in query.where.items() if value is not None}
