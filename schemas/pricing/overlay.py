"""Rows of one's own, laid over a book: contract prices, regions, what no public source has. Pure.

Prices are in dollars, as contracts and price lists have them, and read as decimals.
"""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from schemas.base import StrictValue
from schemas.pricing.book import (
    Book,
    Dispute,
    Multiplier,
    Pattern,
    Price,
    ProviderEntry,
    Rate,
    Rates,
    Row,
    Test,
    Tier,
)
from schemas.pricing.units import COUNTS, PICO, Bucket

Dollars = dict[Bucket, Decimal]


class OverlayTier(StrictValue, rename={"start": "from"}):
    """What replaces the prices of a request whose prompt has at least ``start`` tokens."""

    start: int
    usd: Dollars


class OverlayPrice(StrictValue):
    """Dollars by bucket, and by the size of the prompt."""

    usd: Dollars
    tiers: list[OverlayTier] = []


class OverlayRow(StrictValue, rename={"since": "from"}):
    """The price of one model, for a time or for ever.

    ``usd`` is for ``per`` tokens; of what is no token, for one. Variants that are not named here
    stay as they are in the book below. ``regions`` limits the row to some, where a model's price
    differs elsewhere; ``aliases`` are further names.
    """

    provider: str
    model: str
    usd: Dollars
    per: Literal[1, 1000, 1_000_000] = 1_000_000
    tiers: list[OverlayTier] = []
    variants: dict[str, OverlayPrice] = {}
    since: date | None = None
    until: date | None = None
    regions: list[str] = []
    aliases: list[str] = []
    name: str = ""
    context_window: int | None = None
    url: str = ""


class RegionLimit(StrictValue):
    """A row of the book below holds in these regions only."""

    provider: str
    model: str
    regions: list[str]


class RegionUplift(StrictValue):
    """What the tokens of a row cost in a region, as a multiple of what they cost elsewhere.

    ``by`` has it by region, ``*`` being any but ``global``. A model that has no row of its own yet
    gets a copy of the one it is ``like``.
    """

    provider: str
    model: str
    by: dict[str, Decimal]
    like: str = ""


class PlainVariants(StrictValue):
    """Variants of a row that cost what the standard does."""

    provider: str
    model: str
    variants: list[str]


class DisputedRow(StrictValue):
    """Another source has other rates for a row."""

    provider: str
    model: str
    disputes: list[Dispute]


class Overlay(StrictValue):
    """What is laid over a book. ``source`` says where its rows come from."""

    name: str
    source: str = ""
    providers: dict[str, ProviderEntry] = {}
    provider_aliases: dict[str, str] = {}
    rows: list[OverlayRow] = []
    patterns: dict[str, list[Pattern]] = {}
    limits: list[RegionLimit] = []
    uplifts: list[RegionUplift] = []
    disputed: list[DisputedRow] = []
    plain: list[PlainVariants] = []


def empty(name: str) -> Book:
    """Return a book without rows."""
    return Book(
        format=1,
        name=name,
        sources={},
        providers={},
        provider_aliases={},
        aliases={},
        patterns={},
        rows={},
    )


def laid_over(book: Book, overlay: Overlay) -> Book:
    """Return the book with the overlay's rows before its own.

    Names count in lower case, as they are looked up; a provider may have any name of the book's.
    """
    rows = {provider: dict(models) for provider, models in book.rows.items()}
    aliases = {provider: dict(names) for provider, names in book.aliases.items()}
    for own in overlay.rows:
        provider, model = _provider(book, own.provider), own.model.strip().lower()
        models = rows.setdefault(provider, {})
        models[model] = _merged(own, models.get(model), overlay)
        for alias in own.aliases:
            aliases.setdefault(provider, {})[alias.strip().lower()] = model
    for limit in overlay.limits:
        _replace(rows, limit.provider, limit.model, regions=limit.regions)
    for uplift in overlay.uplifts:
        models = rows.get(_provider(book, uplift.provider), {})
        model = uplift.model.strip().lower()
        below = models.get(model, models.get(uplift.like.strip().lower()))
        if below is not None:
            models[model] = msgspec.structs.replace(below, uplifts=_multipliers(uplift))
    for disputed in overlay.disputed:
        _replace(rows, disputed.provider, disputed.model, disputed=disputed.disputes)
    for plain in overlay.plain:
        row = rows.get(plain.provider, {}).get(plain.model, Row(prices=[]))
        variants = row.variants | dict.fromkeys(plain.variants, row.prices)
        _replace(rows, plain.provider, plain.model, variants=variants)
    patterns = dict(book.patterns)
    for name, own_patterns in overlay.patterns.items():
        provider = _provider(book, name)
        patterns[provider] = [*map(_lowered, own_patterns), *patterns.get(provider, [])]
    providers = {name: ProviderEntry(name=name) for name in rows}
    return msgspec.structs.replace(
        book,
        sources=book.sources | {f"overlay {overlay.name}": overlay.source},
        providers=providers | book.providers | overlay.providers,
        provider_aliases=book.provider_aliases | overlay.provider_aliases,
        aliases=aliases,
        patterns=patterns,
        rows=rows,
    )


def rate_of(usd: Decimal, per: int) -> Rate:
    """Return dollars for so many units as an exact rate."""
    exact = Fraction(usd) * PICO / per
    return exact.numerator if exact.denominator == 1 else (exact.numerator, exact.denominator)


def _multipliers(uplift: RegionUplift) -> dict[str, Multiplier]:
    return {region.strip().lower(): times.as_integer_ratio() for region, times in uplift.by.items()}


def _provider(book: Book, name: str) -> str:
    """Return the name under which the book has a provider, or shall have it."""
    name = name.strip().lower()
    return book.provider_aliases.get(name, name)


def _lowered(pattern: Pattern) -> Pattern:
    groups: list[list[Test]] = [
        [(kind, text if kind == "regex" else text.lower()) for kind, text in group]
        for group in pattern.groups
    ]
    return Pattern(model=pattern.model.lower(), groups=groups)


def _replace(rows: dict[str, dict[str, Row]], provider: str, model: str, **values: object) -> None:
    row = rows.get(provider, {}).get(model)
    if row is not None:
        rows[provider][model] = msgspec.structs.replace(row, **values)


def _merged(own: OverlayRow, below: Row | None, overlay: Overlay) -> Row:
    under = below or Row(prices=[])
    return Row(
        prices=_over(own, OverlayPrice(usd=own.usd, tiers=own.tiers), under.prices),
        variants=under.variants
        | {
            name: _over(own, price, under.variants.get(name, []))
            for name, price in own.variants.items()
        },
        name=own.name or under.name,
        context_window=own.context_window or under.context_window,
        regions=own.regions or under.regions,
        uplifts=under.uplifts,
        minimum=under.minimum,
        source=f"overlay {overlay.name}",
        url=own.url,
    )


def _over(own: OverlayRow, price: OverlayPrice, below: list[Price]) -> list[Price]:
    """Put a price before others, which it hides for its time."""
    first = Price(
        rates=_rates(price.usd, own.per),
        tiers=[Tier(start=tier.start, rates=_rates(tier.usd, own.per)) for tier in price.tiers],
        since=own.since,
        until=own.until,
    )
    return [first] if own.since is None and own.until is None else [first, *below]


def _rates(usd: Dollars, per: int) -> Rates:
    return {bucket: rate_of(price, 1 if bucket in COUNTS else per) for bucket, price in usd.items()}
