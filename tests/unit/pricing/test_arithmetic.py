"""Laws of the arithmetic, and what a price is made of."""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pricing.book import Price, Rates, Row, Tier, canonical
from schemas.pricing.overlay import Overlay, OverlayRow, empty, laid_over, rate_of
from schemas.pricing.prices import Priced, Prices, RateTerms, Unpriced, counts_of, variant_of
from schemas.pricing.tariff import tariff_of
from schemas.pricing.units import BUCKETS, OF_USAGE, Bucket
from schemas.usage import COUNTS, Usage

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)

amounts = st.integers(0, 10**9)
usages = st.builds(
    Usage, **{name: amounts for name in OF_USAGE if name not in {"output", "reasoning"}}
)
rates = st.integers(0, 10**12)


def priced(row: Row, usage: Usage, at: datetime = AT, tier: str = "") -> Priced | Unpriced:
    book = empty("test")
    book.rows["someone"] = {"model": row}
    prices = Prices(canonical(laid_over(book, Overlay(name="nothing"))))
    return prices.price(RateTerms("someone", "model", tier), usage, at)


def cost(*prices: Price, usage: Usage, at: datetime = AT) -> int | None:
    answer = priced(Row(prices=list(prices)), usage, at)
    return answer.cost if isinstance(answer, Priced) else None


@given(st.dictionaries(st.sampled_from(BUCKETS), rates, min_size=len(BUCKETS)), usages, usages)
def test_costs_of_two_calls_add_up(price: dict[Bucket, int], one: Usage, other: Usage):
    price |= {"requests": 0}
    costs = [cost(Price(rates=dict(price)), usage=usage) for usage in (one, other, one + other)]

    assert None not in costs
    assert (costs[0] or 0) + (costs[1] or 0) == costs[2]


@given(usages, st.integers(1, 9), st.integers(0, 10**12), st.integers(1, 10**6))
def test_lines_sum_up_to_the_cost_however_the_rates_are_written(
    usage: Usage, whole: int, numerator: int, denominator: int
):
    every: Rates = dict.fromkeys(BUCKETS, whole)
    every["input"], every["requests"] = (numerator, denominator), 0
    row = Row(prices=[Price(rates=every)])

    answer = priced(row, usage)

    assert isinstance(answer, Priced)
    assert sum(line.cost for line in answer.lines()) == answer.cost
    exact = Decimal(usage.input * numerator) / denominator
    rounded = {line.bucket: line.cost for line in answer.lines()}.get("input", 0)
    assert abs(rounded - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("amount", "rate", "rounded"), [(1, (1, 2), 0), (3, (1, 2), 2), (1, (3, 4), 1), (1, (1, 4), 0)]
)
def test_a_fraction_is_rounded_once_a_line_half_to_even(
    amount: int, rate: tuple[int, int], rounded: int
):
    exact = Decimal(amount) * rate[0] / rate[1]

    assert cost(Price(rates={"input": rate}), usage=Usage(input=amount)) == rounded
    assert rounded == int(exact.to_integral_value(ROUND_HALF_EVEN))


@given(st.decimals(0, 1000, places=9), st.sampled_from([1, 1000, 1_000_000, 3_600_000]))
def test_no_rate_is_rounded(usd: Decimal, per: int):
    rate = rate_of(usd, per)
    pair = (rate, 1) if isinstance(rate, int) else rate

    assert Fraction(*pair) == Fraction(usd) * 10**12 / per


def test_every_bucket_of_usage_can_be_priced():
    assert set(OF_USAGE) == set(COUNTS)
    assert counts_of({"input": 3})[:2] == (3, 0)
    assert counts_of({})[BUCKETS.index("requests")] == 1


def test_a_bucket_without_a_rate_makes_the_call_unpriced_only_if_it_was_used():
    price = Price(rates={"input": 1, "output": 2})

    assert cost(price, usage=Usage(input=5, output=5)) == 15
    for bucket in ("cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "searches"):
        used = msgspec.structs.replace(Usage(input=5), **{bucket: 1})
        assert cost(price, usage=used) is None


def test_sound_and_pictures_cost_what_text_does_where_a_price_tells_no_difference():
    scale = tariff_of(Price(rates={"input": 1, "cache_read": 2, "output": 3})).scales[0]
    told = tariff_of(Price(rates={"input": 1, "cache_read": 2, "audio_input": 9})).scales[0]

    assert scale.cost(counts_of({"audio_input": 1, "image_input": 1, "video_input": 1})) == 3
    assert scale.cost(counts_of({"audio_cached": 1, "audio_output": 1})) == 5
    assert told.cost(counts_of({"audio_input": 1})) == 9
    assert told.cost(counts_of({"audio_cached": 1})) is None


def test_a_fee_for_each_request_is_charged_even_if_nothing_was_used():
    price = Price(rates={"requests": 12_000_000_000, "input": 1})

    answer = priced(Row(prices=[price]), Usage())

    assert isinstance(answer, Priced)
    assert [(line.bucket, line.cost) for line in answer.lines()] == [("requests", 12_000_000_000)]


def test_tiers_replace_the_rates_of_the_whole_request_one_after_another():
    price = Price(
        rates={"input": 1, "output": 1},
        tiers=[
            Tier(start=101, rates={"input": 2}),
            Tier(start=201, rates={"input": 3, "output": 5}),
        ],
    )

    costs = [cost(price, usage=Usage(input=size, output=1)) for size in (100, 101, 200, 201)]

    assert costs == [101, 203, 401, 608]


def test_prices_hold_from_their_day_in_utc_until_the_next():
    prices = [
        Price(rates={"input": 2}, since=date(2025, 6, 10)),
        Price(rates={"input": 10}, until=date(2025, 6, 10)),
    ]
    turn = datetime(2025, 6, 10, tzinfo=UTC)
    usage = Usage(input=1)

    assert cost(*prices, usage=usage, at=turn - timedelta(microseconds=1)) == 10
    assert cost(*prices, usage=usage, at=turn) == 2
    assert cost(prices[0], usage=usage, at=turn - timedelta(days=1)) is None


def test_prices_of_the_night_lie_across_midnight_and_end_before_their_end():
    prices = [Price(rates={"input": 1}, hours=(16 * 60 + 30, 30)), Price(rates={"input": 2})]
    day = datetime(2026, 11, 21, tzinfo=UTC)

    costs = [
        cost(*prices, usage=Usage(input=1), at=day + timedelta(minutes=minute, microseconds=-1))
        for minute in (1, 30, 31, 990, 991, 1440)
    ]

    assert costs == [1, 1, 2, 2, 1, 1]


def test_a_call_that_used_nothing_costs_nothing_where_its_tier_has_no_price():
    row = Row(prices=[Price(rates={"input": 1})])

    assert isinstance(priced(row, Usage(input=1), tier="flex"), Unpriced)
    answer = priced(row, Usage(), tier="flex")
    assert isinstance(answer, Priced)
    assert answer.cost == 0


@pytest.mark.parametrize(
    ("tier", "batch", "variant"),
    [
        (None, False, ""),
        ("default", False, ""),
        ("standard", True, "batch"),
        ("batch", False, "batch"),
        ("batch", True, "batch"),
        ("Flex", False, "flex"),
        ("priority", True, "batch+priority"),
    ],
)
def test_tier_and_batch_name_a_variant(tier: str | None, batch: bool, variant: str):
    assert variant_of(RateTerms("openai", "gpt-4o", tier, batch)) == variant


def test_a_contract_price_hides_the_list_price_for_its_time_and_keeps_its_variants():
    book = empty("list")
    listed = Price(rates={"input": 10})
    book.rows["someone"] = {"model": Row(prices=[listed], variants={"batch": [listed]})}
    own = OverlayRow(
        provider="someone",
        model="model",
        usd={"input": Decimal("0.000007")},
        since=date(2026, 1, 1),
        until=date(2027, 1, 1),
        aliases=["ours"],
    )
    prices = Prices(canonical(laid_over(book, Overlay(name="contract", rows=[own]))))

    def at(year: int, *, batch: bool = False) -> int:
        moment = datetime(year, 5, 5, tzinfo=UTC)
        answer = prices.price(RateTerms("someone", "ours", batch=batch), Usage(input=1), moment)
        assert isinstance(answer, Priced)
        return answer.cost

    assert [at(2025), at(2026), at(2027)] == [10, 7, 10]
    assert at(2026, batch=True) == 10
