"""Crontabs with time zones: when a time comes next. Pure, but for the zones' files.

Where clocks change, the rules are those of Debian's cron: a fixed time that is skipped comes at the
moment of the change, and one that would come twice comes the first time. What is to come in every
minute or every hour, so that its minute or hour begins with a star, goes by elapsed time.
"""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from schemas.problems import Problem

FIELDS = 5
_MOST_TIES = 200
"""More fixed times than these lie in no hour that clocks skip or repeat."""


class CalendarError(Exception):
    """There is no next time. ``field`` is the part that is wrong: ``cron`` or ``zone``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def next_time(cron: str, zone: str, after: datetime) -> datetime:
    """Return in UTC the first time of a crontab that is later than ``after``.

    Raises:
        CalendarError: the crontab or the zone is none, or the time does not come within 50 years.
    """
    times = _times(cron, zone_of(zone), after)
    try:
        for _ in range(_MOST_TIES):
            if (found := next(times).astimezone(UTC)) > after:
                return found
    except (StopIteration, OverflowError, ValueError):
        pass
    raise CalendarError("cron", "this time never comes again")


def cron_fault(cron: str, zone: str, now: datetime, path: str) -> Problem | None:
    """Return what is wrong with a crontab and its zone, fields of ``path``; None if nothing is."""
    try:
        next_time(cron, zone, now)
    except CalendarError as error:
        return Problem(code="validation", message=error.reason, field=f"{path}.{error.field}")
    return None


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        CalendarError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        reason = f"there is no time zone {name}: names are such as Europe/Berlin"
        raise CalendarError("zone", reason) from None


def _times(cron: str, zone: ZoneInfo, after: datetime) -> CronSim:
    if len(cron.split()) != FIELDS:
        raise CalendarError("cron", f"a crontab has {FIELDS} fields: minute hour day month weekday")
    # The earlier of two readings of a repeated hour: what comes too early is passed over.
    local = after.astimezone(zone).replace(fold=0)
    try:
        return CronSim(cron, local)
    except CronSimError as error:
        raise CalendarError("cron", f"{error} in the crontab") from None
