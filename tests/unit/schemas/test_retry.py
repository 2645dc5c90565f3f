"""When a failed attempt is made again."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.problems import Problem
from schemas.retry import STANDARD, delay

OVERLOADED = Problem(code="provider_overloaded", message="", retryable=True)


def test_what_waiting_does_not_cure_is_not_made_again():
    quota = Problem(code="rate_limited", message="", retry_after=1.0)

    assert delay(quota, failures=0, jitter=0.0) is None


def test_the_wait_doubles_up_to_a_bound():
    waits = [delay(OVERLOADED, failures=failures, jitter=0.0) for failures in (0, 1, 2, 6, 99)]

    assert waits == [0.5, 1.0, 2.0, 30.0, 30.0]


def test_the_wait_the_provider_asks_for_is_kept():
    asked = Problem(code="rate_limited", message="", retryable=True, retry_after=7.0)

    assert delay(asked, failures=5, jitter=1.0) == 7.0


@given(failures=st.integers(0, 10_000), jitter=st.floats(0, 1))
def test_jitter_shortens_by_a_quarter_at_most(failures: int, jitter: float):
    plain = delay(OVERLOADED, failures=failures, jitter=0.0)
    spread = delay(OVERLOADED, failures=failures, jitter=jitter)

    assert plain is not None
    assert spread is not None
    assert 0.75 * plain <= spread <= plain <= STANDARD.longest
