"""Rows for Amazon Bedrock from a price list of AWS: what its regions ask for tokens. Pure.

The list is an offer file of the AWS Price List Bulk API
(https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api.html).
It has products with a display name of a model, and prices in dollars for a thousand or a million
tokens. A model is known by its display name, so a book must have it under its id already.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.base import Value
from schemas.pricing.book import Book
from schemas.pricing.overlay import Dollars, Overlay, OverlayRow
from schemas.pricing.units import Bucket

PROVIDER = "aws"
NAME = "aws-price-list"

_PER = {"1k tokens": 1000, "1m tokens": 1, "1k input tokens": 1000, "1k output tokens": 1000}
"""By how much a price in dollars is multiplied to be one of a million tokens."""

_OTHER = re.compile(r"batch|flex|priority|latency|custom|provision|global|long|audio|image|video")
"""Ways to be served, and inputs, whose prices are not those of usual text."""

_REGION = re.compile(r"^(?:[a-z]{2,8}\.)?[^./]+\.")
_PROFILE = re.compile(r"([a-z]{2,8})\.[^./]+\.")
_VERSION = re.compile(r"(-\d{8})?(-v\d+)?(:\d+)*$")
_TUNED = re.compile(r"(instruct|chat|it)$")
_SEPARATORS = re.compile(r"[^a-z0-9]")


class PriceDimension(Value):
    """A price for a unit such as ``1K tokens``, as text in each currency."""

    unit: str
    pricePerUnit: dict[str, Decimal]  # noqa: N815  as AWS has it


class OfferTerm(Value):
    """What a product costs from some day on."""

    priceDimensions: dict[str, PriceDimension]  # noqa: N815  as AWS has it


class OfferTerms(Value, rename={"on_demand": "OnDemand"}):
    """The terms of all products, by the product's SKU."""

    on_demand: dict[str, dict[str, OfferTerm]] = {}


class OfferedProduct(Value):
    """Something that is sold; its attributes say what."""

    attributes: dict[str, Any]


class PriceOffer(Value, rename={"code": "offerCode", "published": "publicationDate"}):
    """The price list of one service."""

    code: str
    products: dict[str, OfferedProduct]
    terms: OfferTerms
    published: str = ""


class RowsRead(NamedTuple):
    """The rows of a price list, and the models of it that the book does not know."""

    overlay: Overlay
    unknown: list[str]


def rows_of(offer: PriceOffer, book: Book) -> RowsRead:
    """Return the rows of a price list for the models that a book has."""
    ids: dict[str, list[str]] = defaultdict(list)
    for each in _models(book):
        ids[_plain(_REGION.sub("", _bare(each)))].append(each)
    prices: dict[tuple[str, str], Dollars] = defaultdict(dict)
    unknown = dict[str, None]()
    for model, region, bucket, usd in _prices(offer):
        if _plain(model) not in ids:
            unknown[model] = None
        for each in ids.get(_plain(model), ()):
            if _is_served(each, region):
                prices[region, each][bucket] = usd
    rows = [
        OverlayRow(provider=PROVIDER, model=f"{region}/{model}", usd=usd)
        for (region, model), usd in sorted(prices.items())
        if {"input", "output"} <= usd.keys()
    ]
    return RowsRead(Overlay(name=NAME, source=offer.published, rows=rows), list(unknown))


def _is_served(model: str, region: str) -> bool:
    """Say whether a region has a model, or a profile such as ``eu.amazon.nova-lite-v1:0``.

    A profile costs what the region does in which it is called: one of its own part of the world.
    """
    profile = _PROFILE.match(model)
    return profile is None or region.startswith(profile[1][:2])


def _models(book: Book) -> Iterator[str]:
    """Yield the ids of models that belong to no region, and to no profile of several."""
    yield from (
        model for model in book.rows.get(PROVIDER, {}) if model.count(".") and "/" not in model
    )


def _prices(offer: PriceOffer) -> Iterator[tuple[str, str, Bucket, Decimal]]:
    for sku, product in offer.products.items():
        told = {name: str(value) for name, value in product.attributes.items()}
        model, region = told.get("model", ""), told.get("regionCode", "")
        bucket = _bucket(told)
        if not (model and region and bucket):
            continue
        for term in offer.terms.on_demand.get(sku, {}).values():
            for price in term.priceDimensions.values():
                times, usd = _PER.get(price.unit.lower()), price.pricePerUnit.get("USD")
                if times and usd is not None:
                    yield model, region, bucket, usd * times


def _bucket(told: dict[str, str]) -> Bucket | None:
    """Return what usual text tokens a product is, None where it is something else."""
    kind = told.get("inferenceType", "").lower()
    where = f"{kind} {told.get('feature', '')} {told.get('usagetype', '')}".lower()
    if "token" not in kind or _OTHER.search(where):
        return None
    if "cache" in kind:
        return "cache_read" if "read" in kind else "cache_write" if "write" in kind else None
    return "input" if "input" in kind else "output" if "output" in kind else None


def _bare(model: str) -> str:
    return _VERSION.sub("", model.lower())


def _plain(name: str) -> str:
    """Return a name without all in which display names and ids differ."""
    return _TUNED.sub("", _SEPARATORS.sub("", name.lower()))
