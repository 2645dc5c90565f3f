"""One price, made ready to be multiplied with counts. Pure.

Rates and counts stand in the order of ``BUCKETS``. A part of ``output`` has the difference to the
rate of ``output``, because its tokens are counted there too.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Final

import msgspec

from schemas.pricing.book import Price, Rate, Rates
from schemas.pricing.units import (
    BUCKETS,
    PARTS_OF_OUTPUT,
    PLAIN_OF_CACHED,
    SAME_AS,
    Bucket,
)
from schemas.usage import Usage

Counts = tuple[int, ...]
"""How much there is of each bucket, in the order of ``BUCKETS``; what is left off is 0."""

NO_RATE: Final = 1 << 200
"""Stands where there is no rate: no sum of real costs comes near it."""

_PROMPTS = BUCKETS.index("output")
_IMAGES = slice(BUCKETS.index("image_input"), BUCKETS.index("video_input") + 1)
_OUTPUT = BUCKETS.index("output")
_PARTS = tuple(map(BUCKETS.index, PARTS_OF_OUTPUT))


class Line(msgspec.Struct, frozen=True):
    """One bucket of a bill: ``rate`` is in pico-dollars for ``per`` units."""

    bucket: Bucket
    amount: int
    rate: int
    per: int
    cost: int


class UsageRates(msgspec.Struct, frozen=True):
    """Integer rates of what a language model reports, and of a request: for one quick sum."""

    input: int
    cache_read: int
    cache_write: int
    cache_write_5m: int
    cache_write_1h: int
    audio_input: int
    audio_cached: int
    output: int
    audio_output: int
    reasoning: int
    searches: int
    image_output: int
    video_output: int
    citation: int
    requests: int

    def cost(self, usage: Usage) -> int:
        """Return what one request cost; ``NO_RATE`` or more if something has no rate."""
        # Hardly any call has these, and to look is quicker than to multiply.
        is_rare = (
            usage.audio_input
            or usage.audio_cached
            or usage.audio_output
            or usage.image_output
            or usage.video_output
            or usage.citation
            or usage.searches
            or usage.cache_write
            or usage.cache_write_1h
        )
        return (
            usage.input * self.input
            + usage.cache_read * self.cache_read
            + usage.cache_write_5m * self.cache_write_5m
            + usage.output * self.output
            + usage.reasoning * self.reasoning
            + self.requests
            + (self._rare(usage) if is_rare else 0)
        )

    def _rare(self, usage: Usage) -> int:
        return (
            usage.audio_input * self.audio_input
            + usage.audio_cached * self.audio_cached
            + usage.audio_output * self.audio_output
            + usage.image_output * self.image_output
            + usage.video_output * self.video_output
            + usage.citation * self.citation
            + usage.searches * self.searches
            + usage.cache_write * self.cache_write
            + usage.cache_write_1h * self.cache_write_1h
        )


class Scale(msgspec.Struct, frozen=True):
    """The rates of one tier: exact, and as integers unless one of them is none."""

    exact: tuple[tuple[int, int] | None, ...]
    whole: tuple[int, ...] | None
    of_usage: UsageRates | None

    def cost(self, counts: Counts) -> int | None:
        """Return what the counts cost, None if one of them has no rate."""
        if self.whole is None:
            lines = self.lines(counts)
            return None if lines is None else sum(line.cost for line in lines)
        cost = sum(map(mul, counts, self.whole))
        return None if cost >= NO_RATE else cost

    def lines(self, counts: Counts) -> list[Line] | None:
        """Return a line for each bucket there is any of, None if one has no rate."""
        lines: list[Line] = []
        for bucket, count, rate in zip(
            BUCKETS, _apart(self.exact, counts), self.exact, strict=False
        ):
            if count and rate is None:
                return None
            if count and rate is not None and (rate[0] or bucket != "requests"):
                lines.append(Line(bucket, count, *rate, _half_even(count * rate[0], rate[1])))
        return lines

    def lacking(self, counts: Counts) -> list[Bucket]:
        """Return the buckets there is some of and that have no rate."""
        apart = zip(BUCKETS, _apart(self.exact, counts), self.exact, strict=False)
        return [bucket for bucket, count, rate in apart if count and rate is None]


class Tariff(msgspec.Struct, frozen=True):
    """The scales of a price by the size of the prompt they begin at; the first begins at 0."""

    starts: tuple[int, ...]
    scales: tuple[Scale, ...]
    flat: bool

    def scale(self, counts: Counts) -> Scale:
        """Return the scale of the tier that a request with these counts belongs to."""
        return self.scale_at(prompt_of(counts))

    def scale_at(self, prompt: int) -> Scale:
        """Return the scale of the tier that a prompt of this size belongs to."""
        return self.scales[bisect_right(self.starts, prompt) - 1]


def tariff_of(price: Price) -> Tariff:
    """Make a price ready."""
    rates: Rates = dict(price.rates)
    starts, scales = [0], [_scale(rates)]
    for tier in sorted(price.tiers, key=lambda tier: tier.start):
        rates |= tier.rates
        starts.append(tier.start)
        scales.append(_scale(rates))
    return Tariff(tuple(starts), tuple(scales), flat=len(starts) == 1)


def prompt_of(counts: Counts) -> int:
    """Return all tokens of the prompt."""
    return sum(counts[:_PROMPTS]) + sum(counts[_IMAGES])


def _scale(rates: Rates) -> Scale:
    exact = tuple(_pair(_rate_of(bucket, rates)) for bucket in BUCKETS)
    if any(rate is not None and rate[1] != 1 for rate in exact):
        return Scale(exact, None, None)
    whole = [rate[0] if rate else NO_RATE for rate in exact]
    for part in _PARTS:
        whole[part] = whole[part] - whole[_OUTPUT] if exact[part] else 0
    return Scale(exact, tuple(whole), UsageRates(*whole[: len(UsageRates.__struct_fields__)]))


def _rate_of(bucket: Bucket, rates: Mapping[Bucket, Rate]) -> Rate | None:
    """Return a bucket's own rate, or that of the one it is priced like."""
    if bucket in rates:
        return rates[bucket]
    if bucket == "requests":
        return 0
    if PLAIN_OF_CACHED.get(bucket) in rates:
        return None
    return next((rates[same] for same in SAME_AS.get(bucket, ()) if same in rates), None)


def _pair(rate: Rate | None) -> tuple[int, int] | None:
    if rate is None:
        return None
    return (rate, 1) if isinstance(rate, int) else rate


def _apart(rates: Sequence[tuple[int, int] | None], counts: Counts) -> list[int]:
    """Return the counts with the parts of output that have a rate taken out of it, others gone."""
    apart = list(counts)
    for part in _PARTS:
        if part < len(apart):
            apart[_OUTPUT] -= apart[part] if rates[part] else 0
            apart[part] = apart[part] if rates[part] else 0
    return apart


def _half_even(numerator: int, denominator: int) -> int:
    """Divide, rounding to the nearest whole number, and a half to the even one."""
    if denominator == 1:
        return numerator
    whole, rest = divmod(numerator, denominator)
    above = 2 * rest - denominator
    return whole + (above > 0 or (above == 0 and whole % 2 == 1))
