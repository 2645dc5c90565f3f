"""A price list file of AWS beside a rate book: which rates for Bedrock differ. Pure.

The file is that of ``/offers/v1.0/aws/AmazonBedrock/current/<region>/index.json``: products by SKU
with ``model``, ``usagetype`` and ``regionCode``, and terms with dollars for a unit, which is a
thousand tokens or a million. AWS names models as people do; they are matched with the ids of the
book by their letters and digits.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from schemas.base import Value
from schemas.pricing.prices import Priced, Prices, RateTerms, counts_of
from schemas.pricing.units import PICO, Bucket

PROVIDER = "aws"
TOKENS = 1000
"""Rates are compared by so many tokens: the greater of the units, and no long context."""

_UNITS = {"1k": 1000, "1m": 1_000_000}
_USAGE = re.compile(
    r"-(?:text-)?(?P<bucket>cache-read-input|cache-write-input|input|output)-token(?:s|-count)"
    r"(?:-(?P<variant>batch|flex|priority))?(?P<world>-cross-region-global)?\Z"
)
_BUCKETS: dict[str, Bucket] = {
    "cache-read-input": "cache_read",
    "cache-write-input": "cache_write",
    "input": "input",
    "output": "output",
}
_ID = re.compile(r"^(?:[a-z0-9-]+/)?(?:[a-z-]+\.)*(?P<name>[^:]+?)(?:-20\d{6})?(?:-v\d+)?(?::.*)?$")


class Attributes(Value, rename="camel"):
    """What a product is. ``usagetype`` says what is counted, in which tier."""

    model: str = ""
    usagetype: str = msgspec.field(default="", name="usagetype")
    region_code: str = ""


class ListedProduct(Value):
    """One thing that is sold."""

    attributes: Attributes


class PerUnit(Value):
    """A price, as a decimal text."""

    usd: Decimal | None = msgspec.field(default=None, name="USD")


class Dimension(Value, rename="camel"):
    """A price for a unit."""

    unit: str
    price_per_unit: PerUnit


class Term(Value, rename="camel"):
    """The prices of one offer."""

    price_dimensions: dict[str, Dimension]


class Offers(Value):
    """Prices by SKU and offer."""

    on_demand: dict[str, dict[str, Term]] = msgspec.field(name="OnDemand")


class PriceList(Value):
    """The file."""

    products: dict[str, ListedProduct]
    terms: Offers


class Offered(NamedTuple):
    """What AWS asks for a thousand tokens, in pico-dollars."""

    model: str
    region: str
    bucket: Bucket
    variant: str
    world: bool
    cost: Decimal


class RateDifference(NamedTuple):
    """A rate that differs; ``ours`` is None where the book has none."""

    offered: Offered
    row: str
    ours: int | None


def offered(prices: PriceList) -> Iterator[Offered]:
    """Yield the prices of tokens; what is no token, or of another unit, is passed over."""
    for sku, product in prices.products.items():
        about = product.attributes
        usage = _USAGE.search(about.usagetype)
        if usage is None or not about.model:
            continue
        for term in prices.terms.on_demand.get(sku, {}).values():
            for dimension in term.price_dimensions.values():
                unit = _UNITS.get(dimension.unit.strip().lower().split(" ")[0])
                usd = dimension.price_per_unit.usd
                if unit is not None and usd is not None:
                    yield Offered(
                        about.model,
                        about.region_code,
                        _BUCKETS[usage["bucket"]],
                        usage["variant"] or "",
                        bool(usage["world"]),
                        usd * PICO * TOKENS / unit,
                    )


class Comparison(NamedTuple):
    """What differs, how many rates agree, and the models that the book does not have."""

    differences: list[RateDifference]
    equal: int
    unknown: list[str]


def compared(prices: PriceList, book: Prices, at: datetime) -> Comparison:
    """Compare a price list with the rates of a book at a moment."""
    ids = _ids(book)
    differences: list[RateDifference] = []
    unknown: set[str] = set()
    equal = 0
    for one in offered(prices):
        name = ids.get(_letters(one.model))
        if name is None:
            unknown.add(one.model)
            continue
        row, ours = _ours(book, name, one, at)
        if ours is not None and ours == one.cost:
            equal += 1
        else:
            differences.append(RateDifference(one, row or name, ours))
    return Comparison(differences, equal, sorted(unknown))


def _ours(book: Prices, name: str, one: Offered, at: datetime) -> tuple[str, int | None]:
    model = f"global.{name}" if one.world else name
    tier = one.variant if one.variant not in ("", "batch") else None
    terms = RateTerms(
        PROVIDER, model, tier, one.variant == "batch", one.region, or_model=f"regional.{name}"
    )
    price = book.price_counts(terms, counts_of({one.bucket: TOKENS}), at)
    return (price.row, price.cost if isinstance(price, Priced) else None)


def _ids(book: Prices) -> Mapping[str, str]:
    """Return the plain ids of the book's models by their letters."""
    found: dict[str, str] = {}
    for row in sorted(book.models(PROVIDER), key=len, reverse=True):
        plain = row.rpartition("/")[2]
        name = _ID.match(plain)
        if name is not None:
            found[_letters(name["name"])] = _without_world(plain)
    return found


def _without_world(name: str) -> str:
    """Return an id without the part of the world its profile is for."""
    return re.sub(r"^(?:global|regional|us-gov|us|eu|apac|jp|au)\.", "", name)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\.0\b", "", name.lower()))
