"""When a crontab's time comes next, over the days on which clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.workflow.core.calendar import CalendarError, cron_fault, next_time

Place = tuple[str, datetime]

MINUTE = timedelta(minutes=1)
CHANGES = {
    "Europe/Berlin": (
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        datetime(2026, 10, 24, 12, tzinfo=UTC),
    ),
    "America/New_York": (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)),
    "Antarctica/Troll": (
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        datetime(2026, 10, 24, 12, tzinfo=UTC),
    ),
    "Asia/Kathmandu": (datetime(2026, 5, 1, tzinfo=UTC),),
}
"""Around each moment the clocks of the zone change, or never: half-hour and two-hour steps too."""

HOURS = 24


def fixed_times(
    zone: ZoneInfo, hours: set[int], minutes: set[int], begin: datetime
) -> set[datetime]:
    """Return the moments of wall-clock times: skipped at the change, repeated once."""
    naive = begin.astimezone(zone).replace(tzinfo=None, second=0) - timedelta(hours=3)
    found: set[datetime] = set()
    for step in range((HOURS + 6) * 60):
        wall = naive + step * MINUTE
        if wall.hour in hours and wall.minute in minutes:
            while (moment := wall.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(
                tzinfo=None
            ) != wall:
                wall += MINUTE
            found.add(moment)
    return found


def elapsed_times(zone: ZoneInfo, minutes: set[int], begin: datetime) -> set[datetime]:
    moments = (begin + step * MINUTE for step in range(HOURS * 60))
    return {moment for moment in moments if moment.astimezone(zone).minute in minutes}


def walked(cron: str, zone: str, begin: datetime) -> list[datetime]:
    found, moment = list[datetime](), begin
    while (moment := next_time(cron, zone, moment)) < begin + timedelta(hours=HOURS):
        found.append(moment)
    return found


somewhere = st.sampled_from([(zone, moment) for zone, all_ in CHANGES.items() for moment in all_])
some_minutes = st.sets(st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]), min_size=1, max_size=4)


@settings(max_examples=30)
@given(somewhere, st.sets(st.integers(0, 23), min_size=1, max_size=8), some_minutes)
def test_fixed_times_come_once_each_on_the_day_that_clocks_change(
    place: Place, hours: set[int], minutes: set[int]
):
    zone, begin = place
    cron = f"{','.join(map(str, sorted(minutes)))} {','.join(map(str, sorted(hours)))} * * *"
    expected = fixed_times(ZoneInfo(zone), hours, minutes, begin)
    end = begin + timedelta(hours=HOURS)

    assert walked(cron, zone, begin) == sorted(one for one in expected if begin < one < end)


whole_hours = somewhere.filter(lambda place: place[0] != "Australia/Lord_Howe")
"""Where clocks change by half an hour, what a wall clock shows hourly is not an hour apart."""


@settings(max_examples=30)
@given(whole_hours, some_minutes)
def test_what_comes_in_every_hour_goes_by_elapsed_time(place: Place, minutes: set[int]):
    zone, begin = place
    cron = f"{','.join(map(str, sorted(minutes)))} * * * *"

    expected = elapsed_times(ZoneInfo(zone), minutes, begin) - {begin}
    assert walked(cron, zone, begin) == sorted(expected)


@given(
    somewhere,
    st.timedeltas(timedelta(0), timedelta(hours=HOURS)),
    st.timedeltas(MINUTE / 9, MINUTE * 90),
)
def test_from_any_moment_the_next_time_is_the_first_one_after_it(
    place: Place, offset: timedelta, more: timedelta
):
    zone, begin = place
    after = begin + offset
    for cron in ("30 2 * * *", "0,30 1-3 * * *", "*/20 * * * *"):
        found = next_time(cron, zone, after)
        assert found > after
        earlier = min(after + more, found - timedelta(microseconds=1))
        assert next_time(cron, zone, earlier) == found


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30Z"),
        ("0 9 * * MON-FRI", "America/New_York", "2026-12-04T15:00Z", "2026-12-07T14:00Z"),
        ("0 0 29 2 *", "UTC", "2026-12-01T00:00Z", "2028-02-29T00:00Z"),
        ("0 0 L * *", "Asia/Tokyo", "2026-12-01T00:00Z", "2026-12-30T15:00Z"),
    ],
)
def test_times_that_are_known(cron: str, zone: str, after: str, expected: str):
    assert next_time(cron, zone, datetime.fromisoformat(after)) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [
        ("0 0 31 2 *", "UTC", "cron"),
        ("0 0 */31 2 MON#5", "Europe/Berlin", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("0 0 0 * *", "UTC", "cron"),
        ("0 0 * * 8", "UTC", "cron"),
        ("*/0 * * * *", "UTC", "cron"),
        ("0 0 1 1 * *", "UTC", "cron"),
        ("every noon now", "UTC", "cron"),
        ("0 5 * * *", "Europe/Atlantis", "zone"),
        ("0 5 * * *", "Europe", "zone"),
        ("0 5 * * *", "../zoneinfo/UTC", "zone"),
    ],
)
def test_what_never_comes_is_a_fault_at_its_field(cron: str, zone: str, field: str):
    now = datetime(2026, 12, 1, tzinfo=UTC)

    fault = cron_fault(cron, zone, now, "net.triggers.0")

    assert fault is not None
    assert (fault.code, fault.field) == ("validation", f"net.triggers.0.{field}")
    with pytest.raises(CalendarError):
        next_time(cron, zone, now)


def test_a_sound_crontab_has_no_fault():
    assert (
        cron_fault("*/5 8-18 * * 1-5", "Europe/Berlin", datetime(2026, 12, 1, tzinfo=UTC), "")
        is None
    )
