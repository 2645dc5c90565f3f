"""Answers what was spent, from this process's copy of the costs."""

import sqlite3
from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from itertools import islice
from typing import TypeVar, cast
from zoneinfo import ZoneInfo

import msgspec

from actors.pricing.core import report
from actors.pricing.core.periods import Period, TimeSpan, periods, span_of
from actors.pricing.core.rollups import LACKING
from bus.errors import problem
from bus.ports import Clock
from bus.projection import ProjectionAnswer, Projector
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.reports import CostReport, ReportCosts, TimeUnit

T = TypeVar("T")

MOST_GROUPS = 20_000
"""Groups of one report: they are put together in Python, and labels are the callers' own words."""


class Reports:
    """Answers ``pricing.report``."""

    def __init__(self, costs: Projector, clock: Clock) -> None:
        self._costs = costs
        self._clock = clock

    @answers(ReportCosts)
    async def report(self, caller: Caller, asked: ReportCosts) -> CostReport:
        """Report what was spent.

        Raises:
            ProblemError: ``validation``: the span, the time zone or the groups make no sense;
                ``timeout``: the report takes too long.
            UnavailableError: the costs are not up to date, and will not be at once.
        """
        zone = time_zone(asked.time_zone)
        span = asked_span(asked.since, asked.until, zone, self._clock)
        unit = _unit(asked)
        parts = _parts(span, zone, unit) if unit else None
        rolled = report.from_rollups(caller.tenant, asked, span, parts)
        question = report.question(caller.tenant, asked, span, parts)
        answering = partial(_rolled_answer, asked, span, rolled, question)
        answer = await asking(self._costs, answering, fresh=asked.fresh)
        return msgspec.structs.replace(answer.value, behind_commits=answer.behind_commits)


def time_zone(name: str) -> tzinfo:
    """Return a time zone by its name.

    Raises:
        ProblemError: ``validation``: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise problem("validation", f"no time zone {name!r}", field="time_zone") from None


def asked_span(since: str | None, until: str | None, zone: tzinfo, clock: Clock) -> TimeSpan:
    """Return the span of a question; refuses as ``span_of`` does, with a Problem."""
    try:
        return span_of(since, until, zone, clock())
    except (ValueError, OverflowError) as error:
        raise problem("validation", str(error), field="since") from None


async def asking(
    costs: Projector, question: Callable[[sqlite3.Connection], T], *, fresh: bool
) -> ProjectionAnswer[T]:
    """Ask the projection; a question that takes too long is a ``timeout``."""
    try:
        return await costs.ask(question, fresh=fresh)
    except TimeoutError:
        raise problem("timeout", "too much for one answer: ask for a shorter span") from None


def _unit(asked: ReportCosts) -> TimeUnit | None:
    units = [name for name in asked.group_by if name in report.TIME_UNITS]
    if len(units) > 1 or len(set(asked.group_by)) < len(asked.group_by):
        message = "each group once, and at most one span of time"
        raise problem("validation", message, field="group_by")
    return cast("TimeUnit", units[0]) if units else None


def _parts(span: TimeSpan, zone: tzinfo, unit: TimeUnit) -> list[Period]:
    try:
        return periods(span, zone, unit)
    except ValueError as error:
        raise problem("validation", str(error), field="since") from None


def _rolled_answer(
    asked: ReportCosts,
    span: TimeSpan,
    rolled: report.ReportQuestion | None,
    question: report.ReportQuestion,
    rows: sqlite3.Connection,
) -> CostReport:
    """Answer from rollups, unless they cannot or lack calls of a journal that is being read."""
    if rolled is None or rows.execute(LACKING).fetchone() is not None:
        return _answer(asked, span, question, rows)
    found = _answer(asked, span, rolled, rows)
    return msgspec.structs.replace(found, source="rollups")


def _answer(
    asked: ReportCosts, span: TimeSpan, question: report.ReportQuestion, rows: sqlite3.Connection
) -> CostReport:
    """Run the statements of a question, which all see the same rows.

    Raises:
        ProblemError: ``validation``: there are too many groups to put together.
    """
    groups, *others = (rows.execute(*query) if query else () for query in question)
    few = list(islice(groups, MOST_GROUPS + 1))
    if len(few) > MOST_GROUPS:
        message = f"more than {MOST_GROUPS:,} groups: ask for a shorter span, or for fewer names"
        raise problem("validation", message, field="group_by")
    return report.report(asked, span, report.FoundCosts(few, *others))
