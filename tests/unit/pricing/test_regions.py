"""What a model costs more in a region: at OpenAI, on Vertex AI and at Anthropic."""

import importlib.metadata
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from actors.pricing.core.comparison import differences
from bus.kv.prices import shipped_text
from schemas.pricing.book import canonical, read
from schemas.pricing.overlay import Overlay, RegionUplift, laid_over
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.pricing.terms import terms_of
from schemas.providers import Anthropic, Custom, Google, OpenAI, Provider
from schemas.usage import Usage
from tests.unit.pricing import sources
from tests.unit.pricing.sources import Entry

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOOK = Prices(shipped_text())
USAGE = Usage(input=1000, cache_read=300, output=500)
EUROPE = "https://eu.api.openai.com/v1"


def cost(terms: RateTerms, usage: Usage = USAGE, book: Prices = BOOK) -> int:
    answer = book.price(terms, usage, AT)
    assert isinstance(answer, Priced), answer
    return answer.cost


def at_openai(model: str, region: str = "eu") -> OpenAI:
    return OpenAI(model=model, base_url=f"https://{region}.api.openai.com/v1")


def at_vertex(model: str, location: str = "europe-west4") -> Google:
    return Google(model=model, project="ours", location=location)


@pytest.mark.parametrize(
    ("there", "usual"),
    [
        (at_openai("gpt-5.4"), OpenAI(model="gpt-5.4")),
        (at_openai("gpt-5.4-2026-03-05", "us"), OpenAI(model="gpt-5.4")),
        (at_openai("gpt-6.1-sol", "jp"), OpenAI(model="gpt-6.1-sol")),
        (at_openai("gpt-realtime-2.1"), OpenAI(model="gpt-realtime-2.1")),
        (OpenAI(model="gpt-5.5", base_url="HTTPS://EU.API.OPENAI.COM"), OpenAI(model="gpt-5.5")),
        (Custom(model="gpt-5.4", base_url=EUROPE), OpenAI(model="gpt-5.4")),
        (at_vertex("gemini-3.5-flash"), Google(model="gemini-3.5-flash")),
        (at_vertex("gemini-3.8-flash", "us"), at_vertex("gemini-3.8-flash", "global")),
        (at_vertex("gemini-3.1-flash-image"), Google(model="gemini-3.1-flash-image")),
    ],
)
def test_a_model_is_a_tenth_dearer_in_a_region(there: Provider, usual: Provider):
    usage = Usage(input=1000, output=500)

    assert cost(terms_of(there), usage) * 10 == cost(terms_of(usual), usage) * 11


@pytest.mark.parametrize(
    ("there", "usual"),
    [
        (at_openai("gpt-4.1"), OpenAI(model="gpt-4.1")),
        (at_openai("gpt-5"), OpenAI(model="gpt-5")),
        (at_openai("gpt-realtime-2"), OpenAI(model="gpt-realtime-2")),
        (at_vertex("gemini-2.5-pro"), Google(model="gemini-2.5-pro")),
        (at_vertex("gemini-3.1-flash-lite-preview"), Google(model="gemini-3.1-flash-lite-preview")),
        (at_vertex("gemini-3.5-flash", "global"), Google(model="gemini-3.5-flash")),
        (Google(model="gemini-3.5-flash", location="us-east1"), Google(model="gemini-3.5-flash")),
        (
            OpenAI(model="gpt-5.4", base_url="https://eu.api.openai.com.example.com/v1"),
            OpenAI(model="gpt-5.4"),
        ),
        (Anthropic(model="claude-opus-5"), Anthropic(model="claude-opus-5")),
    ],
)
def test_elsewhere_and_for_older_models_the_usual_price_stays(there: Provider, usual: Provider):
    usage = Usage(input=1000, output=500)

    assert cost(terms_of(there), usage) == cost(terms_of(usual), usage)


def test_tiers_batches_and_caches_are_dearer_too_and_a_search_is_not():
    def both(usage: Usage, *, batch: bool = False) -> tuple[int, int]:
        terms = [
            RateTerms("openai", "gpt-5.4", batch=batch, region=region) for region in ("", "eu")
        ]
        usual, there = (cost(each, usage) for each in terms)
        return usual, there

    assert both(Usage(input=1000, output=10)) == (2_650_000_000, 2_915_000_000)
    assert both(Usage(input=300_000)) == (1_500_000_000_000, 1_650_000_000_000)
    assert both(Usage(input=1000), batch=True) == (1_250_000_000, 1_375_000_000)
    assert both(Usage(cache_read=1000)) == (250_000_000, 275_000_000)
    assert both(Usage(searches=1)) == (10_000_000_000, 10_000_000_000)


def test_a_region_of_the_owner_says_nothing_of_another_seller():
    azure = RateTerms("azure", "gpt-5.4-pro-2026-03-05", region="eu")

    answer = BOOK.price(azure, Usage(input=1000), AT)

    assert isinstance(answer, Priced)
    assert answer.row == "openai/gpt-5.4-pro"
    assert answer.cost == cost(RateTerms("openai", "gpt-5.4-pro"), Usage(input=1000))


def regional(entry: Entry, kind: str) -> Iterator[tuple[RateTerms, Decimal]]:
    """Yield what the table multiplies a model's price with, on which terms."""
    rates = entry.rates
    if kind == "openai":
        for region in ("eu", "us"):
            told = rates.get(f"regional_processing_uplift_multiplier_{region}", 1)
            yield terms_of(at_openai(entry.model, region)), Decimal(told)
    elif kind == "anthropic":
        told = (rates.get("provider_specific_entry") or {}).get("us", 1)
        yield terms_of(Anthropic(model=entry.model), region_served="US"), Decimal(told)
    else:
        told = rates.get("regional_endpoint_uplift_multiplier", 1)
        yield terms_of(at_vertex(entry.model)), Decimal(told)


def entries() -> Iterator[tuple[Entry, str]]:
    """Return the models of the three sellers, each by the name it has there."""
    for key, rates in sources.table().items():
        kind = str(rates.get("litellm_provider"))
        if kind in {"openai", "anthropic"}:
            yield Entry(kind, key, rates), kind
        elif kind.startswith("vertex_ai") and key.startswith("vertex_ai/"):
            yield Entry("google", key.removeprefix("vertex_ai/"), rates), "vertex"


def test_every_model_of_the_second_source_is_dearer_in_a_region_by_as_much_as_that_says():
    compiled_from = BOOK.book.sources["overlay regions"]
    table, installed = sources.table(), importlib.metadata.version("litellm")
    if table and compiled_from != f"litellm {installed}":
        pytest.skip(f"the book was compiled from {compiled_from}, not from {installed}")
    differing: list[tuple[str, int, Decimal]] = []
    dearer: dict[str, int] = {"openai": 0, "vertex": 0, "anthropic": 0}
    usage = Usage(input=1000, output=500)
    for entry, kind in entries():
        usual = BOOK.price(RateTerms(entry.provider, entry.model), usage, AT)
        if not isinstance(usual, Priced) or not usual.row.startswith(f"{entry.provider}/"):
            continue
        for terms, times in regional(entry, kind):
            there = cost(terms, usage)
            if there != usual.cost * times:
                differing.append((entry.model, there, times))
            elif times != 1 and sources.second(entry, usage) == usual.cost:
                dearer[kind] += 1

    assert differing == []
    assert min(dearer.values()) > 0


def test_an_operator_agrees_on_other_multiples_and_on_none():
    def book(by: dict[str, Decimal]) -> Prices:
        own = RegionUplift(provider="OpenAI", model="GPT-5.4", by=by)
        overlay = Overlay(name="contract", uplifts=[own])
        return Prices(canonical(laid_over(read(shipped_text()), overlay)))

    def times(by: dict[str, Decimal], region: str) -> int:
        usage = Usage(input=1000)
        return cost(RateTerms("openai", "gpt-5.4", region=region), usage, book(by)) // 25_000_000

    assert times({"EU": Decimal("1.03"), "*": Decimal(2)}, "eu") == 103
    assert times({"EU": Decimal("1.03"), "*": Decimal(2)}, "jp") == 200
    assert times({"EU": Decimal("1.03"), "*": Decimal(2)}, "global") == 100
    assert times({}, "eu") == 100


def test_a_multiple_that_changes_is_told_as_a_difference_of_two_books():
    old = read(shipped_text())
    own = RegionUplift(provider="openai", model="gpt-5.4", by={"eu": Decimal("1.03")})

    (found,) = differences(old, laid_over(old, Overlay(name="contract", uplifts=[own])))

    assert (found.model, found.change) == ("gpt-5.4", "changed")
    assert found.before.endswith("other regions: times 1.1")
    assert found.after.endswith("eu: times 1.03")
