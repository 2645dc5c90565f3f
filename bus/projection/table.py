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

MOST_COUNTED = 100_000
"""Rows that are counted one by one for a total; where there are more it is not told."""


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
    are kept.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    newest: str
    filters: tuple[tuple[str, ...], ...]
    counted: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The statements that create the table, its indexes and its counts."""
        key, columns = ", ".join(("tenant", *self.key)), ", ".join(self._all)
        table = f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID;"
        indexes = "".join(map(self._index, ((), *self.filters)))
        return table + indexes + self._counting()

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
            f"SELECT {', '.join(self._all)} FROM {matching}{place[0]} "  # noqa: S608
            f"ORDER BY {order} LIMIT ? OFFSET ?",
            (*values, *place[1], query.limit + 1, query.offset),
        ).fetchall()
        total = self._total(rows, tenant, where, matching)
        named = [dict(zip(self._all, row, strict=True)) for row in found[: query.limit]]
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
