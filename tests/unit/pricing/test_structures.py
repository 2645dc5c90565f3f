"""What the ledger is made of: pages, memory, windows, sliding limits."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pricing.core import closed
from actors.pricing.core.closed import SETTLED, ClosedMemory, forget, is_too_old, recall, remember
from actors.pricing.core.limits import LimitMeter, counted, ended, excess
from actors.pricing.core.windows import window_at
from schemas import pages
from schemas.budgets import Limits, WindowKind
from schemas.pages import Pages

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
KINDS: tuple[WindowKind, ...] = ("hourly", "daily", "weekly", "monthly")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=500))
@settings(max_examples=50)
def test_pages_are_a_dictionary_and_never_change(changes: list[tuple[bool, int]]):
    found: Pages[int] = ()
    wanted: dict[str, int] = {}
    for is_put, number in changes:
        before, shown = found, list(pages.values(found))
        key = f"k{number}"
        if is_put:
            found, wanted[key] = pages.updated(found, {key: number}), number
        else:
            found = pages.without(found, key)
            wanted.pop(key, None)
        assert list(pages.values(before)) == shown
    assert sorted(pages.values(found)) == sorted(wanted.values())
    assert all(pages.get(found, f"k{n}") == wanted.get(f"k{n}") for n in range(401))


@given(st.lists(st.tuples(st.integers(0, 300), st.none() | st.integers(0, 50)), max_size=400))
@settings(max_examples=30)
def test_the_times_of_pages_tell_what_is_due_and_what_is_next(
    changes: list[tuple[int, int | None]],
):
    # One page, nearly full: what is put soon makes several of it.
    wanted: dict[str, int | None] = {f"old{number}": 20 + number for number in range(62)}
    found: Pages[int | None] = (dict(wanted),)
    times: pages.Times = (NOON + timedelta(seconds=20),)

    def moment(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOON + timedelta(seconds=seconds)

    for number, seconds in changes:
        key = f"k{number}"
        is_removed = key in wanted and seconds == 0
        found = pages.without(found, key) if is_removed else pages.put(found, key, seconds)
        times = pages.timed(times, found, key, moment)
        if is_removed:
            del wanted[key]
        else:
            wanted[key] = seconds

    waiting = {key: seconds for key, seconds in wanted.items() if seconds is not None}
    due = dict(pages.due(times, found, NOON + timedelta(seconds=25), moment))
    assert pages.earliest(times) == moment(min(waiting.values(), default=None))
    assert due == {key: seconds for key, seconds in waiting.items() if seconds <= 25}
    assert times == () or len(times) == len(found)


def test_what_is_over_is_known_until_there_is_no_room_and_then_too_old():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(closed, "FULL", 64)
        patched.setattr(closed, "ROOM", 200)
        memory = ClosedMemory()
        for number in range(1000):
            at = NOON + timedelta(hours=number)
            memory = forget(remember(memory, f"e{number}", SETTLED, at), at, days=3.0)

    known = [n for n in range(1000) if recall(memory, f"e{n}") is not None]
    assert known == list(range(known[0], 1000))
    assert 200 <= len(known) <= 200 + 64
    assert [is_too_old(memory, NOON + timedelta(hours=n)) for n in (0, known[0] - 1)] == [True] * 2
    assert not is_too_old(memory, NOON + timedelta(hours=known[0]))


@given(st.sampled_from(KINDS), st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)))  # noqa: DTZ001  hypothesis adds none
def test_windows_hold_their_moment_and_follow_each_other_without_a_gap(
    kind: WindowKind, naive: datetime
):
    at = naive.replace(tzinfo=UTC)
    window = window_at(kind, at, BERLIN)

    assert window.start is not None
    assert window.end is not None
    assert window.start <= at < window.end
    following = window_at(kind, window.end, BERLIN)
    assert (following.start, following.label != window.label) == (window.end, True)


@pytest.mark.parametrize(("day", "hours"), [(28, 24), (29, 23), (30, 24)])
def test_a_day_is_as_long_as_its_zone_has_it(day: int, hours: int):
    window = window_at("daily", datetime(2026, 3, day, 12, tzinfo=UTC), BERLIN)

    assert window.start is not None
    assert window.end is not None
    assert window.end - window.start == timedelta(hours=hours)


@given(st.lists(st.floats(0, 40), min_size=1, max_size=120), st.integers(1, 5))
@settings(max_examples=100)
def test_a_limit_is_never_exceeded_in_any_minute_and_told_waits_are_enough(
    pauses: list[float], most: int
):
    limits, meter, now = Limits(requests_per_minute=most), LimitMeter(), NOON
    admitted: list[datetime] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        found = excess(limits, meter, now, 0)
        if found is not None:
            later = now + timedelta(seconds=found.retry_after + 0.001)
            assert excess(limits, meter, later, 0) is None
            continue
        meter = counted(meter, now, 0)
        admitted.append(now)
    for moment in admitted:
        within = [each for each in admitted if moment <= each < moment + timedelta(minutes=1)]
        assert len(within) <= most


def test_tokens_that_were_not_needed_are_given_back():
    limits = Limits(tokens_per_minute=100, concurrent=1)
    meter = counted(LimitMeter(), NOON, 90)
    running = excess(limits, meter, NOON, 5)
    assert running is not None
    assert running.limit == "concurrent"

    meter = ended(meter, NOON, 60)

    assert excess(limits, meter, NOON, 70) is None
    found = excess(limits, meter, NOON, 71)
    assert found is not None
    assert (found.limit, found.used) == ("tokens_per_minute", 30)
