"""A cross-check: litellm's table of prices beside a book. Pure.

It has no history and is changed by many hands, so it overrules nothing. Where it differs, the row
is marked as disputed. One thing is taken from it: what models cost in single regions, which the
first source does not tell apart.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.pricing.book import Book, Dispute, Price, Rates, Row
from schemas.pricing.names import WantedPrice
from schemas.pricing.overlay import (
    DisputedRow,
    Dollars,
    Overlay,
    OverlayPrice,
    OverlayRow,
    OverlayTier,
    PlainVariants,
    RegionLimit,
    rate_of,
)
from schemas.pricing.prices import Prices
from schemas.pricing.units import Bucket

Table = Mapping[str, Mapping[str, Any]]

HOME_REGIONS = ("us-east-1", "us-east-2", "us-west-2")
"""Where a price stands that tells no region."""

PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
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
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai-anthropic_models": "google",
    "vertex_ai-language-models": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
    "zai": "zai",
}
"""The providers of the table that the book knows too."""

_BUCKETS: Mapping[str, Bucket] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
}
_VARIANTS = {None: "", "batches": "batch", "flex": "flex", "priority": "priority"}
_KEY = re.compile(
    rf"^(?P<base>{'|'.join(sorted(_BUCKETS, key=len, reverse=True))})"
    r"(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<variant>batches|flex|priority))?$"
)
_REGION = re.compile(r"^bedrock/(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)/(?P<model>[^/]+)$")
_ZONE = re.compile(r"^azure/(?P<zone>eu|us)/(?P<model>[^/]+)$")
_PROFILE = re.compile(r"^(?:eu|us|us-gov|apac|ap|jp|au|in|ca|global)\.(?!anthropic)")


class ListedPrice(NamedTuple):
    """What the table says of one model: dollars for one token, by variant and start of the tier."""

    key: str
    provider: str
    model: str
    variants: Mapping[str, Mapping[int, Dollars]]


def listed(table: Table) -> Iterator[ListedPrice]:
    """Return what the table says of models at providers that the book knows."""
    for key, entry in sorted(table.items()):
        provider = PROVIDERS.get(str(entry.get("litellm_provider")))
        variants = _variants(entry)
        if provider and variants.get(""):
            prefix = f"{entry['litellm_provider']}/"
            model = key.removeprefix(prefix).removeprefix("bedrock/").removeprefix("vertex_ai/")
            yield ListedPrice(key, provider, model.lower(), variants)


def _variants(entry: Mapping[str, Any]) -> dict[str, dict[int, Dollars]]:
    variants: dict[str, dict[int, Dollars]] = {}
    for key, value in entry.items():
        match = _KEY.match(key)
        if match is None or not isinstance(value, Decimal | int) or isinstance(value, bool):
            continue
        start = int(match["thousands"]) * 1000 + 1 if match["thousands"] else 0
        tiers = variants.setdefault(_VARIANTS[match["variant"]], {})
        tiers.setdefault(start, {})[_BUCKETS[match["base"]]] = Decimal(value)
    return variants


# Where it differs


def disputed(prices: Prices, table: Table) -> list[DisputedRow]:
    """Return the rows of the book that the table has other rates for."""
    found: dict[tuple[str, str], list[Dispute]] = {}
    for price in listed(table):
        meant = prices.find(WantedPrice(price.provider, price.model))
        row = prices.row(meant.provider, meant.model) if meant else None
        if meant is None or row is None or meant.provider != price.provider:
            continue
        disputes = list(_disputes(row, price))
        found.setdefault((meant.provider, meant.model), []).extend(disputes)
    return [
        DisputedRow(provider=provider, model=model, disputes=disputes)
        for (provider, model), disputes in sorted(found.items())
        if disputes
    ]


def plain(prices: Prices, table: Table) -> list[PlainVariants]:
    """Return the variants that the table prices like the standard, where the book knows none.

    The first source gives those the standard price too, by not knowing them.
    """
    alike: dict[tuple[str, str], dict[str, bool]] = {}
    for price in listed(table):
        meant = prices.find(WantedPrice(price.provider, price.model))
        row = prices.row(meant.provider, meant.model) if meant else None
        if meant is None or row is None or meant.provider != price.provider:
            continue
        standard = _by_start(_newest(row.prices))
        known = alike.setdefault((meant.provider, meant.model), {})
        for variant, tiers in price.variants.items():
            if variant and variant not in row.variants:
                known[variant] = known.get(variant, True) and _within(tiers, standard)
    return [
        PlainVariants(
            provider=provider,
            model=model,
            variants=sorted(variant for variant, same in variants.items() if same),
        )
        for (provider, model), variants in sorted(alike.items())
        if any(variants.values())
    ]


def _within(tiers: Mapping[int, Dollars], standard: Mapping[int, Rates]) -> bool:
    """Whether both directions are told, and every rate is the standard one."""
    base = tiers.get(0, {})
    return {"input", "output"} <= base.keys() and all(
        standard.get(start, {}).get(bucket) == rate_of(usd, 1)
        for start, dollars in tiers.items()
        for bucket, usd in dollars.items()
    )


def _disputes(row: Row, price: ListedPrice) -> Iterator[Dispute]:
    for variant, tiers in price.variants.items():
        ours = _by_start(_newest(row.variants.get(variant, []) if variant else row.prices))
        for start, dollars in tiers.items():
            for bucket, usd in dollars.items():
                rate = rate_of(usd, 1)
                own = ours.get(start, ours.get(start - 1, {})).get(bucket)
                if own is not None and own != rate:
                    yield Dispute(
                        key=price.key, bucket=bucket, rate=rate, variant=variant, start=start
                    )


def _newest(prices: list[Price]) -> Price | None:
    """Return the price that stands for good."""
    lasting = [price for price in prices if price.hours is None and price.until is None]
    return lasting[0] if lasting else None


def _by_start(price: Price | None) -> dict[int, Rates]:
    if price is None:
        return {}
    return {0: price.rates} | {tier.start: tier.rates for tier in price.tiers}


# What it knows of regions


def regional(book: Book, prices: Prices, table: Table, source: str) -> Overlay:
    """Return the rows of single regions, and the rows of the book that hold in some only."""
    rows: list[OverlayRow] = []
    same: dict[tuple[str, str], set[str]] = {}
    varied: set[tuple[str, str]] = set()
    for price in listed(table):
        place = _place(price)
        meant = prices.find(WantedPrice(price.provider, place[1])) if place else None
        below = prices.row(meant.provider, meant.model) if meant else None
        if place is None:
            continue
        region, _ = place
        name = (meant.provider, meant.model) if meant else None
        if below is not None and not any(_disputes(below, price)):
            same.setdefault(name or ("", ""), set()).add(region)
            continue
        rows.append(_overlay_row(price))
        if name and region and not region.startswith("us-gov") and name[0] == "aws":
            varied.add(name)
    limits = [
        RegionLimit(
            provider=provider,
            model=model,
            regions=sorted({*HOME_REGIONS, *same.get((provider, model), ())} - {""}),
        )
        for provider, model in sorted(varied)
        if model in book.rows.get(provider, {})
    ]
    return Overlay(name="regions", source=source, rows=rows, limits=limits)


def _place(price: ListedPrice) -> tuple[str, str] | None:
    """Return the region or zone of a key and the model without it; an empty region is a profile."""
    regional = _REGION.match(price.key)
    if regional:
        return regional["region"], regional["model"]
    zone = _ZONE.match(price.key)
    if zone:
        return zone["zone"], zone["model"]
    profile = price.provider == "aws" and _PROFILE.match(price.model)
    return ("", price.model) if profile else None


def _overlay_row(price: ListedPrice) -> OverlayRow:
    def tiers(variant: Mapping[int, Dollars]) -> list[OverlayTier]:
        return [OverlayTier(start=start, usd=variant[start]) for start in sorted(variant) if start]

    standard = price.variants[""]
    return OverlayRow(
        provider=price.provider,
        model=price.model,
        usd=standard.get(0, {}),
        per=1,
        tiers=tiers(standard),
        variants={
            name: OverlayPrice(usd=standard.get(0, {}) | variant.get(0, {}), tiers=tiers(variant))
            for name, variant in price.variants.items()
            if name
        },
    )
