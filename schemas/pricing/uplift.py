"""What a model costs more where a region is asked for, as a multiplier of its usual price. Pure."""

from collections.abc import Mapping
from math import gcd

import msgspec

from schemas.pricing.book import Multiplier, Price, Rate, Rates, Tier
from schemas.pricing.units import COUNTS

ANYWHERE = "*"
"""Any region there is, of which none is named otherwise."""

WORLD = "global"
"""Where the provider chooses the place itself, at the usual price."""


def uplift_in(region: str, uplifts: Mapping[str, Multiplier]) -> Multiplier | None:
    """Return what the prices of a region are multiplied with, None if with nothing."""
    if region in ("", WORLD):
        return None
    return uplifts.get(region, uplifts.get(ANYWHERE))


def uplifted(price: Price, by: Multiplier) -> Price:
    """Return a price with all its tokens dearer; what is no token costs the same everywhere."""
    tiers = [Tier(start=tier.start, rates=_times(tier.rates, by)) for tier in price.tiers]
    return msgspec.structs.replace(price, rates=_times(price.rates, by), tiers=tiers)


def _times(rates: Rates, by: Multiplier) -> Rates:
    return {
        bucket: rate if bucket in COUNTS else _product(rate, by) for bucket, rate in rates.items()
    }


def _product(rate: Rate, by: Multiplier) -> Rate:
    """Multiply exactly, in lowest terms as rates are written."""
    dollars, units = (rate, 1) if isinstance(rate, int) else rate
    dollars, units = dollars * by[0], units * by[1]
    common = gcd(dollars, units)
    return dollars // common if units == common else (dollars // common, units // common)
