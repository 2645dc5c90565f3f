"""A rate book that is asked for costs. Pure: the moment is passed in.

What is asked often is kept ready: a name is looked up and a row read once, after that a cost is a
look into a dictionary and a sum.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from operator import attrgetter

import msgspec

from schemas.pricing import names
from schemas.pricing.book import Price, Row, book_id, read_lazily
from schemas.pricing.lazy_book import LazyBook
from schemas.pricing.names import FoundPrice, WantedPrice
from schemas.pricing.tariff import NO_RATE, Counts, Line, Tariff, prompt_of, tariff_of
from schemas.pricing.units import BUCKETS, OF_USAGE, Bucket
from schemas.pricing.uplift import uplift_in, uplifted
from schemas.usage import Usage

STANDARD = ""
"""The variant that nothing says."""

ORDINARY = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
"""Service tiers that are the standard price, as providers call them."""

MOST_READY = 4096
"""Combinations of names kept ready; more are looked up anew."""

NOTHING = tariff_of(Price(rates={}))
"""By which a call is priced that used nothing, where its price is not known: it cost nothing."""

_of_usage = attrgetter(*OF_USAGE)


class RateTerms(msgspec.Struct, frozen=True):
    """What decides a price besides the counts and the moment.

    ``tier`` is the service tier that served the request, or the one asked for where the provider
    does not tell. ``region`` is where the model runs, for providers whose prices depend on it.
    ``or_model`` and ``or_provider`` count where the book does not know the first.
    """

    provider: str
    model: str
    tier: str | None = None
    batch: bool = False
    region: str = ""
    or_model: str = ""
    or_provider: str = ""


class Unpriced(msgspec.Struct, frozen=True):
    """There is no price, and why."""

    reason: str
    row: str = ""
    buckets: tuple[Bucket, ...] = ()


class Priced(msgspec.Struct, frozen=True):
    """A cost in pico-dollars, and the row of the book that it follows from.

    ``resolved_from`` is the name that was asked for, where it is not the row's own.
    """

    cost: int
    book_id: str
    row: str
    variant: str
    resolved_from: str | None
    tariff: Tariff
    used: Usage | Counts

    @property
    def counts(self) -> Counts:
        """What was priced."""
        used = self.used
        return (*_of_usage(used), 1) if isinstance(used, Usage) else used

    def lines(self) -> list[Line]:
        """Return how the cost comes about, a line for each bucket."""
        return self.tariff.scale(self.counts).lines(self.counts) or []

    @property
    def tier_from(self) -> int:
        """The size of the prompt from which on these rates apply."""
        return max(start for start in self.tariff.starts if start <= prompt_of(self.counts))


class _Dated(msgspec.Struct, frozen=True):
    price: Price
    tariff: Tariff


class _Offer(msgspec.Struct, frozen=True):
    """What some terms come to: dated tariffs in the order of their precedence."""

    row: str
    variant: str
    resolved_from: str | None
    minimum: Mapping[Bucket, int]
    always: Tariff | None
    dated: tuple[_Dated, ...]

    def at(self, at: datetime) -> Tariff | None:
        """Return the tariff of a moment."""
        return self.always or next((one.tariff for one in self.dated if one.price.holds(at)), None)

    def priced(self, cost: int, book_id: str, tariff: Tariff, used: Usage | Counts) -> Priced:
        return Priced(cost, book_id, self.row, self.variant, self.resolved_from, tariff, used)


class Prices:
    """A rate book by its canonical text.

    Raises:
        BookError: the text is no rate book.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.book = read_lazily(text)
        self._lazy_book = LazyBook(self.book)
        self._ready: dict[RateTerms, _Offer | Unpriced] = {}

    @cached_property
    def book_id(self) -> str:
        """The name of the book: the SHA-256 of its text."""
        return book_id(self.text)

    def price(self, terms: RateTerms, usage: Usage, at: datetime) -> Priced | Unpriced:
        """Return what one call of a model cost at a moment (with a time zone)."""
        offer = self._ready.get(terms)
        if isinstance(offer, _Offer) and not offer.minimum:
            tariff = offer.always or offer.at(at)
            if tariff is not None:
                scale = tariff.scales[0] if tariff.flat else tariff.scale_at(usage.prompt)
                cost = scale.of_usage.cost(usage) if scale.of_usage else NO_RATE
                if cost < NO_RATE:
                    return offer.priced(cost, self.book_id, tariff, usage)
        return self.price_counts(terms, (*_of_usage(usage), 1), at)

    def price_counts(self, terms: RateTerms, counts: Counts, at: datetime) -> Priced | Unpriced:
        """Return what these counts cost; see ``price``."""
        offer = self._ready.get(terms) or self._made_ready(terms)
        if isinstance(offer, Unpriced):
            return offer
        tariff = offer.at(at)
        if tariff is None and not _any_used(counts):
            tariff = NOTHING
        if tariff is None:
            what = offer.variant or "the standard service"
            reason = f"{offer.row} has no price for {what} at {at:%Y-%m-%d %H:%M} UTC"
            return Unpriced(reason, offer.row)
        if offer.minimum:
            counts = _at_least(offer.minimum, counts)
        scale = tariff.scale(counts)
        cost = scale.cost(counts)
        if cost is None:
            lacking = scale.lacking(counts)
            reason = f"{offer.row} has no rate for {', '.join(lacking)}"
            return Unpriced(reason, offer.row, tuple(lacking))
        return offer.priced(cost, self.book_id, tariff, counts)

    def row(self, provider: str, model: str) -> Row | None:
        """Return a row by its own name."""
        return self._lazy_book.row(provider, model)

    def context_window(self, terms: RateTerms) -> int | None:
        """Return how many tokens a model's prompt and answer have together, None if not known."""
        found = self.find(_wanted(terms))
        row = self.row(found.provider, found.model) if found else None
        return row.context_window if row else None

    def models(self, provider: str) -> list[str]:
        """Return the names of a provider's rows."""
        return list(self._lazy_book.rows(provider))

    def find(self, wanted: WantedPrice) -> FoundPrice | None:
        """Return the row that names mean; see ``names``."""
        return names.find(self._lazy_book, wanted)

    def _made_ready(self, terms: RateTerms) -> _Offer | Unpriced:
        if len(self._ready) >= MOST_READY:
            self._ready.clear()
        offer = self._ready[terms] = self._offer(terms)
        return offer

    def _offer(self, terms: RateTerms) -> _Offer | Unpriced:
        found = self.find(_wanted(terms))
        row = self.row(found.provider, found.model) if found else None
        if found is None or row is None:
            return Unpriced(f"the rate book has no model {terms.model!r} at {terms.provider}")
        name = f"{found.provider}/{found.model}"
        if found.region and row.regions and found.region not in row.regions:
            return Unpriced(f"{name} has no price in {found.region}", name)
        variant = variant_of(terms)
        borrowed = found.seller != found.provider
        # What holds for the owner's batches and regions says nothing of those of another seller.
        variants = {} if borrowed else row.variants
        prices = variants.get(variant, []) if variant else row.prices
        uplift = None if borrowed else uplift_in(found.region, row.uplifts)
        if uplift is not None:
            prices = [uplifted(price, uplift) for price in prices]
        asked = f"{found.seller}/{terms.model}" if borrowed else terms.model
        resolved_from = None if asked == found.model else asked
        return _offered(name, variant, resolved_from, row.minimum, prices)


def _wanted(terms: RateTerms) -> WantedPrice:
    return WantedPrice(terms.provider, terms.model, terms.region, terms.or_model, terms.or_provider)


def variant_of(terms: RateTerms) -> str:
    """Return which of a row's prices the terms name."""
    tier = (terms.tier or "").strip().lower()
    tier = STANDARD if tier in ORDINARY or (terms.batch and tier == "batch") else tier
    return "+".join(part for part in ("batch" if terms.batch else "", tier) if part)


def counts_of(counts: Mapping[Bucket, int]) -> Counts:
    """Return counts by name in the order of ``BUCKETS``; one request unless it is said."""
    return tuple(counts.get(bucket, 1 if bucket == "requests" else 0) for bucket in BUCKETS)


def _offered(
    row: str,
    variant: str,
    resolved_from: str | None,
    minimum: Mapping[Bucket, int],
    prices: list[Price],
) -> _Offer:
    dated = tuple(_Dated(one, tariff_of(one)) for one in prices)
    first = dated[0] if dated else None
    always = first.tariff if first and first.price.is_constant else None
    return _Offer(row, variant, resolved_from, minimum, always, dated)


def _any_used(counts: Counts) -> bool:
    """Whether there is anything but the request itself."""
    return any(
        count for bucket, count in zip(BUCKETS, counts, strict=False) if bucket != "requests"
    )


def _at_least(minimum: Mapping[Bucket, int], counts: Counts) -> Counts:
    named = zip(BUCKETS, counts, strict=False)
    return tuple(max(count, minimum.get(bucket, 0)) if count else 0 for bucket, count in named)
