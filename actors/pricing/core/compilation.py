"""A rate book from the data of genai-prices: every price as it resolves there, made exact integers.

Whatever depends on the moment is asked of the source itself, at each date and time of day on which
anything changes, so that its rules of precedence are not written a second time. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, cast

from schemas.pricing.book import (
    Book,
    Pattern,
    Price,
    ProviderEntry,
    Rate,
    Rates,
    Row,
    Test,
    TestKind,
    Tier,
)
from schemas.pricing.overlay import empty, rate_of
from schemas.pricing.units import Bucket

SOURCE = "genai-prices"
BEGINNING = date(2000, 1, 1)
"""Before any of these prices."""

_BUCKETS: Mapping[str, tuple[Bucket, int]] = {
    "input_mtok": ("input", 1_000_000),
    "cache_read_mtok": ("cache_read", 1_000_000),
    "cache_write_mtok": ("cache_write", 1_000_000),
    "cache_write_5m_mtok": ("cache_write_5m", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h", 1_000_000),
    "input_audio_mtok": ("audio_input", 1_000_000),
    "cache_audio_read_mtok": ("audio_cached", 1_000_000),
    "input_image_mtok": ("image_input", 1_000_000),
    "cache_image_read_mtok": ("image_cached", 1_000_000),
    "input_video_mtok": ("video_input", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "output_audio_mtok": ("audio_output", 1_000_000),
    "output_image_mtok": ("image_output", 1_000_000),
    "output_video_mtok": ("video_output", 1_000_000),
    "output_reasoning_mtok": ("reasoning", 1_000_000),
    "output_citation_mtok": ("citation", 1_000_000),
    "web_searches_kcount": ("searches", 1_000),
    "storage_searches_kcount": ("file_searches", 1_000),
    "requests_kcount": ("requests", 1_000),
    "audio_hours": ("audio_ms", 3_600_000),
    "input_audio_hours": ("audio_ms", 3_600_000),
    "input_document_kpages": ("pages", 1_000),
    "input_annotated_document_kpages": ("annotated_pages", 1_000),
    "input_mchars": ("characters", 1_000_000),
    "input_text_messages_kcount": ("messages", 1_000),
}
"""What a price of the source is for, and for how many of it."""

_MINIMUM: Mapping[tuple[str, str], Mapping[Bucket, int]] = {
    ("groq", "whisper-large-v3"): {"audio_ms": 10_000},
    ("groq", "whisper-large-v3-turbo"): {"audio_ms": 10_000},
}
"""What the source has written into its code instead of its data."""

FREE = ":free"
"""Ends the names of models that cost nothing; the source gives those no prices at all."""


class SourcePrices(Protocol):
    """The prices of a moment, as attributes: a decimal, or one with tiers."""

    __dict__: dict[str, Any]


class SourceModel(Protocol):
    """A model as genai-prices has it."""

    id: str
    name: str | None
    context_window: int | None
    match: Any
    prices: Any
    price_variants: list[Any] | None

    def get_prices(
        self, request_timestamp: datetime, price_context: Mapping[str, str] | None = None
    ) -> SourcePrices:
        """Return the prices in force."""
        ...


class SourceProvider(Protocol):
    """A provider as genai-prices has it."""

    id: str
    name: str
    api_pattern: str
    pricing_urls: list[str] | None
    fallback_model_providers: list[str] | None
    models: Sequence[SourceModel]

    def find_model(self, model_ref: str) -> SourceModel | None:
        """Return the model that a name means."""
        ...


class UnknownPriceError(ValueError):
    """The source has a kind of price that this module does not know."""


def compiled(providers: Sequence[SourceProvider], version: str) -> Book:
    """Return the book of all priced models.

    Raises:
        UnknownPriceError: a price is of an unknown kind, which a newer source may have.
    """
    book = empty("callboard")
    book.sources[SOURCE] = version
    for provider in providers:
        book.providers[provider.id] = ProviderEntry(
            name=provider.name,
            url=(provider.pricing_urls or [""])[0],
            hosts=provider.api_pattern,
            lenders=list(provider.fallback_model_providers or ()),
        )
        priced = {model.id: row for model in provider.models if (row := _row(provider.id, model))}
        book.rows[provider.id] = {model.lower(): row for model, row in priced.items()}
        book.aliases[provider.id] = _aliases(provider, priced)
        book.patterns[provider.id] = list(_patterns(provider, priced))
    return book


def _row(provider: str, model: SourceModel) -> Row | None:
    prices = _history(model, None, _slots(_constraints(model.prices)))
    if model.id.endswith(FREE) and not any(price.rates for price in prices):
        prices = [Price(rates={"input": 0, "output": 0})]
    prices = [price for price in prices if price.rates]
    if not prices:
        return None
    return Row(
        prices=prices,
        variants=_variants(model),
        context_window=model.context_window,
        minimum=dict(_MINIMUM.get((provider, model.id), {})),
    )


# Moments


class _Slot(NamedTuple):
    """A time within which nothing changes: from a date on, within hours of the day."""

    since: date
    hours: tuple[int, int] | None

    @property
    def moment(self) -> datetime:
        start = self.hours[0] if self.hours else 0
        midnight = datetime.combine(self.since, time(), UTC)
        return midnight + timedelta(minutes=start)


def _constraints(prices: Any) -> list[Any]:
    return [one.constraint for one in prices] if isinstance(prices, list) else []  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _slots(constraints: Sequence[Any]) -> list[_Slot]:
    """Return the slots of a list of constraints, the newest first."""
    dates = {BEGINNING} | {one.start_date for one in constraints if hasattr(one, "start_date")}
    minutes = sorted(
        {
            _minute(end)
            for one in constraints
            if hasattr(one, "start_time")
            for end in (one.start_time, one.end_time)
        }
    )
    hours: list[tuple[int, int] | None] = [None]
    if minutes:
        hours = list(zip(minutes, [*minutes[1:], minutes[0]], strict=True))
    return [_Slot(day, part) for day in sorted(dates, reverse=True) for part in hours]


def _minute(moment: time) -> int:
    utc = datetime.combine(BEGINNING, moment, moment.tzinfo or UTC).astimezone(UTC)
    return utc.hour * 60 + utc.minute


def _history(
    model: SourceModel, context: Mapping[str, str] | None, slots: Sequence[_Slot]
) -> list[Price]:
    """Return the prices of these slots, joined where nothing changes after all."""
    found = [(slot, _price(model.get_prices(slot.moment, context))) for slot in slots]
    by_day: dict[date, list[tuple[_Slot, Price]]] = {}
    for slot, price in found:
        by_day.setdefault(slot.since, []).append((slot, price))
    history: list[Price] = []
    for day, parts in by_day.items():
        alike = all(price == parts[0][1] for _, price in parts)
        for slot, price in parts[:1] if alike else parts:
            history.append(_dated(price, day, None if alike else slot.hours))
    return _joined(history)


def _dated(price: Price, day: date, hours: tuple[int, int] | None) -> Price:
    since = None if day == BEGINNING else day
    return Price(rates=price.rates, tiers=price.tiers, since=since, hours=hours)


def _joined(history: list[Price]) -> list[Price]:
    """Leave out a price that only repeats the one before it in time."""
    kept: list[Price] = []
    for price in reversed(history):
        before = kept[-1] if kept else None
        repeated = (
            before is not None
            and (before.rates, before.tiers) == (price.rates, price.tiers)
            and before.hours is None
            and price.hours is None
        )
        if not repeated:
            kept.append(price)
    return kept[::-1]


# Variants


def _variants(model: SourceModel) -> dict[str, list[Price]]:
    """Return the whole prices of each variant, for the times it is known for."""
    variants: dict[str, list[Price]] = {}
    for variant in model.price_variants or ():
        name = "+".join(sorted(variant.when.values()))
        if name == "default" or name in variants:
            continue
        alike = [one for one in model.price_variants or () if one.when == variant.when]
        known = _known_since(alike)
        slots = _slots([*_constraints(model.prices), *(one.constraint for one in alike)])
        variants[name] = _history(model, variant.when, [one for one in slots if one.since >= known])
    return variants


def _known_since(alike: Sequence[Any]) -> date:
    return min(getattr(one.constraint, "start_date", BEGINNING) for one in alike)


# Rates


def _price(prices: SourcePrices) -> Price:
    rates: Rates = {}
    tiers: dict[int, Rates] = {}
    for key, value in sorted(prices.__dict__.items()):
        if value is None:
            continue
        bucket, _ = _known(key)
        if isinstance(value, Decimal):
            rates[bucket] = _rate(key, value)
            continue
        rates[bucket] = _rate(key, value.base)
        for tier in value.tiers:
            tiers.setdefault(tier.start + 1, {})[bucket] = _rate(key, tier.price)
    ordered = [Tier(start=start, rates=tiers[start]) for start in sorted(tiers)]
    return Price(rates=rates, tiers=ordered)


def _rate(key: str, price: Decimal) -> Rate:
    return rate_of(price, _known(key)[1])


def _known(key: str) -> tuple[Bucket, int]:
    if key not in _BUCKETS:
        raise UnknownPriceError(f"the price {key} is of an unknown kind")
    return _BUCKETS[key]


# Names


def _aliases(provider: SourceProvider, priced: Mapping[str, Row]) -> dict[str, str]:
    """Return every name written out in the source, with the model that it means there."""
    aliases: dict[str, str] = {}
    for model in provider.models:
        for group in _groups(model.match):
            if len(group) != 1 or group[0][0] != "equals":
                continue
            name = group[0][1]
            meant = provider.find_model(name)
            if meant is not None and (row := _priced_name(meant, priced)) != name:
                aliases[name] = row
    return aliases


def _patterns(provider: SourceProvider, priced: Mapping[str, Row]) -> Iterator[Pattern]:
    """Return the rest of what the source matches by, in its order."""
    for model in provider.models:
        groups = [
            group for group in _groups(model.match) if len(group) > 1 or group[0][0] != "equals"
        ]
        if groups:
            yield Pattern(model=_priced_name(model, priced), groups=groups)


def _priced_name(model: SourceModel, priced: Mapping[str, Row]) -> str:
    """Return the row of a model, empty if it is known but has no price."""
    return model.id.lower() if model.id in priced else ""


def _groups(clause: Any) -> list[list[Test]]:
    """Return a clause as groups of tests, of which one must pass whole."""
    if hasattr(clause, "or_"):
        return [group for part in clause.or_ for group in _groups(part)]
    if hasattr(clause, "and_"):
        groups: list[list[Test]] = [[]]
        for part in clause.and_:
            groups = [[*group, *more] for group in groups for more in _groups(part)]
        return groups
    fields = cast("dict[TestKind, str]", vars(clause))
    return [[(kind, text if kind == "regex" else text.lower())] for kind, text in fields.items()]
