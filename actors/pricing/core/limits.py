"""How often a scope has asked of late, and whether it may once more. Pure.

A window slides in sixty steps, and its oldest step counts whole: what is allowed is never exceeded
in any minute or hour, and a place becomes free at most a sixtieth of the window late.
"""

from datetime import datetime
from typing import NamedTuple

from schemas.base import Internal
from schemas.budgets import Limits

STEPS = 60
MINUTE_STEP = 1
HOUR_STEP = 60
"""Seconds of a step of either window."""

PAUSE = 1.0
"""Seconds after which to ask again where nobody knows when a place becomes free."""


class Sliding(Internal):
    """Counts of the steps of a window, as (number of the step since 1970, count), the oldest first.

    ``total`` is their sum; steps that have left the window leave with the next count.
    """

    steps: tuple[tuple[int, int], ...] = ()
    total: int = 0


class LimitMeter(Internal):
    """What a scope with limits has asked for. ``running`` counts its holds."""

    minute: Sliding = Sliding()
    hour: Sliding = Sliding()
    tokens: Sliding = Sliding()
    running: int = 0


class Excess(NamedTuple):
    """A limit that is reached: its name, how high it is, how much is used, when to ask again."""

    limit: str
    allowed: int
    used: int
    retry_after: float


def counted(meter: LimitMeter, at: datetime, tokens: int) -> LimitMeter:
    """Return the meter with one more request that runs."""
    return LimitMeter(
        minute=add(meter.minute, at, 1, MINUTE_STEP),
        hour=add(meter.hour, at, 1, HOUR_STEP),
        tokens=add(meter.tokens, at, tokens, MINUTE_STEP),
        running=meter.running + 1,
    )


def ended(meter: LimitMeter, began: datetime, unused: int) -> LimitMeter:
    """Return the meter with a request less that runs; ``unused`` are tokens it did not need."""
    return LimitMeter(
        minute=meter.minute,
        hour=meter.hour,
        tokens=_corrected(meter.tokens, began, -unused),
        running=meter.running - 1,
    )


def is_idle(meter: LimitMeter, now: datetime) -> bool:
    """Say whether nothing of it counts any more."""
    return meter.running <= 0 and _used(meter.hour, now, HOUR_STEP) == 0


def excess(limits: Limits, meter: LimitMeter, now: datetime, tokens: int) -> Excess | None:
    """Return the limit that one more request with so many tokens would exceed."""
    allowed = limits.concurrent
    if allowed is not None and meter.running >= allowed:
        return Excess("concurrent", allowed, meter.running, PAUSE)
    windows = (
        ("requests_per_minute", limits.requests_per_minute, meter.minute, 1, MINUTE_STEP),
        ("requests_per_hour", limits.requests_per_hour, meter.hour, 1, HOUR_STEP),
        ("tokens_per_minute", limits.tokens_per_minute, meter.tokens, tokens, MINUTE_STEP),
    )
    for name, most, sliding, wanted, step in windows:
        if most is None:
            continue
        used = _used(sliding, now, step)
        if used + wanted > most:
            return Excess(name, most, used, _wait(sliding, now, used + wanted - most, step))
    return None


def add(sliding: Sliding, at: datetime, count: int, step: int) -> Sliding:
    """Return the window with so many more at a moment, without the steps that have left it."""
    number = _number(at, step)
    steps = sliding.steps
    if steps and steps[-1][0] >= number:
        number = steps[-1][0]
        count += steps[-1][1]
        steps = steps[:-1]
    while steps and steps[0][0] < number - STEPS:
        steps = steps[1:]
    steps = (*steps, (number, count))
    return Sliding(steps=steps, total=sum(each for _, each in steps))


def _corrected(sliding: Sliding, at: datetime, by: int) -> Sliding:
    """Return the window with the step of a moment corrected, if that still counts."""
    number = _number(at, MINUTE_STEP)
    if by == 0 or all(step != number for step, _ in sliding.steps):
        return sliding
    steps = tuple((step, n + by if step == number else n) for step, n in sliding.steps)
    return Sliding(steps=steps, total=sliding.total + by)


def _used(sliding: Sliding, now: datetime, step: int) -> int:
    first = _number(now, step) - STEPS
    return sliding.total - sum(n for number, n in sliding.steps if number < first)


def _wait(sliding: Sliding, now: datetime, surplus: int, step: int) -> float:
    """Return the seconds until so many have left the window."""
    seconds = 0.0
    for number, count in sliding.steps:
        until = (number + STEPS + 1) * step - now.timestamp()
        if until > 0 and surplus > 0:
            seconds, surplus = until, surplus - count
    return seconds or PAUSE


def _number(at: datetime, step: int) -> int:
    return int(at.timestamp()) // step
