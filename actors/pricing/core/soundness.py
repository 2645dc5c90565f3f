"""Whether rows that somebody wrote by hand can be prices at all, before anybody pays by them. Pure.

The decoder has seen to names and types. What is left is what would be wrong with every call, or
would only be noticed by the first that asks for it.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from schemas.ledger import MOST_PICO
from schemas.pricing.book import Pattern
from schemas.pricing.overlay import Dollars, Overlay, OverlayPrice, OverlayRow, OverlayTier
from schemas.pricing.units import PICO
from schemas.problems import Problem

MOST_TIMES = 100
"""A region that is dearer than this is a mistake in writing."""


def unsound(overlay: Overlay) -> Problem | None:
    """Return the first thing that no price can be, with the field it stands in."""
    faults = (fault for part in (_rows, _uplifts, _patterns, _hosts) for fault in part(overlay))
    found = next(faults, None)
    return None if found is None else Problem(code="validation", message=found[1], field=found[0])


Fault = tuple[str, str]


def _rows(overlay: Overlay) -> Iterator[Fault]:
    for number, row in enumerate(overlay.rows):
        at = f"rows[{number}]"
        yield from _names(row, at)
        if row.since and row.until and row.since >= row.until:
            yield f"{at}.until", "a price ends after it begins"
        yield from _price(row.usd, row.tiers, at)
        for name, variant in row.variants.items():
            yield from _variant(variant, f"{at}.variants.{name}")


def _names(row: OverlayRow, at: str) -> Iterator[Fault]:
    named = {"provider": [row.provider], "model": [row.model], "aliases": row.aliases}
    for field, names in named.items():
        if not all(name.strip() for name in names):
            yield f"{at}.{field}", "a name has a letter at least"


def _variant(variant: OverlayPrice, at: str) -> Iterator[Fault]:
    return _price(variant.usd, variant.tiers, at)


def _price(usd: Dollars, tiers: list[OverlayTier], at: str) -> Iterator[Fault]:
    if not usd:
        yield f"{at}.usd", "a price names a bucket at least; a model without one is left out"
    yield from _dollars(usd, f"{at}.usd")
    for number, tier in enumerate(tiers):
        if tier.start < 1:
            yield f"{at}.tiers[{number}].from", "a tier begins with a token at least"
        yield from _dollars(tier.usd, f"{at}.tiers[{number}].usd")
    if any(one.start >= other.start for one, other in pairwise(tiers)):
        yield f"{at}.tiers", "tiers stand in the order in which they begin"


def _dollars(usd: Dollars, at: str) -> Iterator[Fault]:
    for bucket, amount in usd.items():
        if not amount.is_finite() or amount < 0:
            yield f"{at}.{bucket}", "a price is a number of dollars, and not below 0"
        elif amount * PICO > MOST_PICO:
            yield f"{at}.{bucket}", f"a price is at most {MOST_PICO // PICO} dollars"


def _uplifts(overlay: Overlay) -> Iterator[Fault]:
    for number, uplift in enumerate(overlay.uplifts):
        for region, times in uplift.by.items():
            if not times.is_finite() or not 0 < times <= MOST_TIMES:
                at = f"uplifts[{number}].by.{region}"
                yield at, f"a price is multiplied with a number above 0, and at most {MOST_TIMES}"


def _patterns(overlay: Overlay) -> Iterator[Fault]:
    for provider, patterns in overlay.patterns.items():
        for number, pattern in enumerate(patterns):
            at = f"patterns.{provider}[{number}].groups"
            if not all(pattern.groups):
                yield at, "a group without a test would match every name"
            if not all(map(_compiles, _expressions(pattern))):
                yield at, "this is no regular expression"


def _hosts(overlay: Overlay) -> Iterator[Fault]:
    for provider, entry in overlay.providers.items():
        if not _compiles(entry.hosts):
            yield f"providers.{provider}.hosts", "this is no regular expression"


def _expressions(pattern: Pattern) -> Iterator[str]:
    return (text for group in pattern.groups for kind, text in group if kind == "regex")


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True
