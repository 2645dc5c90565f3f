"""A report as SQL over rollups and the rows of calls, and its lines out of what that finds. Pure.

Rollups answer what groups and filters by the names of one of their cubes. All else is answered from
the calls, and so are percentiles.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple, get_args

from actors.pricing.core.periods import Period, TimeSpan
from actors.pricing.core.rollups import AMOUNTS, NOBODY, Cube, cube_for, pieces
from schemas.reports import (
    CostLine,
    CostReport,
    GroupBy,
    RecommendSavings,
    ReportCosts,
    TimeUnit,
    Totals,
    Trend,
)
from schemas.usage import COUNTS, Usage

TIME_UNITS: frozenset[GroupBy] = frozenset(get_args(TimeUnit))
FILTERS = {
    "user": "user",
    "project": "project",
    "agent_id": "agent",
    "provider": "provider",
    "model": "model",
}
"""Fields of a question and the columns they fix."""

MILLION = 1_000_000
DAYS_AHEAD = 30
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PERCENTS = (50, 95)

_EACH_PERIOD = (
    "FROM (SELECT json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS number,"
    " json_extract(value, '$[2]') AS since, json_extract(value, '$[3]') AS until,"
    " json_extract(value, '$[4]') AS width"
    " FROM json_each(?)) AS period"
)
_SUMS = tuple(f"coalesce(sum({amount}), 0)" for amount in AMOUNTS.values())
_EXECUTIONS = "count(DISTINCT execution)"
_ROLLED_SUMS = tuple(f"coalesce(sum({name}), 0)" for name in AMOUNTS)
_ROLLED_EXECUTIONS = "coalesce(sum(executions), 0) + count(DISTINCT execution)"
_NO_AMOUNTS = ("0",) * len(AMOUNTS)


class ReportQuery(NamedTuple):
    """A statement and its values."""

    statement: str
    values: tuple[Any, ...]


class ReportQuestion(NamedTuple):
    """The statements of a report: sums of each group and of all, and what each call has cost.

    ``costs`` is None where rollups answer.
    """

    groups: ReportQuery | None
    costs: ReportQuery | None
    total: ReportQuery
    before: ReportQuery | None


class FoundCosts(NamedTuple):
    """What the statements of a question have found, in their order."""

    groups: Iterable[tuple[Any, ...]]
    costs: Iterable[tuple[Any, ...]]
    total: Iterable[tuple[Any, ...]]
    before: Iterable[tuple[Any, ...]]


def question(
    tenant: str, asked: ReportCosts, span: TimeSpan, periods: Sequence[Period] | None
) -> ReportQuestion:
    """Return the statements that answer a question; ``periods`` are those of its unit of time."""
    names = [name for name in asked.group_by if name not in TIME_UNITS]
    columns = [*(["period.name", "period.number"] if periods is not None else []), *names]
    source = _source(tenant, asked, span, periods)
    everything = _source(tenant, asked, span, None)
    return ReportQuestion(
        groups=_sums(columns, source) if columns else None,
        costs=_costs(columns, source),
        total=_sums([], everything),
        before=_sums([], _source(tenant, asked, span.before(), None)) if asked.trend else None,
    )


def from_rollups(
    tenant: str, asked: ReportCosts, span: TimeSpan, periods: Sequence[Period] | None
) -> ReportQuestion | None:
    """Return the statements that answer a question from rollups; None if that is impossible."""
    names = [name for name in asked.group_by if name not in TIME_UNITS]
    cube = cube_for({*names, *_fixed(asked)})
    if asked.percentiles or cube is None:
        return None
    timed = ["name", "number"] if periods is not None else []
    parts = periods if periods is not None else [Period("", 0, *span)]

    def sums(columns: Sequence[str], parts: Sequence[Period]) -> ReportQuery:
        return _rolled(columns, _rolled_source(tenant, asked, cube, parts))

    before = [Period("", 0, *span.before())]
    return ReportQuestion(
        groups=sums([*timed, *names], parts) if asked.group_by else None,
        costs=None,
        total=sums([], [Period("", 0, *span)]),
        before=sums([], before) if asked.trend else None,
    )


def report(asked: ReportCosts, span: TimeSpan, found: FoundCosts) -> CostReport:
    """Put a report together: by time where it is grouped by time, else the dearest first.

    An execution in two lines of the rest is counted twice there, and percentiles of it are lost.
    """
    is_timed = any(name in TIME_UNITS for name in asked.group_by)
    width = len(asked.group_by) + is_timed
    percentiles, all_percentiles = _ranked(found.costs, width)
    rows = sorted(found.groups, key=lambda row: (row[1] if is_timed else 0, -_cost(row[width:])))
    lines = [
        CostLine(
            group=_named(asked, row[:width]),
            totals=_totals(row[width:], percentiles.get(row[:width], {})),
        )
        for row in rows[: asked.limit]
    ]
    cut = [row[width:] for row in rows[asked.limit :]]
    total = _totals(next(iter(found.total)), all_percentiles)
    before = next(iter(found.before), None)
    return CostReport(
        since=span.since,
        until=span.until,
        time_zone=asked.time_zone,
        group_by=asked.group_by,
        lines=lines,
        total=total,
        rest=_totals([sum(column) for column in zip(*cut, strict=True)], {}) if cut else None,
        trend=trend(total, _totals(before, {}), span) if before else None,
    )


def trend(now: Totals, previous: Totals, span: TimeSpan) -> Trend:
    """Compare a span with the one before it."""
    change = now.cost_pico - previous.cost_pico
    microseconds = (span.until - span.since) // timedelta(microseconds=1)
    day = _DAY // timedelta(microseconds=1)
    return Trend(
        previous=previous,
        change_pico=change,
        change=change / previous.cost_pico if previous.cost_pico else None,
        daily_pico=now.cost_pico * day // microseconds,
        forecast_30d_pico=now.cost_pico * day * DAYS_AHEAD // microseconds,
    )


# Statements


def _source(
    tenant: str,
    asked: ReportCosts,
    span: TimeSpan,
    periods: Sequence[Period] | None,
) -> ReportQuery:
    """Return the calls of a span, each with its period where there are periods.

    A cross join keeps its order in SQLite: for each period a range of the index is read.
    """
    where, values = conditions(tenant, asked)
    if periods is None:
        since, until = map(_micros, span)
        return ReportQuery(
            f"FROM call WHERE {where} AND at >= ? AND at < ?", (*values, since, until)
        )
    listed = [(one.name, one.order, _micros(one.since), _micros(one.until)) for one in periods]
    return ReportQuery(
        _EACH_PERIOD
        + f" CROSS JOIN call ON at >= period.since AND at < period.until WHERE {where}",
        (json.dumps(listed), *values),
    )


def conditions(tenant: str, asked: ReportCosts | RecommendSavings) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on calls that a question makes besides its span, and its values."""
    fixed = _fixed(asked)
    parts = ["tenant = ?", *(f"{column} = ?" for column in fixed)]
    return " AND ".join(parts), (tenant, *fixed.values())


def _fixed(asked: ReportCosts | RecommendSavings) -> dict[str, str]:
    """Return the columns that a question fixes, with their values."""
    return {
        column: value
        for field, column in FILTERS.items()
        if (value := getattr(asked, field)) is not None
    }


def _sums(columns: Sequence[str], source: ReportQuery) -> ReportQuery:
    return _summed(columns, (_EXECUTIONS, *_SUMS), source)


def _rolled(columns: Sequence[str], source: ReportQuery) -> ReportQuery:
    return _summed(columns, (_ROLLED_EXECUTIONS, *_ROLLED_SUMS), source)


def _summed(columns: Sequence[str], sums: Sequence[str], source: ReportQuery) -> ReportQuery:
    by = f" GROUP BY {', '.join(columns)}" if columns else ""
    what = ", ".join((*columns, *sums))
    return ReportQuery(f"SELECT {what} {source.statement}{by}", source.values)


def _rolled_source(
    tenant: str, asked: ReportCosts, cube: Cube, periods: Sequence[Period]
) -> ReportQuery:
    """Return cells, calls and the cells of wide executions of all periods, as rows of one kind."""
    cut = [(one, piece) for one in periods for piece in pieces(*map(_micros, one[2:]))]
    whole = [(one.name, one.order, *piece) for one, piece in cut if piece.width]
    edges = [(one.name, one.order, *piece) for one, piece in cut if not piece.width]
    where, values = conditions(tenant, asked)
    names = [f"nullif({name}, {NOBODY}) AS {name}" for name in cube.names]
    amounts = [f"{amount} AS {name}" for name, amount in AMOUNTS.items()]
    within = "at >= period.since AND at < period.until"
    parts = (
        (
            names,
            ("NULL AS execution", "executions", *AMOUNTS),
            whole,
            f"rollup ON cube = {cube.number} AND rollup.width = period.width AND lines > 0",
        ),
        (cube.names, ("execution", "0", *amounts), edges, "call ON true"),
        (names, ("execution", "0", *_NO_AMOUNTS), whole, "wide ON true"),
    )
    statements = [
        f"SELECT period.name AS name, period.number AS number, {', '.join((*columns, *sums))}"
        f" {_EACH_PERIOD} CROSS JOIN {table} AND {within} WHERE {where}"
        for columns, sums, _, table in parts
    ]
    listed = [(json.dumps(periods), *values) for _, _, periods, _ in parts]
    return ReportQuery(f"FROM ({' UNION ALL '.join(statements)})", tuple(chain(*listed)))


def _costs(columns: Sequence[str], source: ReportQuery) -> ReportQuery:
    """Return what lists the cost of each priced call with its group."""
    what = ", ".join((*columns, "cost"))
    priced = "provider IS NOT NULL AND cost IS NOT NULL"
    return ReportQuery(f"SELECT {what} {source.statement} AND {priced}", source.values)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


# What they find


Percentiles = dict[int, int]
"""What so many of a hundred calls cost at most."""


def _ranked(
    rows: Iterable[tuple[Any, ...]], width: int
) -> tuple[dict[tuple[Any, ...], Percentiles], Percentiles]:
    """Return the percentiles of each group and of all: costs of real calls, at nearest ranks."""
    costs: defaultdict[tuple[Any, ...], array[int]] = defaultdict(lambda: array("q"))
    for row in rows:
        costs[row[:width]].append(row[width])
    everything = chain.from_iterable(costs.values())
    return {group: _at_ranks(each) for group, each in costs.items()}, _at_ranks(everything)


def _at_ranks(costs: Iterable[int]) -> Percentiles:
    ordered = sorted(costs)
    places = {percent: -(-len(ordered) * percent // 100) - 1 for percent in _PERCENTS}
    return {percent: ordered[place] for percent, place in places.items()} if ordered else {}


def _cost(row: Sequence[int]) -> int:
    return row[1] * MILLION + row[2]


def _totals(row: Sequence[Any], percentiles: Percentiles) -> Totals:
    executions, cost, cost_rest, reported, reported_rest, disputed, disputed_rest, *rest = row
    calls, successes, unpriced, estimated, *counts = rest
    quality = "estimated" if estimated else "exact"
    return _derived(
        cost_pico=cost * MILLION + cost_rest,
        reported_pico=reported * MILLION + reported_rest,
        disputed_pico=disputed * MILLION + disputed_rest,
        calls=calls,
        executions=executions,
        successes=successes,
        unpriced_calls=unpriced,
        estimated_calls=estimated,
        usage=Usage(**dict(zip(COUNTS, counts, strict=True)), quality=quality),
        p50_pico=percentiles.get(50),
        p95_pico=percentiles.get(95),
    )


def _derived(*, usage: Usage, cost_pico: int, successes: int, **sums: Any) -> Totals:
    return Totals(
        usage=usage,
        cost_pico=cost_pico,
        successes=successes,
        cache_share=(usage.cache_read + usage.audio_cached) / usage.prompt
        if usage.prompt
        else None,
        cost_per_success_pico=cost_pico // successes if successes else None,
        **sums,
    )


def _named(asked: ReportCosts, group: tuple[Any, ...]) -> dict[str, str | None]:
    """Return the values of a group by the names asked for, in their order."""
    is_timed = any(name in TIME_UNITS for name in asked.group_by)
    others = iter(group[2:] if is_timed else group)
    return {name: group[0] if name in TIME_UNITS else next(others) for name in asked.group_by}
