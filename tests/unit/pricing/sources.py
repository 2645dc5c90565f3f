"""The two sources of prices, asked as directly as can be: the oracle of the rate book's tests.

Neither goes through any code of ours. The tests that need one are skipped where it is missing.
"""

import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.usage import Usage

PICO = 10**12
LATE = "genai-prices is not installed: pip install 'callboard[dev]'"

needs_source = pytest.mark.skipif(importlib.util.find_spec("genai_prices") is None, reason=LATE)

CONTEXTS: Mapping[str, dict[str, str]] = {
    "": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}

TABLE = "litellm/model_prices_and_context_window_backup.json"

PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together_ai": "together",
    "vertex_ai-anthropic_models": "google",
    "vertex_ai-language-models": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
    "zai": "zai",
}


def first_models() -> Iterator[tuple[str, Any]]:
    """Return every model of genai-prices with its provider."""
    data: Any = importlib.import_module("genai_prices.data")
    for provider in data.providers:
        for model in provider.models:
            yield provider.id, model


@cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """Return litellm's table with exact decimals; skips where litellm is not installed."""
    try:
        found = importlib.metadata.distribution("litellm").locate_file(TABLE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("litellm's table of prices is not installed: make install")
    return json.loads(Path(str(found)).read_text(encoding="utf-8"), parse_float=Decimal)


def first(
    provider: str, model: str, usage: Usage, *, at: datetime, variant: str = ""
) -> Decimal | None:
    """Return what genai-prices says in pico-dollars, None if it knows no price."""
    source: Any = importlib.import_module("genai_prices")
    asked = source.Usage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cache_read + usage.audio_cached,
        cache_write_tokens=usage.written,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.audio_input + usage.audio_cached,
        cache_audio_read_tokens=usage.audio_cached,
        output_tokens=usage.output + usage.audio_output,
        output_audio_tokens=usage.audio_output,
        output_reasoning_tokens=usage.reasoning,
        web_searches=usage.searches,
    )
    try:
        found = source.calc_price(
            asked,
            model,
            provider_id=provider,
            genai_request_timestamp=at,
            price_context=CONTEXTS[variant] or None,
        )
    except (LookupError, ValueError):
        return None
    rated = {name for name, value in found.model_price.__dict__.items() if value is not None}
    return found.total_price * PICO if _all_rated(usage, rated) else None


def _all_rated(usage: Usage, rated: set[str]) -> bool:
    """Whether every bucket has a price of its own, where nothing may stand in for it."""
    needed = {
        "input_mtok": usage.prompt,
        "output_mtok": usage.output + usage.audio_output,
        "cache_read_mtok": usage.cache_read,
        "cache_write_mtok": usage.written,
        "cache_write_1h_mtok": usage.cache_write_1h,
        "cache_audio_read_mtok": usage.audio_cached,
        "web_searches_kcount": usage.searches,
    }
    return all(name in rated for name, count in needed.items() if count)


class Entry(NamedTuple):
    """A model of the table: its name at a provider as the first source calls that."""

    provider: str
    model: str
    rates: Mapping[str, Any]


def entries() -> Iterator[Entry]:
    """Return the models of the table at providers that both sources know."""
    for key, rates in table().items():
        kind = str(rates.get("litellm_provider"))
        if kind in PROVIDERS and rates.get("mode") in {"chat", "responses", "embedding"}:
            prefix = "vertex_ai/" if kind.startswith("vertex_ai-") else f"{kind}/"
            yield Entry(PROVIDERS[kind], key.removeprefix(prefix), rates)


_SUFFIXES = {"": "", "batch": "_batches", "flex": "_flex", "priority": "_priority"}


def second(entry: Entry, usage: Usage, variant: str = "") -> Decimal | None:
    """Return what the table says in pico-dollars by our own sum, None if a rate is not in it."""
    counts = {
        "input_cost_per_token": usage.input,
        "cache_read_input_token_cost": usage.cache_read,
        "cache_creation_input_token_cost": usage.cache_write + usage.cache_write_5m,
        "cache_creation_input_token_cost_above_1hr": usage.cache_write_1h,
        "input_cost_per_audio_token": usage.audio_input,
        "cache_read_input_audio_token_cost": usage.audio_cached,
        "output_cost_per_token": usage.output - usage.reasoning,
        "output_cost_per_reasoning_token": usage.reasoning,
        "output_cost_per_audio_token": usage.audio_output,
    }
    if f"input_cost_per_token{_SUFFIXES.get(variant, '?')}" not in entry.rates:
        return None
    total = Decimal(0)
    for name, count in counts.items():
        rate = _rate(entry, name, usage.prompt, variant) if count else Decimal(0)
        if rate is None and name == "output_cost_per_reasoning_token":
            rate = _rate(entry, "output_cost_per_token", usage.prompt, variant)
        if rate is None:
            return None
        total += count * Decimal(rate)
    return None if usage.searches else total * PICO


def _rate(entry: Entry, name: str, prompt: int, variant: str) -> Decimal | None:
    suffix = _SUFFIXES[variant]
    found = entry.rates.get(name + suffix)
    for start in (32, 100, 128, 200, 256, 272, 512):
        # xAI counts from 200,000 on, all others above.
        reached = prompt >= start * 1000 if entry.provider == "x-ai" else prompt > start * 1000
        higher = entry.rates.get(f"{name}_above_{start}k_tokens{suffix}")
        found = higher if reached and higher is not None else found
    return found
