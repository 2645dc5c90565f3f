"""Recommendations: each saving is the difference of two prices of the same past."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pricing.core.family import siblings
from actors.pricing.core.savings import Call, Study
from bus.kv.prices import shipped_text
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.reports import Recommendation
from schemas.usage import Usage

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("nowhere", "unheard-of"),
]
TOKENS = st.integers(0, 250_000)


@cache
def book() -> Prices:
    return Prices(shipped_text())


def cost(terms: RateTerms, usage: Usage) -> int:
    price = book().price(terms, usage, NOW)
    assert isinstance(price, Priced)
    return price.cost


def call(model: str, provider: str = "openai", seconds: int = 0, **more: object) -> Call:
    usage = more.pop("usage", None) or Usage(input=1000, output=500)
    at = NOW - timedelta(days=1) + timedelta(seconds=seconds)
    return Call(at, more.pop("agent", None), RateTerms(provider, model, **more), usage)  # type: ignore[arg-type]


def recommended(calls: Sequence[Call]) -> dict[str, Recommendation]:
    study = Study(book(), NOW)
    found = study.recommendations(study.repriced(calls))
    return {one.kind: one for one in reversed(found)}


def calls() -> st.SearchStrategy[Call]:
    usage = st.builds(
        Usage, input=TOKENS, cache_read=TOKENS, cache_write_5m=TOKENS, output=st.integers(0, 9000)
    )
    return st.builds(
        lambda at, agent, model, usage, batch, held: Call(
            NOW - at, agent, RateTerms(*model, batch=batch), usage, held
        ),
        st.timedeltas(timedelta(0), timedelta(hours=2)),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from(MODELS),
        usage,
        st.booleans(),
        st.integers(0, 10**12),
    )


@settings(max_examples=50)
@given(st.lists(calls(), max_size=20), st.randoms())
def test_a_saving_is_real_bounded_and_does_not_depend_on_the_order(
    past: list[Call], random: Random
):
    study = Study(book(), NOW)
    priced = study.repriced(past)
    found = study.recommendations(priced)

    total = sum(one.price.cost for one in priced)
    assert all(0 < one.saving_pico <= one.cost_pico <= total for one in found if not one.held_pico)
    assert all(one.saving_pico == 0 for one in found if one.held_pico)
    assert [one.saving_pico for one in found] == sorted(
        (one.saving_pico for one in found), reverse=True
    )
    assert all(one.provider != "nowhere" for one in found)
    shuffled = past[:]
    random.shuffle(shuffled)
    again = study.recommendations(study.repriced(shuffled))
    assert sorted(again, key=repr) == sorted(found, key=repr)


def test_what_can_wait_is_cheaper_as_a_batch():
    past = [call("gpt-4o"), call("gpt-4o"), call("gpt-4o", batch=True)]

    batch = recommended(past)["batch"]

    standard, cheaper = (
        cost(RateTerms("openai", "gpt-4o", batch=each), past[0].usage) for each in (False, True)
    )
    assert batch == Recommendation(
        kind="batch",
        provider="openai",
        model="gpt-4o",
        instead="batch",
        message=batch.message,
        calls=2,
        cost_pico=2 * standard,
        saving_pico=2 * (standard - cheaper),
    )


def test_a_dear_service_tier_has_a_cheaper_one():
    usage = Usage(input=1000, output=500)

    found = recommended([call("gpt-5", tier="priority")])["cheaper_tier"]

    dear, flex = (cost(RateTerms("openai", "gpt-5", tier), usage) for tier in ("priority", "flex"))
    assert (found.instead, found.cost_pico, found.saving_pico) == ("flex", dear, dear - flex)


def test_the_next_smaller_model_of_the_family_is_named():
    found = recommended([call("claude-opus-4-5", "anthropic")])["smaller_model"]

    opus, sonnet = (
        cost(RateTerms("anthropic", name), Usage(input=1000, output=500))
        for name in ("claude-opus-4-5", "claude-sonnet-4-5")
    )
    assert (found.instead, found.saving_pico) == ("claude-sonnet-4-5", opus - sonnet)


def test_a_prompt_a_little_above_a_boundary_is_better_kept_below_it():
    over = Usage(input=210_000, output=100)
    far = Usage(input=400_000, output=100)

    found = recommended([call("gemini-2.5-pro", "google", usage=each) for each in (over, far)])

    below = cost(RateTerms("google", "gemini-2.5-pro"), Usage(input=200_000, output=100))
    above = cost(RateTerms("google", "gemini-2.5-pro"), over)
    assert (found["long_context"].calls, found["long_context"].saving_pico) == (1, above - below)


def test_a_cache_that_is_written_and_hardly_read_does_not_pay():
    usage = Usage(input=100, cache_write_5m=10_000, output=100)
    plain = Usage(input=10_100, output=100)

    found = recommended([call("claude-sonnet-4-5", "anthropic", usage=usage)])["no_caching"]

    terms = RateTerms("anthropic", "claude-sonnet-4-5")
    assert found.saving_pico == cost(terms, usage) - cost(terms, plain)


def test_a_cache_pays_from_the_first_re_read():
    """Written for five minutes it costs 1.25, read 0.1: two calls cost less than two without."""
    twice = [
        Usage(input=0, cache_write_5m=10_000, output=1),
        Usage(input=0, cache_read=10_000, output=1),
    ]

    found = recommended([call("claude-sonnet-4-5", "anthropic", usage=usage) for usage in twice])

    assert "no_caching" not in found


@pytest.mark.parametrize(("pause", "instead"), [(60, "5m"), (1200, "1h")])
def test_an_agent_whose_prompts_begin_alike_should_cache_for_as_long_as_its_pauses(
    pause: int, instead: str
):
    usage = Usage(input=8000, output=200)
    past = [
        call("claude-sonnet-4-5", "anthropic", seconds=number * pause, usage=usage, agent="a")
        for number in range(20)
    ]

    found = recommended(past)["caching"]

    terms = RateTerms("anthropic", "claude-sonnet-4-5")
    bucket = f"cache_write_{instead}"
    first = cost(terms, msgspec.structs.replace(usage, input=0, **{bucket: 8000}))
    later = cost(terms, msgspec.structs.replace(usage, input=0, cache_read=8000))
    assert (found.instead, found.agent_id) == (instead, "a")
    assert found.saving_pico == 20 * cost(terms, usage) - first - 19 * later


def test_pauses_longer_than_any_cache_lasts_are_no_reason_to_cache():
    past = [
        call(
            "claude-sonnet-4-5",
            "anthropic",
            seconds=number * 7200,
            agent="a",
            usage=Usage(input=8000, output=200),
        )
        for number in range(20)
    ]

    assert "caching" not in recommended(past)


def test_what_caches_by_itself_needs_no_advice():
    past = [call("gpt-4o", seconds=n, agent="a", usage=Usage(input=8000)) for n in range(20)]

    assert "caching" not in recommended(past)


def test_money_that_is_held_for_nothing_is_named():
    past = [call("gpt-4o", agent="a")._replace(held=10**12) for _ in range(20)]

    found = recommended(past)["over_reservation"]

    assert (found.calls, found.saving_pico, found.held_pico) == (
        20,
        0,
        20 * 10**12 - 20 * cost(RateTerms("openai", "gpt-4o"), Usage(input=1000, output=500)),
    )
    assert "near 500" in found.message


@pytest.mark.parametrize(
    ("model", "others"),
    [
        ("gpt-4o", ["gpt-4o-mini"]),
        ("gpt-4o-2024-08-06", ["gpt-4o-mini"]),
        ("claude-opus-4-5-20251101", ["claude-haiku-4-5", "claude-sonnet-4-5"]),
        ("gemini-2.5-pro", ["gemini-2.5-flash", "gemini-2.5-flash-lite"]),
        ("mistral-large-latest", ["mistral-small-latest"]),
        ("o3", []),
    ],
)
def test_a_family_is_the_same_name_in_other_sizes(model: str, others: list[str]):
    models = [
        *(
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-4o-mini-2024-07-18",
            "gpt-4o-audio-preview",
            "gpt-4.1-mini",
        ),
        *("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1"),
        *("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.0-flash"),
        *("mistral-large-latest", "mistral-small-latest", "o1-mini", "o3"),
    ]

    assert sorted(siblings(model, models)) == others
