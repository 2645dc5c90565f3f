"""Spans of local time as spans of real time, across all changes of clocks. Pure.

A time zone is handed in. All zones are a whole number of quarter hours apart, and change their
clocks at whole quarters.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from schemas.reports import TimeUnit

DEFAULT_DAYS = 30
MOST_DAYS = 1100
MOST_DAYS_BY_HOUR = 93

QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class TimeSpan(NamedTuple):
    """From a moment up to another, which is excluded. Both are in UTC."""

    since: datetime
    until: datetime

    def before(self) -> "TimeSpan":
        """Return the span of the same length that ends where this one begins."""
        return TimeSpan(self.since - (self.until - self.since), self.since)


class Period(NamedTuple):
    """A part of a span, all of one name; ``order`` sorts the names."""

    name: str
    order: int
    since: datetime
    until: datetime


def span_of(since: str | None, until: str | None, zone: tzinfo, now: datetime) -> TimeSpan:
    """Return the span that is asked for; see ``ReportCosts``.

    Raises:
        ValueError: there is no such date, or nothing between the two.
    """
    end = _moment(until, zone) if until else now.astimezone(UTC)
    if since:
        begin = _moment(since, zone)
    else:
        begin = _midnight(end.astimezone(zone).date() - timedelta(days=DEFAULT_DAYS), zone)
    if begin >= end:
        raise ValueError("the span ends before it begins")
    if end - begin > MOST_DAYS * DAY:
        raise ValueError(f"the span is longer than {MOST_DAYS} days")
    return TimeSpan(begin, end)


def periods(span: TimeSpan, zone: tzinfo, unit: TimeUnit) -> list[Period]:
    """Cut a span into its parts of one name each, in order and without gaps.

    Raises:
        ValueError: that would be too many.
    """
    if unit in ("hour", "hour_of_day"):
        if span.until - span.since > MOST_DAYS_BY_HOUR * DAY:
            raise ValueError(f"the span is longer than {MOST_DAYS_BY_HOUR} days, too long by hours")
        steps = _quarters(span)
    else:
        steps = _days(span, zone)
    return _joined(span, steps, zone, _NAMES[unit])


def _moment(text: str, zone: tzinfo) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins; where clocks skip midnight, that is when they do so."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _quarters(span: TimeSpan) -> Iterator[datetime]:
    step = span.since - (span.since - datetime.min.replace(tzinfo=UTC)) % QUARTER
    while step < span.until:
        yield step
        step += QUARTER


def _days(span: TimeSpan, zone: tzinfo) -> Iterator[datetime]:
    day = span.since.astimezone(zone).date()
    while (begin := _midnight(day, zone)) < span.until:
        yield begin
        day += timedelta(days=1)


def _joined(
    span: TimeSpan,
    steps: Iterator[datetime],
    zone: tzinfo,
    name: Callable[[datetime], tuple[str, int]],
) -> list[Period]:
    """Join steps of one name that follow each other, within the span."""
    found: list[Period] = []
    for step in steps:
        begin = max(step, span.since)
        label, order = name(step.astimezone(zone))
        if found and found[-1].name == label:
            continue
        if found:
            found[-1] = found[-1]._replace(until=begin)
        found.append(Period(label, order, begin, span.until))
    return found


def _hour(local: datetime) -> tuple[str, int]:
    begin = local.replace(minute=0)
    return begin.isoformat(timespec="minutes"), round(local.timestamp())


def _day(local: datetime) -> tuple[str, int]:
    return f"{local:%Y-%m-%d}", local.toordinal()


def _week(local: datetime) -> tuple[str, int]:
    year, week, _ = local.isocalendar()
    return f"{year}-W{week:02}", local.toordinal()


def _month(local: datetime) -> tuple[str, int]:
    return f"{local:%Y-%m}", local.toordinal()


def _weekday(local: datetime) -> tuple[str, int]:
    return WEEKDAYS[local.weekday()], local.weekday()


def _hour_of_day(local: datetime) -> tuple[str, int]:
    return f"{local.hour:02}:00", local.hour


_NAMES: dict[TimeUnit, Callable[[datetime], tuple[str, int]]] = {
    "hour": _hour,
    "day": _day,
    "week": _week,
    "month": _month,
    "weekday": _weekday,
    "hour_of_day": _hour_of_day,
}
