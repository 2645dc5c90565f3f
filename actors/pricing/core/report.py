"""A report as SQL over the rows of calls, and its lines out of what that finds. Pure.

Sums of money are taken in two parts, millions of pico-dollars and the rest, because a sum of SQLite
ends at 2**63, some nine million dollars.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple, get_args

from actors.pricing.core.periods import Period, Span
from schemas.reports import (
    CostLine,
    CostReport,
    GroupBy,
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
    "workflow_id": "workflow",
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
    " json_extract(value, '$[2]') AS since, json_extract(value, '$[3]') AS until"
    " FROM json_each(?)) AS period"
)
_SUMS = (
    "coalesce(sum(cost / 1000000), 0)",
    "coalesce(sum(cost % 1000000), 0)",
    "coalesce(sum(reported / 1000000), 0)",
    "coalesce(sum(reported % 1000000), 0)",
    "count(provider)",
    "count(DISTINCT execution)",
    "coalesce(sum(completed), 0)",
    "count(provider) - count(CASE WHEN provider IS NOT NULL THEN cost END)",
    "coalesce(sum(quality <> 'exact'), 0)",
    *(f"coalesce(sum({name}), 0)" for name in COUNTS),
)


class Query(NamedTuple):
    """A statement and its values."""

    statement: str
    values: tuple[Any, ...]


class Question(NamedTuple):
    """The statements of a report: sums and percentiles, of each group and of all together."""

    groups: Query
    percentiles: Query
    total: Query
    total_percentiles: Query
    before: Query | None


class Found(NamedTuple):
    """What the statements of a question have found, in their order."""

    groups: list[tuple[Any, ...]]
    percentiles: list[tuple[Any, ...]]
    total: list[tuple[Any, ...]]
    total_percentiles: list[tuple[Any, ...]]
    before: list[tuple[Any, ...]]


def question(
    tenant: str, asked: ReportCosts, span: Span, periods: Sequence[Period] | None
) -> Question:
    """Return the statements that answer a question; ``periods`` are those of its unit of time."""
    names = [name for name in asked.group_by if name not in TIME_UNITS]
    columns = [*(["period.name", "period.number"] if periods is not None else []), *names]
    source = _source(tenant, asked, span, periods)
    everything = _source(tenant, asked, span, None)
    return Question(
        groups=_sums(columns, source),
        percentiles=_percentiles(columns, source),
        total=_sums([], everything),
        total_percentiles=_percentiles([], everything),
        before=_sums([], _source(tenant, asked, span.before(), None)) if asked.trend else None,
    )


def report(asked: ReportCosts, span: Span, found: Found) -> CostReport:
    """Put a report together: by time where it is grouped by time, else the dearest first."""
    is_timed = any(name in TIME_UNITS for name in asked.group_by)
    width = len(asked.group_by) + is_timed
    costs = _by_group(found.percentiles, width)
    groups = [
        (row[:width], _totals(row[width:], costs.get(row[:width], {}))) for row in found.groups
    ]
    groups.sort(key=lambda group: (group[0][1] if is_timed else 0, -group[1].cost_pico))
    lines = [CostLine(group=_named(asked, group), totals=totals) for group, totals in groups]
    shown = lines[: asked.limit] if asked.group_by else []
    cut = [line.totals for line in lines[asked.limit :]]
    total = _totals(found.total[0], _by_group(found.total_percentiles, 0).get((), {}))
    return CostReport(
        since=span.since,
        until=span.until,
        time_zone=asked.time_zone,
        group_by=asked.group_by,
        lines=shown,
        total=total,
        rest=reduce(added, cut) if cut else None,
        trend=trend(total, _totals(found.before[0], {}), span) if found.before else None,
    )


def trend(now: Totals, previous: Totals, span: Span) -> Trend:
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


def added(one: Totals, other: Totals) -> Totals:
    """Sum what can be summed. An execution in both is counted twice; percentiles are lost."""
    names = ("cost_pico", "calls", "executions", "successes", "unpriced_calls", "estimated_calls")
    sums = {name: getattr(one, name) + getattr(other, name) for name in names}
    return _derived(
        **sums,
        reported_pico=one.reported_pico + other.reported_pico,
        usage=one.usage + other.usage,
    )


# Statements


def _source(
    tenant: str,
    asked: ReportCosts,
    span: Span,
    periods: Sequence[Period] | None,
) -> Query:
    """Return the calls of a span, each with its period where there are periods.

    A cross join keeps its order in SQLite: for each period a range of the index is read.
    """
    where, values = conditions(tenant, asked, span)
    if periods is None:
        return Query(f"FROM call WHERE {where}", values)
    listed = [(one.name, one.order, _micros(one.since), _micros(one.until)) for one in periods]
    return Query(
        _EACH_PERIOD
        + f" CROSS JOIN call ON at >= period.since AND at < period.until WHERE {where}",
        (json.dumps(listed), *values),
    )


def conditions(tenant: str, asked: ReportCosts, span: Span) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on calls that a question makes, and its values."""
    fixed = {
        column: value
        for field, column in FILTERS.items()
        if (value := getattr(asked, field)) is not None
    }
    parts = ["tenant = ?", "at >= ?", "at < ?", *(f"{column} = ?" for column in fixed)]
    values = (tenant, _micros(span.since), _micros(span.until), *fixed.values())
    return " AND ".join(parts), values


def _sums(columns: Sequence[str], source: Query) -> Query:
    by = f" GROUP BY {', '.join(columns)}" if columns else ""
    what = ", ".join((*columns, *_SUMS))
    return Query(f"SELECT {what} {source.statement}{by}", source.values)


def _percentiles(columns: Sequence[str], source: Query) -> Query:
    """Return the costs of calls at the nearest ranks: by the order of costs within each group."""
    listed = "".join(f"{column}, " for column in columns)
    names = "".join(f"g{number}, " for number in range(len(columns)))
    named = "".join(f"{column} AS g{number}, " for number, column in enumerate(columns))
    part = f"PARTITION BY {listed[:-2]} " if columns else ""
    ranks = ", ".join(f"(many * {percent} + 99) / 100" for percent in _PERCENTS)
    priced = "provider IS NOT NULL AND cost IS NOT NULL"
    inner = (
        f"SELECT {named}cost, row_number() OVER ({part}ORDER BY cost) AS place,"
        f" count(*) OVER ({part.strip()}) AS many {source.statement} AND {priced}"
    )
    statement = f"SELECT {names}place, many, cost FROM ({inner}) WHERE place IN ({ranks})"  # noqa: S608
    return Query(statement, source.values)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


# What they find


def _by_group(rows: Sequence[tuple[Any, ...]], width: int) -> dict[tuple[Any, ...], dict[int, int]]:
    """Return by group the cost at each percentile."""
    costs: dict[tuple[Any, ...], dict[int, int]] = {}
    for row in rows:
        place, many, cost = row[width:]
        for percent in _PERCENTS:
            if place == (many * percent + 99) // 100:
                costs.setdefault(row[:width], {})[percent] = cost
    return costs


def _totals(row: Sequence[Any], percentiles: dict[int, int]) -> Totals:
    cost, cost_rest, reported, reported_rest, *rest = row
    calls, executions, successes, unpriced, estimated, *counts = rest
    quality = "estimated" if estimated else "exact"
    return _derived(
        cost_pico=cost * MILLION + cost_rest,
        reported_pico=reported * MILLION + reported_rest,
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
