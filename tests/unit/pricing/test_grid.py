"""The rate book against its sources: the same cost, to the pico-dollar."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from bus.kv.prices import shipped_text
from schemas.pricing.prices import Priced, Prices, RateTerms, Unpriced
from schemas.usage import Usage
from tests.unit.pricing import sources
from tests.unit.pricing.sources import CONTEXTS, Entry, needs_source

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENTS = (
    NOW,
    datetime(2025, 1, 1, 3, tzinfo=UTC),
    datetime(2025, 6, 9, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2025, 6, 10, tzinfo=UTC),
    datetime(2026, 9, 1, 0, 59, 59, tzinfo=UTC),
    datetime(2026, 9, 1, 1, tzinfo=UTC),
    datetime(2026, 10, 14, tzinfo=UTC),
)

USAGES = (
    Usage(input=1000, output=500),
    Usage(input=1, output=1),
    Usage(),
    Usage(input=0, output=77),
    Usage(input=1000, cache_read=3000, output=10),
    Usage(cache_read=12_345, output=7),
    Usage(input=1000, cache_write=77, output=10),
    Usage(input=5, cache_write_5m=10_001, output=3),
    Usage(input=5, cache_write_5m=10, cache_write_1h=20, output=3),
    Usage(input=3, output=400, reasoning=300),
    Usage(input=100, audio_input=50, output=20, audio_output=7),
    Usage(input=100_000, output=9),
    Usage(input=100_001, output=9),
    Usage(input=128_000, output=9),
    Usage(input=128_001, output=9),
    Usage(input=199_999, output=9),
    Usage(input=200_000, output=9),
    Usage(input=200_001, output=9),
    Usage(input=1, cache_read=199_999, output=9),
    Usage(input=1, cache_read=100_000, cache_write=100_000, output=9),
    Usage(input=256_001, output=9),
    Usage(input=272_000, output=9),
    Usage(input=272_001, output=9),
    Usage(input=600_000, cache_read=400_000, output=64_000, reasoning=32_000),
)


@cache
def book() -> Prices:
    return Prices(shipped_text())


def ours(
    provider: str, model: str, usage: Usage, at: datetime, variant: str = ""
) -> Priced | Unpriced:
    tier = None if variant in {"", "batch"} else variant
    return book().price(RateTerms(provider, model, tier, variant == "batch"), usage, at)


def exact(answer: Priced | Unpriced) -> object:
    return answer.cost if isinstance(answer, Priced) else answer.reason


def agreements(entry: Entry, usage: Usage) -> Iterator[tuple[str, Decimal]]:
    """Yield the variants by which both sources say the same, first the standard.

    Where they differ in the standard price, a variant on which they meet is an accident: the first
    gives the standard price for every variant it does not know.
    """
    for variant in ("", "batch", "flex", "priority"):
        second = sources.second(entry, usage, variant)
        if second is None and variant:
            continue
        first = sources.first(entry.provider, entry.model, usage, at=NOW, variant=variant)
        if first is not None and first == second:
            yield variant, first
        elif not variant:
            return


@needs_source
def test_cost_is_what_both_sources_say_wherever_they_agree():
    chance = random.Random(0)
    differing: list[tuple[Any, ...]] = []
    agreed = 0
    for entry in sources.entries():
        for usage in chance.sample(USAGES, 9):
            for variant, cost in agreements(entry, usage):
                agreed += 1
                answer = ours(entry.provider, entry.model, usage, NOW, variant)
                if exact(answer) != cost:
                    differing.append((*entry[:2], usage, variant, exact(answer), cost))

    assert differing == []
    assert agreed >= 5_000


@needs_source
@pytest.mark.parametrize("seed", range(4))
def test_cost_is_what_the_first_source_says_of_every_model_it_has(seed: int):
    chance = random.Random(seed)
    differing: list[tuple[Any, ...]] = []
    equal = 0
    for provider, model in sources.first_models():
        usage, at = chance.choice(USAGES), chance.choice(MOMENTS)
        variant = chance.choice(("", "", *CONTEXTS)) if model.price_variants else ""
        first = sources.first(provider, model.id, usage, at=at, variant=variant)
        answer = ours(provider, model.id, usage, at, variant)
        if isinstance(answer, Unpriced) or first is None:
            continue
        equal += 1
        if abs(first - answer.cost) > len(answer.lines()) / 2:
            differing.append((provider, model.id, usage, at, variant, answer.cost, first))

    assert differing == []
    assert equal > 1_000
