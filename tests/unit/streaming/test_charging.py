"""What the calls of an attempt cost."""

from datetime import UTC, datetime

import msgspec
import pytest

from actors.streaming.core.resilience.routes import Route
from actors.streaming.core.tokens.charging import CostMeter, Judged, reported
from bus.kv.prices import shipped_text
from schemas.ledger import MOST_COUNTED, Charge
from schemas.llm import Answer, ModelConfig
from schemas.pricing.prices import Prices
from schemas.providers import Anthropic, OpenAI
from schemas.usage import Usage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PRICES = Prices(shipped_text())
USAGE = Usage(input=1000, output=100)


def way(provider: OpenAI | Anthropic, place: int = 0, tier: str | None = None) -> Route:
    return Route(place, provider, ModelConfig(service_tier=tier), (None,))


def answer(**more: object) -> Answer:
    given = Answer(text="Yes.", finish_reason="stop", usage=USAGE)
    return msgspec.structs.replace(given, **more)


def test_an_answer_is_charged_by_the_row_of_the_book_with_all_it_takes_to_reckon_it_again():
    meter = CostMeter(PRICES, NOW)

    meter.answered(way(OpenAI(model="gpt-4o-mini"), 1), "main", answer(model_served="gpt-4o-mini"))

    assert meter.charges == [
        Charge(
            provider="openai",
            model="gpt-4o-mini",
            usage=USAGE,
            cost_pico=1000 * 150_000 + 100 * 600_000,
            book_id=PRICES.book_id,
            row="openai/gpt-4o-mini",
            model_served="gpt-4o-mini",
            place=1,
            secret="main",
        )
    ]


def test_a_failed_call_is_charged_for_what_it_has_used_and_marked_as_its_usage_is():
    meter = CostMeter(PRICES, NOW)
    cut = Usage(input=1000, output=10, quality="partial_stream")

    meter.failed(way(OpenAI(model="gpt-4o-mini")), None, cut)
    meter.failed(way(OpenAI(model="gpt-4o-mini")), None, None)

    (charge,) = meter.charges
    assert (charge.cost_pico, charge.usage.quality) == (156_000_000, "partial_stream")


def test_a_model_without_a_price_is_unpriced_and_not_free():
    meter = CostMeter(PRICES, NOW)

    meter.answered(way(OpenAI(model="of-our-own")), None, answer())

    (charge,) = meter.charges
    assert charge.cost_pico is None
    assert charge.unpriced


def test_the_tier_that_served_counts_over_the_one_that_was_asked_for():
    asked, served = CostMeter(PRICES, NOW), CostMeter(PRICES, NOW)

    asked.answered(way(OpenAI(model="gpt-5"), tier="flex"), None, answer())
    served.answered(way(OpenAI(model="gpt-5"), tier="flex"), None, answer(service_tier="default"))

    assert [meter.charges[0].tier for meter in (asked, served)] == ["flex", "default"]
    assert served.charges[0].cost_pico == 1000 * 1_250_000 + 100 * 10_000_000


@pytest.mark.parametrize(
    ("told", "region", "cost"),
    [
        ({"inference_geo": "us"}, "us", 1000 * 5_500_000 + 100 * 27_500_000),
        ({"inference_geo": "global"}, None, 1000 * 5_000_000 + 100 * 25_000_000),
        ({"inference_geo": "not_available"}, None, 1000 * 5_000_000 + 100 * 25_000_000),
        ({"inference_geo": 7}, None, 1000 * 5_000_000 + 100 * 25_000_000),
        ({}, None, 1000 * 5_000_000 + 100 * 25_000_000),
    ],
)
def test_where_a_provider_says_to_have_served_is_what_is_paid_for(
    told: dict[str, object], region: str | None, cost: int
):
    meter = CostMeter(PRICES, NOW)

    meter.answered(way(Anthropic(model="claude-opus-4-6")), None, answer(raw_usage=told))

    (charge,) = meter.charges
    assert (charge.region, charge.cost_pico) == (region, cost)


def test_other_models_that_were_used_by_the_way_are_charged_apart():
    meter = CostMeter(PRICES, NOW)
    aside = {"claude-haiku-4-5": Usage(input=10)}

    meter.answered(way(Anthropic(model="claude-opus-4-1")), None, answer(side_usage=aside))

    assert [(each.model, each.usage) for each in meter.charges] == [
        ("claude-opus-4-1", USAGE),
        ("claude-haiku-4-5", Usage(input=10)),
    ]


@pytest.mark.parametrize(
    ("raw", "pico"),
    [
        ({"cost": 0.00014}, 140_000_000),
        ({"cost": 0}, 0),
        ({"estimated_cost": "0.000002"}, 2_000_000),
        ({"cost": {"request_cost": 0.006, "total_cost": 0.00621}}, 6_210_000_000),
        ({"cost": {"request_cost": 0.006}}, None),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600_000),
        ({"cost": None}, None),
        ({"cost": True}, None),
        ({"cost": "much"}, None),
        ({}, None),
    ],
)
def test_what_a_provider_says_it_cost_is_kept_to_the_pico_dollar(
    raw: dict[str, object], pico: int | None
):
    assert reported(raw) == pico


def test_who_judges_texts_is_charged_by_the_book_and_what_it_does_not_know_is_unpriced():
    meter, used = CostMeter(PRICES, NOW), Usage(input=10)

    (known,) = meter.bill(Judged(OpenAI(model="gpt-4o-mini"), used))
    (unknown,) = meter.bill(Judged(OpenAI(model="a-judge-of-ones-own"), used))

    assert (known.model, known.cost_pico, known.unpriced) == ("gpt-4o-mini", 10 * 150_000, None)
    assert (unknown.cost_pico, unknown.usage) == (None, used)
    assert unknown.unpriced
    assert meter.bill(None) == []


@pytest.mark.parametrize("told", [MOST_COUNTED + 1, 10**30])
def test_what_no_call_can_use_is_unpriced_and_an_estimate(told: int):
    meter = CostMeter(PRICES, NOW)

    meter.failed(way(OpenAI(model="gpt-4o-mini")), None, Usage(input=told, output=3))

    (charge,) = meter.charges
    assert (charge.cost_pico, charge.unpriced) == (None, "more was told than a call can use")
    assert charge.usage == Usage(input=MOST_COUNTED, output=3, quality="estimated")


@pytest.mark.parametrize("said", [1e300, "1e30", 2**63 // 10**12 + 1, -(10**9)])
def test_a_cost_that_is_no_amount_was_not_said(said: object):
    assert reported({"cost": said}) is None
