"""Rate limits read from headers, and waits that keep calls below them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.resilience.limits import Announced, Limiter, announced, duration

OPENAI = {
    "x-ratelimit-remaining-requests": "2",
    "x-ratelimit-reset-requests": "6s",
    "x-ratelimit-remaining-tokens": "1000",
    "x-ratelimit-reset-tokens": "1m30s",
}
ANTHROPIC = {
    "date": "Sat, 21 Nov 2026 12:00:00 GMT",
    "anthropic-ratelimit-requests-remaining": "3",
    "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:20Z",
    "anthropic-ratelimit-input-tokens-remaining": "500",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:01:00Z",
    "anthropic-ratelimit-tokens-remaining": "900",
    "anthropic-ratelimit-tokens-reset": "2026-11-21T12:01:00Z",
}


def test_both_spellings_are_read():
    assert list(announced(OPENAI)) == [Announced("requests", 2, 6.0), Announced("tokens", 1000, 90)]
    assert list(announced(ANTHROPIC)) == [
        Announced("requests", 3, 20.0),
        Announced("tokens", 900, 60.0),
        Announced("tokens", 500, 60.0),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-remaining-requests": "2"},
        {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-requests": "2", "x-ratelimit-reset-requests": "soon"},
        {"x-ratelimit-remaining-requests": "²", "x-ratelimit-reset-requests": "1s"},
        {**ANTHROPIC, "date": "yesterday"} | {k: "x" for k in ANTHROPIC if "reset" in k},
    ],
)
def test_what_is_not_understood_limits_nothing(headers: dict[str, str]):
    limiter = Limiter()
    limiter.observe(headers, 0.0)

    assert limiter.wait(10**9, 0.0) == 0.0


def test_a_call_waits_before_the_wall_instead_of_at_it():
    limiter = Limiter()
    limiter.observe(OPENAI, 100.0)

    waits = []
    for _ in range(3):
        waits.append(limiter.wait(10, 101.0))
        limiter.take(10, 101.0)

    assert waits == [0.0, 0.0, 5.0]
    assert limiter.wait(10, 106.0) == 0.0


def test_tokens_are_counted_as_well():
    limiter = Limiter()
    limiter.observe(OPENAI, 0.0)

    assert limiter.wait(1000, 0.0) == 0.0
    assert limiter.wait(1001, 0.0) == 90.0


def test_of_two_limits_of_one_kind_the_tighter_counts():
    limiter = Limiter()
    limiter.observe(ANTHROPIC, 0.0)

    assert limiter.remaining(0.0) == {"requests": 3, "tokens": 500}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2ms", 0.002), ("6s", 6.0), ("1m30s", 90.0), ("1h6.5s", 3606.5), ("", None), ("soon", None)],
)
def test_durations_are_read(text: str, seconds: float | None):
    assert duration(text) == seconds


@given(
    remaining=st.integers(0, 20),
    reset=st.floats(0.1, 100),
    calls=st.lists(st.floats(0, 10), max_size=60),
)
def test_within_a_window_no_more_calls_go_than_were_left(
    remaining: int, reset: float, calls: list[float]
):
    limiter, now, gone = Limiter(), 0.0, 0
    limiter.observe(
        {
            "x-ratelimit-remaining-requests": str(remaining),
            "x-ratelimit-reset-requests": f"{reset:.6f}s",
        },
        now,
    )
    for pause in calls:
        now += pause
        if now < reset - 1e-3 and limiter.wait(0, now) == 0.0:
            limiter.take(0, now)
            gone += 1
    assert gone <= remaining


@given(st.dictionaries(st.sampled_from([*OPENAI, *ANTHROPIC]), st.text(max_size=20)))
def test_any_header_will_do(headers: dict[str, str]):
    limiter = Limiter()
    limiter.observe(headers, 0.0)

    assert 0.0 <= limiter.wait(1, 0.0) <= 86_400.0


@pytest.mark.parametrize("count", ["9" * 5000, "\u0665", "1\n", "-1", "1.5", ""])
def test_a_count_that_is_none_announces_nothing(count: str):
    headers = {"x-ratelimit-remaining-requests": count, "x-ratelimit-reset-requests": "10s"}

    assert list(announced(headers)) == []
