"""Two rate books side by side, and a price as a person reads it. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

from schemas.pricing.book import Book, Price, Rate, Rates, Row
from schemas.pricing.units import COUNTS, PICO, Bucket
from schemas.pricing.uplift import ANYWHERE

Change = Literal["added", "removed", "changed"]

MILLION = 1_000_000


class BookDifference(NamedTuple):
    """A row that two books do not share."""

    provider: str
    model: str
    change: Change
    before: str
    after: str


def differences(old: Book, new: Book) -> Iterator[BookDifference]:
    """Return the rows that were added, removed, or have other prices now."""
    names = {
        (provider, model)
        for book in (old, new)
        for provider in book.rows
        for model in book.rows[provider]
    }
    for provider, model in sorted(names):
        before = old.rows.get(provider, {}).get(model)
        after = new.rows.get(provider, {}).get(model)
        if before is None and after is not None:
            yield BookDifference(provider, model, "added", "", summary(after))
        elif before is not None and after is None:
            yield BookDifference(provider, model, "removed", summary(before), "")
        elif before is not None and after is not None and _prices(before) != _prices(after):
            yield BookDifference(provider, model, "changed", summary(before), summary(after))


def summary(row: Row) -> str:
    """Say all prices of a row in a line."""
    parts = [rendered(price) for price in row.prices]
    parts += [
        f"{variant}: {rendered(price)}"
        for variant, prices in row.variants.items()
        for price in prices
    ]
    return " | ".join([*parts, *regional(row)])


def regional(row: Row) -> list[str]:
    """Say what the prices of a row are multiplied with in regions."""
    return [
        f"{'other regions' if region == ANYWHERE else region}: times {Decimal(times) / by}"
        for region, (times, by) in sorted(row.uplifts.items(), reverse=True)
    ]


def rendered(price: Price) -> str:
    """Say a price: dollars for a million tokens, or for one of what is no token."""
    tiers = [f"from {tier.start:,} {_rates(tier.rates)}" for tier in price.tiers]
    return "; ".join([*_when(price), _rates(price.rates), *tiers])


def dollars(bucket: Bucket, rate: Rate) -> str:
    """Say a rate in dollars."""
    numerator, denominator = (rate, 1) if isinstance(rate, int) else rate
    units = 1 if bucket in COUNTS else MILLION
    usd = Decimal(numerator * units) / (denominator * PICO)
    return f"${usd.normalize():f}"


def _prices(row: Row) -> tuple[object, ...]:
    return (row.prices, row.variants, row.regions, row.uplifts, row.minimum)


def _when(price: Price) -> list[str]:
    since = [f"since {price.since}"] if price.since else []
    until = [f"until {price.until}"] if price.until else []
    return [*since, *until, *([_hours(*price.hours)] if price.hours else [])]


def _hours(start: int, end: int) -> str:
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} UTC"


def _rates(rates: Rates) -> str:
    return ", ".join(f"{bucket} {dollars(bucket, rate)}" for bucket, rate in rates.items())
