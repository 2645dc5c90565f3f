"""The windows of budgets: hours, days, weeks and months of a time zone. Pure.

A window is a part of its account's key, so the next one begins by being asked for, without a reset.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple, assert_never

from schemas.budgets import WindowKind

HOUR = timedelta(hours=1)


class BudgetWindow(NamedTuple):
    """From ``start`` until before ``end``, in UTC; both are None where it never ends."""

    label: str
    start: datetime | None
    end: datetime | None


def window_at(kind: WindowKind, at: datetime, zone: tzinfo) -> BudgetWindow:
    """Return the window that a moment lies in.

    A day is as long as the zone has it: 23 or 25 hours where its clocks change.
    """
    return window_of(kind, minute_of(at), zone)


def minute_of(at: datetime) -> int:
    """Return the minutes from 1970 to a moment."""
    return int(at.timestamp() // 60)


@lru_cache(maxsize=4096)
def window_of(kind: WindowKind, minute: int, zone: tzinfo) -> BudgetWindow:
    """Return the window of a minute since 1970: no zone changes its clocks within one."""
    at = datetime.fromtimestamp(minute * 60, UTC)
    today = at.astimezone(zone).date()
    match kind:
        case "hourly":
            return _hour(at, zone)
        case "daily":
            return _dates(today.isoformat(), today, today + timedelta(days=1), zone)
        case "weekly":
            monday = today - timedelta(days=today.weekday())
            return _dates(f"{monday:%G-W%V}", monday, monday + timedelta(days=7), zone)
        case "monthly":
            first = today.replace(day=1)
            following = (first + timedelta(days=31)).replace(day=1)
            return _dates(f"{first:%Y-%m}", first, following, zone)
        case "total":
            return BudgetWindow("total", None, None)
        case _:
            assert_never(kind)


def _hour(at: datetime, zone: tzinfo) -> BudgetWindow:
    """Return an hour; named in UTC, because a zone's own name of it may come twice a year."""
    local = at.astimezone(zone)
    start = at.astimezone(UTC) - timedelta(minutes=local.minute)
    return BudgetWindow(f"{start:%Y-%m-%dT%H%MZ}", start, start + HOUR)


def _dates(label: str, first: date, following: date, zone: tzinfo) -> BudgetWindow:
    return BudgetWindow(label, _midnight(first, zone), _midnight(following, zone))


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
