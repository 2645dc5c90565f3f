"""Our counts beside those of a provider: what differs, by day, key, model and tier. Pure.

Counts are compared and money is only shown, because providers leave some costs out of what they
report. Tokens that both know must be equal to the last one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.pricing.prices import ORDINARY
from schemas.reports import CostLine, Totals

STANDARD = "standard"

PROMPT, UNCACHED, CACHED, WRITTEN, WRITTEN_5M, WRITTEN_1H, OUTPUT, SEARCHES, CALLS = (
    "prompt",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "searches",
    "calls",
)


class TimeSlot(NamedTuple):
    """A day in UTC, the key by our name for it, the model that served, the service tier."""

    day: str
    key: str | None
    model: str
    tier: str


Counts = Mapping[str, int]
"""How much there was, by what providers count."""


class CostDifference(NamedTuple):
    """A count on which the two do not agree."""

    slot: TimeSlot
    what: str
    ours: int
    theirs: int


def summed(rows: Iterable[tuple[TimeSlot, Counts]]) -> dict[TimeSlot, dict[str, int]]:
    """Sum up what falls into the same slot."""
    sums: defaultdict[TimeSlot, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for slot, counts in rows:
        for what, count in counts.items():
            sums[slot][what] += count
    return {slot: dict(counts) for slot, counts in sums.items()}


def compared(
    ours: Iterable[tuple[TimeSlot, Counts]], theirs: Iterable[tuple[TimeSlot, Counts]]
) -> list[CostDifference]:
    """Return every count that differs. What the provider does not count is not compared."""
    our_sums, their_sums = summed(ours), summed(theirs)
    known = {what for counts in their_sums.values() for what in counts}
    return [
        CostDifference(slot, what, one, other)
        for slot in sorted({*our_sums, *their_sums}, key=_sorting)
        for what in sorted(known or _all(our_sums))
        if (one := our_sums.get(slot, {}).get(what, 0))
        != (other := their_sums.get(slot, {}).get(what, 0))
    ]


def our_counts(
    day: str, lines: Iterable[CostLine], *, by_key: bool
) -> list[tuple[TimeSlot, Counts]]:
    """Return the lines of a report of one day by model served, tier and, if wanted, key."""
    return [
        (
            TimeSlot(
                day,
                line.group.get("key") if by_key else None,
                line.group["model_served"] or "",
                tier_of(line.group["tier"]),
            ),
            _counted(line.totals),
        )
        for line in lines
        if line.totals.calls
    ]


def tier_of(name: str | None, *, batch: bool = False) -> str:
    """Return a service tier by one name, whatever providers call the ordinary one."""
    if batch:
        return "batch"
    return STANDARD if (name or "").lower() in ORDINARY else (name or "").lower()


def _counted(totals: Totals) -> Counts:
    usage = totals.usage
    return {
        PROMPT: usage.prompt,
        UNCACHED: usage.input + usage.audio_input,
        CACHED: usage.cache_read + usage.audio_cached,
        WRITTEN: usage.written,
        WRITTEN_5M: usage.cache_write_5m + usage.cache_write,
        WRITTEN_1H: usage.cache_write_1h,
        OUTPUT: usage.made,
        SEARCHES: usage.searches,
        CALLS: totals.calls,
    }


def _all(sums: Mapping[TimeSlot, Counts]) -> set[str]:
    return {what for counts in sums.values() for what in counts}


def _sorting(slot: TimeSlot) -> tuple[str, str, str, str]:
    return (slot.day, slot.key or "", slot.model, slot.tier)
