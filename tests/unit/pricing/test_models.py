"""The models of the rate book as a list, with windows and prices."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from actors.pricing.adapters import shipped
from actors.pricing.core.models import listed
from bus.kv.prices import shipped_text
from schemas.models import ListModels, ModelList, ModelRate, ModelRow
from schemas.pricing.book import canonical
from schemas.pricing.prices import Prices
from schemas.problems import Problem

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@cache
def _shipped() -> Prices:
    return Prices(shipped_text())


def _page(prices: Prices | None = None, **query: Any) -> ModelList:
    found = listed(prices or _shipped(), ListModels(**query), NOW)
    assert isinstance(found, ModelList), found
    return found


def test_a_model_is_listed_with_its_window_and_its_prices():
    page = _page(provider="anthropic", search="CLAUDE-3-OPUS")

    assert page.models == [
        ModelRow(
            provider="anthropic",
            model="claude-3-opus-latest",
            type="anthropic",
            context_window=200_000,
            max_output=4_096,
            rates=page.models[0].rates,
            tiered=False,
        )
    ]
    assert ModelRate(bucket="input", rate_pico=15_000_000) in page.models[0].rates
    assert page.book_id == _shipped().book_id


def test_the_windows_of_the_source_are_listed_from_its_book():
    prices = Prices(canonical(shipped.source_book()))

    assert {row.model: row.context_window for row in _page(prices).models} == {
        "gpt-4": 8192,
        "gpt-4-32k": 32_768,
        "claude-3-opus": 200_000,
        "gemini-pro": 30_720,
        "llama3-70b": 8192,
    }


def test_the_pages_of_the_list_are_all_models_by_provider_and_name():
    pages = [_page(limit=1000, offset=offset) for offset in (0, 1000, 2000, 3000)]
    rows = [(row.provider, row.model) for page in pages for row in page.models]

    assert rows == sorted(rows)
    assert len(rows) == pages[0].total > 1000


@pytest.mark.parametrize(
    ("named", "provider"),
    [("bedrock", "aws"), ("aws", "aws"), ("https://api.groq.com/openai/v1", "groq")],
)
def test_a_provider_goes_by_each_of_its_names(named: str, provider: str):
    page = _page(provider=named, limit=1)

    assert page.models[0].provider == provider
    assert page.models[0].type == {"aws": "bedrock", "groq": "groq"}[provider]


def test_a_provider_that_is_not_in_the_book_is_refused_with_those_that_are():
    refused = listed(_shipped(), ListModels(provider="nobody"), NOW)

    assert isinstance(refused, Problem)
    assert (refused.code, refused.field) == ("not_found", "provider")
    assert "anthropic" in refused.message
