"""Sums of calls by the hour and by the day, and how a report reads them. Pure.

A rollup is a row of sums over all calls of a tenant within an hour or a day of UTC that agree in
the names of its cube. A report is put together from whole days, then whole hours, and from single
calls where its span begins or ends within an hour.

How many executions there are is no sum: one execution may have calls in several cells. Nearly all
have their calls in one cell, an hour and one value of each name of ``NAMES``; these are counted in
the rollups. Of the others, table ``wide`` has a row for each cell, and a report counts them there.
"""

# ruff: noqa: S608  statements are made of this module's own names

from collections.abc import Collection, Iterator
from typing import NamedTuple

from schemas.usage import COUNTS

HOUR = 3_600_000_000
"""Microseconds."""

DAY = 24 * HOUR

NAMES = ("user", "project", "agent", "provider", "model")
"""Of calls, by which rollups are kept."""

NOBODY = "x''"
"""Stands for NULL in a key, where each NULL would be another. No text equals it."""


class Cube(NamedTuple):
    """The names by which sums are kept together. It is made from the cube numbered ``base``."""

    number: int
    base: int
    names: tuple[str, ...]


CUBES = (
    Cube(2, 0, ("provider", "model")),
    Cube(3, 0, ("project", "agent")),
    Cube(0, 0, ("project", "agent", "provider", "model")),
    Cube(1, 1, ("user", "project")),
)
"""Those with few cells first. Of all names together there would be nearly as many as calls."""

_BASES = tuple(cube for cube in CUBES if cube.number == cube.base)

AMOUNTS = {
    "cost_millions": "cost / 1000000",
    "cost_rest": "cost % 1000000",
    "reported_millions": "reported / 1000000",
    "reported_rest": "reported % 1000000",
    "disputed_millions": "disputed / 1000000",
    "disputed_rest": "disputed % 1000000",
    "calls": "provider IS NOT NULL",
    "successes": "completed",
    "unpriced": "provider IS NOT NULL AND cost IS NULL",
    "estimated": "quality <> 'exact'",
    **{name: name for name in COUNTS},
}
"""What is summed, and what one row of ``call`` adds to it.

Money is taken in two parts, millions of pico-dollars and the rest, because a sum of SQLite ends at
2**63, some nine million dollars.
"""

_KEY = ("tenant", "cube", "width", "at", *NAMES)
_SUMS = ("executions", "lines", *AMOUNTS)
"""``lines`` are rows of ``call``: a cell without any is none, though its row stays."""

_CELL = f"at - at % {HOUR}"

TABLES = f"""
CREATE INDEX call_by_execution ON call (tenant, execution);
CREATE TABLE rollup ({", ".join((*_KEY, *_SUMS))}, PRIMARY KEY ({", ".join(_KEY)})) WITHOUT ROWID;
CREATE TABLE wide (
    tenant, at, execution, {", ".join(NAMES)},
    PRIMARY KEY (tenant, at, execution, {", ".join(NAMES)})
) WITHOUT ROWID;
CREATE INDEX wide_by_execution ON wide (tenant, execution);
CREATE TABLE rolled (through INTEGER NOT NULL);
INSERT INTO rolled VALUES (0)
"""

# Keeping them. ``touched`` has the executions whose count changes, each with its oldest row. New
# rows are found by their number alone: any index would have all rows looked at for each batch.

_TOUCHED = (
    "oldest INTEGER PRIMARY KEY, tenant, execution, lines, change DEFAULT 0, is_wide DEFAULT 0"
)
TEMPORARY = (
    f"CREATE TEMP TABLE IF NOT EXISTS delta ({', '.join((*_KEY, *_SUMS))})",
    f"CREATE TEMP TABLE IF NOT EXISTS touched ({_TOUCHED})",
)
LAST = 2**63 - 1
"""No row is behind it."""

THROUGH = "SELECT through FROM rolled"
LACKING = "SELECT 1 FROM call WHERE rowid > (SELECT through FROM rolled) LIMIT 1"
MOVE = "UPDATE rolled SET through = (SELECT coalesce(max(rowid), 0) FROM call)"

TOUCH = (
    "INSERT INTO touched (tenant, execution, oldest, lines)"
    " SELECT tenant, execution, (SELECT min(rowid) FROM call AS each"
    " WHERE each.tenant = call.tenant AND each.execution = call.execution), count(*)"
    " FROM call {} GROUP BY tenant, execution"
)
TOUCH_NEW = TOUCH.format("NOT INDEXED WHERE rowid > ?")
TOUCH_ONE = TOUCH.format("WHERE tenant = ? AND execution = ?")

_HAS_CELLS = (
    "EXISTS (SELECT 1 FROM wide WHERE wide.tenant = touched.tenant"
    " AND wide.execution = touched.execution)"
)
_APART = " OR ".join(f"call.{name} IS NOT first.{name}" for name in NAMES)
_ITS_NEW = "call.tenant = touched.tenant AND call.execution = touched.execution AND call.rowid > ?"
TAKE_OUT = f"UPDATE touched SET change = -1 WHERE oldest <= ? AND NOT {_HAS_CELLS}"
"""Those that were counted: not wide, and with a row up to ``through``."""

MARK = (
    f"UPDATE touched SET is_wide = 1 WHERE {_HAS_CELLS} OR ((lines > 1 OR oldest <= ?) AND EXISTS"
    " (SELECT 1 FROM call AS first CROSS JOIN call WHERE first.rowid = oldest"
    f" AND {_ITS_NEW} AND (call.at / {HOUR} <> first.at / {HOUR} OR {_APART})))"
)
PUT_IN = "UPDATE touched SET change = change + 1 WHERE NOT is_wide"

_CELLS = ", ".join(f"ifnull(call.{name}, {NOBODY})" for name in NAMES)
_WIDEN = (
    "INSERT OR IGNORE INTO wide"
    f" SELECT call.tenant, call.at - call.at % {HOUR}, call.execution, {_CELLS}"
    " FROM touched CROSS JOIN call ON {} WHERE is_wide"
)
WIDEN_OLDEST = _WIDEN.format("call.rowid = oldest")
WIDEN_NEW = _WIDEN.format(_ITS_NEW)
NARROW = "DELETE FROM wide WHERE tenant = ? AND execution = ?"
"""Forgets the cells of an execution, of which another one may be left."""


def _cell(cube: Cube) -> str:
    """Return the key of a call's cell, all but its tenant."""
    values = (f"ifnull({name}, {NOBODY})" if name in cube.names else NOBODY for name in NAMES)
    return f"{cube.number}, {HOUR}, {_CELL}, {', '.join(values)}"


def _by(cube: Cube) -> str:
    return f"GROUP BY call.tenant, at / {HOUR}, {', '.join(cube.names)}"


_EACH = ", ".join(f"coalesce(sum({amount}), 0)" for amount in AMOUNTS.values())
_NOTHING = ", ".join("0" for _ in AMOUNTS)
ADD_NEW = tuple(
    f"INSERT INTO delta SELECT call.tenant, {_cell(cube)}, coalesce(sum(change), 0), count(*),"
    f" {_EACH} FROM call NOT INDEXED LEFT JOIN touched ON oldest = call.rowid"
    f" WHERE call.rowid > ? {_by(cube)}"
    for cube in _BASES
)
_NEGATIVE = ", ".join(f"-coalesce({amount}, 0)" for amount in AMOUNTS.values())
SUBTRACT = tuple(
    f"INSERT INTO delta SELECT tenant, {_cell(cube)}, 0, -1, {_NEGATIVE} FROM call WHERE rowid = ?"
    for cube in _BASES
)
COUNT_OLD = tuple(
    f"INSERT INTO delta SELECT call.tenant, {_cell(cube)}, sum(change), 0, {_NOTHING}"
    f" FROM touched CROSS JOIN call ON call.rowid = oldest WHERE oldest <= ? AND change <> 0"
    f" {_by(cube)}"
    for cube in _BASES
)


def _merged(cube: Cube, width: int) -> str:
    names = ", ".join(f"{name if name in cube.names else NOBODY} AS {name}_" for name in NAMES)
    sums = ", ".join(f"sum({name})" for name in _SUMS)
    more = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    return (
        f"INSERT INTO rollup SELECT tenant, {cube.number}, {width}, at - at % {width} AS since,"
        f" {names}, {sums} FROM delta WHERE cube = {cube.base}"
        f" GROUP BY tenant, since, {', '.join(cube.names)} ON CONFLICT DO UPDATE SET {more}"
    )


MERGE = (
    *(_merged(cube, width) for cube in CUBES for width in (HOUR, DAY)),
    "DELETE FROM delta",
)
FORGET_TOUCHED = "DELETE FROM touched"

# Reading them.


class Piece(NamedTuple):
    """A part of a span, in microseconds; ``width`` of its rollups is 0 where single calls count."""

    since: int
    until: int
    width: int


def cube_for(names: Collection[str]) -> Cube | None:
    """Return the first cube that tells all these names apart, None if none does."""
    return next((cube for cube in CUBES if set(names) <= set(cube.names)), None)


def pieces(since: int, until: int, width: int = DAY) -> Iterator[Piece]:
    """Cut a span into whole days, whole hours and what is less."""
    begin, end = -(-since // width) * width, until // width * width
    smaller = HOUR if width == DAY else 0
    if begin >= end:
        begin = end = until
    for one in ((since, begin), (end, until)):
        if one[0] < one[1]:
            yield from pieces(*one, smaller) if smaller else (Piece(*one, 0),)
    if begin < end:
        yield Piece(begin, end, width)
