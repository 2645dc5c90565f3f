"""Answers how to spend less, by pricing what lies in this process's copy of the costs."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from actors.pricing.adapters.reports import asked_span, asking, time_zone
from actors.pricing.core.periods import TimeSpan
from actors.pricing.core.report import conditions
from actors.pricing.core.savings import Call, Study
from bus.ports import Clock
from bus.projection import Projector
from bus.projection.file import microseconds, moment
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.pricing.prices import Prices, RateTerms
from schemas.reports import Recommendations, RecommendSavings
from schemas.usage import COUNTS, Usage

MOST_CALLS = 100_000
"""The newest that one answer looks at: some seconds of work."""

_COLUMNS = ("at", "agent", "provider", "model", "rate_row", "variant", "batch", "region", "held")


class Savings:
    """Answers ``pricing.recommend``. ``prices`` is the book in force."""

    def __init__(self, costs: Projector, prices: Callable[[], Prices], clock: Clock) -> None:
        self._costs = costs
        self._prices = prices
        self._clock = clock

    @answers(RecommendSavings)
    async def recommend(self, caller: Caller, asked: RecommendSavings) -> Recommendations:
        """Recommend how to spend less. Raises as ``Reports.report`` does."""
        span = asked_span(asked.since, asked.until, time_zone(asked.time_zone), self._clock)
        study = partial(_studied, caller.tenant, asked, span, self._prices(), self._clock())
        answer = await asking(self._costs, study, fresh=asked.fresh)
        return msgspec.structs.replace(answer.value, behind_commits=answer.behind_commits)


def _studied(
    tenant: str,
    asked: RecommendSavings,
    span: TimeSpan,
    prices: Prices,
    now: datetime,
    rows: sqlite3.Connection,
) -> Recommendations:
    where, values = conditions(tenant, asked)
    source = f"FROM call WHERE {where} AND at >= ? AND at < ? AND provider IS NOT NULL"
    values = (*values, microseconds(span.since), microseconds(span.until))
    (many,) = rows.execute(f"SELECT count(*) {source}", values).fetchone()
    columns = ", ".join((*_COLUMNS, *COUNTS))
    newest = f"SELECT {columns} {source} ORDER BY at DESC LIMIT {MOST_CALLS}"
    study = Study(prices, now)
    calls = study.repriced(_call(*row) for row in rows.execute(newest, values))
    return Recommendations(
        since=span.since,
        until=span.until,
        book_id=prices.book_id,
        examined_calls=len(calls),
        skipped_calls=many - len(calls),
        cost_pico=sum(one.price.cost for one in calls),
        recommendations=study.recommendations(calls),
    )


def _call(
    at: int,
    agent: str | None,
    provider: str,
    model: str,
    rate_row: str | None,
    *rest: Any,
) -> Call:
    """Return a call; what it was priced by says better than names what it was."""
    variant, batch, region, held, *counts = rest
    if rate_row:
        provider, _, model = rate_row.partition("/")
    terms = RateTerms(provider, model, variant, bool(batch), region or "")
    return Call(moment(at), agent, terms, Usage(**dict(zip(COUNTS, counts, strict=True))), held)
