"""Price sources as documents: a list of genai-prices, price lists of AWS, and what is neither."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from actors.pricing.adapters.sources import Document, compiled
from bus.errors import ProblemError
from schemas.pricing.book import canonical
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.usage import Usage

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOKENS = Usage(input=1_000_000, output=1_000_000)
LIST: list[Any] = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": r"https://api\.openai\.com",
        "extractors": [{"of": "no concern here"}],
        "models": [
            {
                "id": "gpt-4o",
                "match": {"or": [{"equals": "gpt-4o"}, {"starts_with": "gpt-4o-2"}]},
                "prices": {"input_mtok": 1.1, "output_mtok": 7},
            }
        ],
    },
    {
        "id": "aws",
        "name": "AWS",
        "api_pattern": "bedrock",
        "models": [
            {
                "id": "meta.llama3-1-8b-instruct-v1:0",
                "match": {"equals": "meta.llama3-1-8b-instruct-v1:0"},
                "prices": {"input_mtok": 0.22, "output_mtok": 0.22},
            }
        ],
    },
]


def offer(*products: Sequence[str], unit: str = "1K tokens") -> dict[str, Any]:
    """Return a price list; a product is its model, region, kind of tokens, feature and price."""
    found: dict[str, Any] = {"offerCode": "AmazonBedrock", "publicationDate": "2026-02-01"}
    found["products"] = {
        f"SKU{place}": {
            "sku": f"SKU{place}",
            "attributes": {
                "model": model,
                "regionCode": region,
                "inferenceType": kind,
                "feature": feature,
            },
        }
        for place, (model, region, kind, feature, _) in enumerate(products)
    }
    prices = {"unit": unit, "pricePerUnit": {"USD": ""}}
    found["terms"] = {
        "OnDemand": {
            f"SKU{place}": {
                "T": {"priceDimensions": {"D": prices | {"pricePerUnit": {"USD": product[4]}}}}
            }
            for place, product in enumerate(products)
        }
    }
    return found


def document(content: Any, name: str = "source.json") -> Document:
    return Document(name, json.dumps(content).encode())


def cost(prices: Prices, provider: str, model: str, region: str = "") -> int | None:
    answer = prices.price(RateTerms(provider, model, region=region), TOKENS, NOW)
    return answer.cost if isinstance(answer, Priced) else None


def test_a_published_list_takes_the_place_of_the_installed_package():
    book, unknown = compiled([document(LIST)])
    prices = Prices(canonical(book))

    assert unknown == []
    assert cost(prices, "openai", "gpt-4o-2024-08-06") == 8_100_000_000_000
    assert cost(prices, "mistral", "mistral-large-latest") is None
    assert book.sources["genai-prices"].startswith("sha256:")


@pytest.mark.parametrize(("unit", "times"), [("1K tokens", 1), ("1M tokens", 1000)])
def test_a_price_list_of_aws_says_what_a_region_costs_whatever_its_unit(unit: str, times: int):
    rows = offer(
        ("Llama 3.1 8B", "eu-west-2", "Input tokens", "On-demand Inference", f"{0.5 * times}"),
        ("Llama 3.1 8B", "eu-west-2", "Output tokens", "On-demand Inference", f"{0.75 * times}"),
        ("Llama 3.1 8B", "eu-west-2", "Input tokens batch", "Batch Inference", f"{0.1 * times}"),
        ("Llama 3.1 8B", "eu-west-2", "Provisioned hours", "Provisioned", "9"),
        ("Nonesuch 7", "eu-west-2", "Input tokens", "On-demand Inference", "1"),
        unit=unit,
    )
    before, after = compiled([document(LIST)]), compiled([document(rows), document(LIST)])
    old, new = Prices(canonical(before.book)), Prices(canonical(after.book))
    model = "meta.llama3-1-8b-instruct-v1:0"

    assert cost(new, "aws", model, "eu-west-2") == 1_250_000_000_000_000
    assert cost(new, "aws", model, "us-east-1") == cost(old, "aws", model, "us-east-1")
    assert after.unknown == ["Nonesuch 7"]


def test_a_model_without_a_price_for_answers_gets_no_row():
    rows = offer(("Llama 3.1 8B", "eu-west-2", "Input tokens", "On-demand Inference", "0.5"))

    with_rows = compiled([document(LIST), document(rows)])

    assert with_rows.book.rows == compiled([document(LIST)]).book.rows


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        {"offerCode": "AmazonBedrock"},
        {"offerCode": "X", "products": {}, "terms": {"OnDemand": {"S": []}}},
        [{"id": "openai"}],
        [{**LIST[0], "models": [{**LIST[0]["models"][0], "prices": {"input_miles": 1}}]}],
        [[[]]],
        7,
    ],
)
def test_what_is_no_price_source_is_refused_by_its_name(content: Any):
    with pytest.raises(ProblemError) as refused:
        compiled([document(content, "prices.json")])

    assert refused.value.problem.code == "validation"
    assert refused.value.problem.message.startswith("prices.json: ")


def test_two_lists_of_genai_prices_contradict_each_other():
    with pytest.raises(ProblemError, match="already"):
        compiled([document(LIST), document(LIST)])
