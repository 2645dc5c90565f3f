"""What the attempts of an execution have met with, added up. Pure."""

from collections.abc import Sequence

import msgspec

from schemas.policy import Detour
from schemas.safety import Finding

MAX_DETOURS = 100


def added(known: tuple[Detour, ...], more: Sequence[Detour]) -> tuple[Detour, ...]:
    """Return the newest detours."""
    return (*known, *more)[-MAX_DETOURS:] if more else known


def found(known: tuple[Finding, ...], more: Sequence[Finding]) -> tuple[Finding, ...]:
    """Add up what attempts have found: one finding for each rule and place.

    Every attempt searches the same input again, so that is counted once.
    """
    if not more:
        return known
    by_place = {(one.rule, one.place): one for one in known}
    for one in more:
        earlier = by_place.get((one.rule, one.place))
        before = earlier.count if earlier else 0
        count = one.count + before if one.place == "output" else max(one.count, before)
        by_place[one.rule, one.place] = msgspec.structs.replace(one, count=count)
    return tuple(by_place.values())
