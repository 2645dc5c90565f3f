"""A report as SQL over the rows of calls, and its lines out of what that finds. Pure.

Sums of money are taken in two parts, millions of pico-dollars and the rest, because a sum of SQLite
ends at 2**63, some nine million dollars.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import chain
from typing import Any, NamedTuple, get_args

from actors.pricing.core.periods import Period, Span
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
    "coalesce(sum(disputed / 1000000), 0)",
    "coalesce(sum(disputed % 1000000), 0)",
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
    """The statements of a report: sums of each group and of all, and what each call has cost."""

    groups: Query | None
    costs: Query
    total: Query
    before: Query | None


class Found(NamedTuple):
    """What the statements of a question have found, in their order."""

    groups: Iterable[tuple[Any, ...]]
    costs: Iterable[tuple[Any, ...]]
    total: Iterable[tuple[Any, ...]]
    before: Iterable[tuple[Any, ...]]


def question(
    tenant: str, asked: ReportCosts, span: Span, periods: Sequence[Period] | None
) -> Question:
    """Return the statements that answer a question; ``periods`` are those of its unit of time."""
    names = [name for name in asked.group_by if name not in TIME_UNITS]
    columns = [*(["period.name", "period.number"] if periods is not None else []), *names]
    source = _source(tenant, asked, span, periods)
    everything = _source(tenant, asked, span, None)
    return Question(
        groups=_sums(columns, source) if columns else None,
        costs=_costs(columns, source),
        total=_sums([], everything),
        before=_sums([], _source(tenant, asked, span.before(), None)) if asked.trend else None,
    )


def report(asked: ReportCosts, span: Span, found: Found) -> CostReport:
    """Put a report together: by time where it is grouped by time, else the dearest first."""
    is_timed = any(name in TIME_UNITS for name in asked.group_by)
    width = len(asked.group_by) + is_timed
    percentiles, all_percentiles = _ranked(found.costs, width)
    groups = [
        (row[:width], _totals(row[width:], percentiles.get(row[:width], {})))
        for row in found.groups
    ]
    groups.sort(key=lambda group: (group[0][1] if is_timed else 0, -group[1].cost_pico))
    lines = [CostLine(group=_named(asked, group), totals=totals) for group, totals in groups]
    cut = [line.totals for line in lines[asked.limit :]]
    total = _totals(next(iter(found.total)), all_percentiles)
    before = next(iter(found.before), None)
    return CostReport(
        since=span.since,
        until=span.until,
        time_zone=asked.time_zone,
        group_by=asked.group_by,
        lines=lines[: asked.limit],
        total=total,
        rest=reduce(added, cut) if cut else None,
        trend=trend(total, _totals(before, {}), span) if before else None,
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
        disputed_pico=one.disputed_pico + other.disputed_pico,
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
    where, values = conditions(tenant, asked)
    if periods is None:
        since, until = map(_micros, span)
        return Query(f"FROM call WHERE {where} AND at >= ? AND at < ?", (*values, since, until))
    listed = [(one.name, one.order, _micros(one.since), _micros(one.until)) for one in periods]
    return Query(
        _EACH_PERIOD
        + f" CROSS JOIN call ON at >= period.since AND at < period.until WHERE {where}",
        (json.dumps(listed), *values),
    )


def conditions(tenant: str, asked: ReportCosts | RecommendSavings) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on calls that a question makes besides its span, and its values."""
    fixed = {
        column: value
        for field, column in FILTERS.items()
        if (value := getattr(asked, field)) is not None
    }
    parts = ["tenant = ?", *(f"{column} = ?" for column in fixed)]
    return " AND ".join(parts), (tenant, *fixed.values())


def _sums(columns: Sequence[str], source: Query) -> Query:
    by = f" GROUP BY {', '.join(columns)}" if columns else ""
    what = ", ".join((*columns, *_SUMS))
    return Query(f"SELECT {what} {source.statement}{by}", source.values)


def _costs(columns: Sequence[str], source: Query) -> Query:
    """Return what lists the cost of each priced call with its group."""
    what = ", ".join((*columns, "cost"))
    priced = "provider IS NOT NULL AND cost IS NOT NULL"
    return Query(f"SELECT {what} {source.statement} AND {priced}", source.values)


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


def _totals(row: Sequence[Any], percentiles: Percentiles) -> Totals:
    cost, cost_rest, reported, reported_rest, disputed, disputed_rest, *rest = row
    calls, executions, successes, unpriced, estimated, *counts = rest
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
