"""The book that ships: compiled from what it says, and nothing else."""

import importlib.metadata

import pytest

from actors.pricing.adapters import shipped
from bus.kv.prices import shipped_text
from schemas.pricing.book import BookError, book_id, canonical, read
from schemas.pricing.prices import Prices
from tests.unit.pricing.sources import needs_source


@needs_source
def test_it_is_what_the_installed_price_source_and_our_overlays_compile_to():
    text = shipped_text()
    version = importlib.metadata.version("genai-prices")
    if read(text).sources["genai-prices"] != version:
        pytest.skip(f"the book was compiled from another version than {version}")

    assert canonical(shipped.compiled()) == text


def test_its_text_is_canonical():
    text = shipped_text()

    assert canonical(read(text)) == text
    assert Prices(text).book_id == book_id(text)


def test_it_has_the_rows_of_all_its_aliases_and_patterns():
    book = read(shipped_text())
    meant = [
        (provider, model)
        for provider, aliases in book.aliases.items()
        for model in aliases.values()
    ] + [
        (provider, pattern.model)
        for provider, patterns in book.patterns.items()
        for pattern in patterns
    ]

    missing = [
        (provider, model) for provider, model in meant if model and model not in book.rows[provider]
    ]
    assert missing == []


def test_every_row_says_where_it_comes_from():
    book = read(shipped_text())
    unsaid = [
        (provider, model)
        for provider, rows in book.rows.items()
        for model, row in rows.items()
        if not row.source and "genai-prices" not in book.sources
    ]

    assert unsaid == []
    assert set(book.sources) == {
        "genai-prices",
        "overlay callboard",
        "overlay disputed",
        "overlay regions",
    }


def test_disputed_rows_name_the_other_rate():
    row = Prices(shipped_text()).row("aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0")

    assert row is not None
    assert {dispute.key: dispute.rate for dispute in row.disputed if dispute.bucket == "input"} == {
        "anthropic.claude-haiku-4-5-20251001-v1:0": 1_000_000
    }


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'{"format":2}'])
def test_what_is_no_book_is_refused(text: bytes):
    with pytest.raises(BookError):
        Prices(text)


def test_the_table_of_the_requirements_has_names_prices_and_context_limits():
    rows = shipped.source_book().rows

    assert {
        (provider, model): (row.context_window, row.prices[0].rates)
        for provider, models in rows.items()
        for model, row in models.items()
    } == {
        ("openai", "gpt-4"): (8192, {"input": 30_000_000, "output": 60_000_000}),
        ("openai", "gpt-4-32k"): (32_768, {"input": 60_000_000, "output": 120_000_000}),
        ("anthropic", "claude-3-opus"): (200_000, {"input": 15_000_000, "output": 75_000_000}),
        ("google", "gemini-pro"): (30_720, {"input": 125_000, "output": 375_000}),
        ("groq", "llama3-70b"): (8192, {"input": 800_000, "output": 800_000}),
    }
