"""Comparing counts with a provider's, and rates with AWS's price list."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.pricing.core import price_list
from actors.pricing.core.aws_prices import PriceOffer, rows_of
from actors.pricing.core.reconciliation import CostDifference, TimeSlot, compared, summed, tier_of
from bus.kv.prices import shipped_text
from schemas.pricing.book import read
from schemas.pricing.prices import Prices
from tests.price_lists import Sold, offer_file

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SLOT = TimeSlot("2026-11-01", None, "gpt-4o", "standard")
SLOTS = st.builds(
    TimeSlot,
    st.sampled_from(["2026-11-01", "2026-11-02"]),
    st.sampled_from([None, "main"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["standard", "batch"]),
)
ROWS = st.lists(
    st.tuples(
        SLOTS, st.fixed_dictionaries({"prompt": st.integers(1, 9), "output": st.integers(1, 9)})
    )
)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_same_calls_in_other_pieces_do_not_differ(
    rows: list[tuple[TimeSlot, Mapping[str, int]]], random: Any
):
    whole = list(summed(rows).items())
    random.shuffle(rows)

    assert compared(rows, whole) == []


@given(ROWS, ROWS)
def test_differences_are_exactly_what_is_missing_to_equality(
    ours: list[tuple[TimeSlot, Mapping[str, int]]], theirs: list[tuple[TimeSlot, Mapping[str, int]]]
):
    found = compared(ours, theirs)

    mended = [*ours, *((each.slot, {each.what: each.theirs - each.ours}) for each in found)]
    assert compared(mended, theirs) == []
    assert all(each.ours != each.theirs for each in found)


def test_a_call_that_only_one_side_knows_differs_in_every_count():
    found = compared([(SLOT, {"prompt": 3, "output": 2, "searches": 1})], [])
    turned = compared([], [(SLOT, {"prompt": 3})])

    assert [(each.what, each.ours, each.theirs) for each in found] == [
        ("output", 2, 0),
        ("prompt", 3, 0),
        ("searches", 1, 0),
    ]
    assert turned == [CostDifference(SLOT, "prompt", 0, 3)]


def test_what_a_provider_does_not_count_is_not_compared():
    assert compared([(SLOT, {"prompt": 3, "searches": 9})], [(SLOT, {"prompt": 3})]) == []


def test_the_ordinary_tier_has_one_name():
    assert {tier_of(name) for name in (None, "", "default", "auto", "standard")} == {"standard"}
    assert (tier_of("flex"), tier_of("default", batch=True)) == ("flex", "batch")


# Price lists of AWS


def _file(*products: tuple[str, str, str, str, str]) -> price_list.PriceList:
    """Return a file of products: model, usage type, region, unit, dollars."""
    data = offer_file(*(Sold(*one) for one in products))
    return msgspec.json.decode(data, type=price_list.PriceList)


def test_rates_are_compared_whatever_their_unit_and_differences_are_named():
    file = _file(
        ("Nova Lite", "USE1-NovaLite-input-tokens", "us-east-1", "1K tokens", "0.0000600000"),
        ("Nova Lite", "USE1-NovaLite-output-tokens", "us-east-1", "1M tokens", "0.24"),
        ("Nova Micro", "USE1-NovaMicro-input-tokens", "us-east-1", "1K tokens", "0.00004"),
        ("Nova Micro", "USE1-NovaMicro-input-tokens-custom-model", "us-east-1", "1K tokens", "9"),
        ("Nova Reel", "USE1-NovaReel-video-second", "us-east-1", "seconds", "0.08"),
        ("Future 9", "USE1-Future9-input-tokens", "us-east-1", "1K tokens", "1"),
    )

    found = price_list.compared(file, Prices(shipped_text()), NOW)

    assert (found.equal, found.unknown) == (2, ["Future 9"])
    assert [
        (each.row, each.offered.bucket, each.ours, each.offered.cost) for each in found.differences
    ] == [("aws/amazon.nova-micro-v1:0", "input", 35_000_000, Decimal(40_000_000))]


def test_a_region_and_the_profile_for_the_world_have_rates_of_their_own():
    file = _file(
        ("Nova 2.0 Lite", "USE1-Nova2.0Lite-input-tokens", "us-east-1", "1K tokens", "0.00033"),
        (
            "Nova 2.0 Lite",
            "USE1-Nova2.0Lite-input-tokens-cross-region-global",
            "us-east-1",
            "1K tokens",
            "0.0003",
        ),
    )

    assert price_list.compared(file, Prices(shipped_text()), NOW).equal == 2


def test_a_price_of_a_region_is_that_of_the_model_and_of_its_profile_there():
    nova = ("Nova Lite", "EUW1-NovaLite-tokens", "eu-west-1")
    offer = offer_file(
        Sold(*nova, "1K tokens", "0.0000123", "Input tokens"),
        Sold(*nova, "1M tokens", "0.321", "Output tokens"),
    )

    found = rows_of(msgspec.json.decode(offer, type=PriceOffer), read(shipped_text()))

    assert [row.model for row in found.overlay.rows] == [
        "eu-west-1/amazon.nova-lite-v1:0",
        "eu-west-1/eu.amazon.nova-lite-v1:0",
    ]
