"""Shard time: never back, never stopped, and never by a clock that is wrong."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ClockError, UnavailableError
from bus.ports import StoredMessage
from bus.shard import clock as module
from bus.shard.clock import TOLERANCE_SECONDS, ShardClock, check

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DAY = timedelta(days=1)


class Times:
    """A wall clock and a monotonic one that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.monotonic = NOW, 100.0
        monkeypatch.setattr(module, "loop_clock", lambda: lambda: self.monotonic)

    def passes(self, seconds: float, *, jump: float = 0.0) -> None:
        self.monotonic += seconds
        self.wall += timedelta(seconds=seconds + jump)

    def clock(self, last: datetime) -> ShardClock:
        return ShardClock("e.0", lambda: self.wall, last)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    return Times(monkeypatch)


def test_behind_a_journal_that_is_a_day_ahead_time_goes_on_from_there(times: Times):
    now = times.clock(NOW + DAY)
    times.passes(10)
    assert now() == NOW + DAY + timedelta(seconds=10)
    times.passes(0.5)
    assert now() == NOW + DAY + timedelta(seconds=10.5)


def test_where_the_journal_is_behind_it_is_the_time_of_day(times: Times):
    now = times.clock(NOW - DAY)
    times.passes(10)
    assert now() == times.wall


@pytest.mark.parametrize(
    "jump", [-86_400.0, -TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1, 86_400.0]
)
def test_a_clock_that_jumps_is_not_believed(times: Times, jump: float):
    now = times.clock(NOW)
    times.passes(1)
    before = now()
    times.passes(1, jump=jump)
    with pytest.raises(UnavailableError, match="jumped"):
        now()
    assert before == NOW + timedelta(seconds=1)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(-TOLERANCE_SECONDS, TOLERANCE_SECONDS))),
    st.floats(-1e6, 1e6),
)
def test_it_never_goes_back_and_never_stands_still_for_longer_than_a_correction(
    steps: list[tuple[float, float]], ahead: float
):
    with pytest.MonkeyPatch.context() as monkeypatch:
        times = Times(monkeypatch)
        now = times.clock(NOW + timedelta(seconds=ahead))
        reading = now()
        for seconds, jump in steps:
            times.passes(seconds, jump=jump)
            try:
                following = now()
            except UnavailableError:
                # Added up in floats, the largest correction may be a bit more than that.
                assert abs(jump) > TOLERANCE_SECONDS - 1e-3
                return
            assert following - reading >= timedelta(seconds=seconds) - timedelta(microseconds=2)
            reading = following


def refused(stored: str, ahead: float, *, taken: float) -> bool:
    """Say whether an owner is refused whose clock shows so many seconds more than the server's."""
    try:
        check(
            "e.0",
            StoredMessage(1, b"", stored),
            lambda: NOW + timedelta(seconds=ahead),
            taken=taken,
        )
    except ClockError:
        return True
    return False


@pytest.mark.parametrize("ahead", [-86_400.0, -6.0, 16.1, 86_400.0])
def test_a_clock_that_is_not_the_servers_owns_nothing(ahead: float):
    assert refused(NOW.isoformat(), ahead, taken=11.0)


@pytest.mark.parametrize("ahead", [-4.8, 0.0, 11.0, 15.9])
def test_a_take_over_may_take_its_time(ahead: float):
    stored = "2026-11-30T00:00:00.123456789Z"

    assert not refused(stored, ahead, taken=11.0)
    assert refused(stored, ahead, taken=ahead - 7.0)
