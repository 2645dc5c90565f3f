"""When a failed attempt is made again: the time between attempts is the owner's business.

An attempt goes through all its alternatives by itself (``actors/streaming/core/resilience``); what
is left to decide here is whether waiting helps, and for how long.
"""

from typing import NamedTuple

from schemas.problems import Problem


class Backoff(NamedTuple):
    """The wait doubles from ``first`` seconds with each failure, up to ``longest``."""

    first: float = 0.5
    longest: float = 30.0
    jitter: float = 0.25


STANDARD = Backoff()


def delay(
    problem: Problem, *, failures: int, jitter: float, backoff: Backoff = STANDARD
) -> float | None:
    """Return the seconds until another attempt, None if none makes sense.

    ``failures`` counts those before this one. ``jitter`` lies from 0 to 1 and spreads the attempts
    that failed together: the doubled wait is shortened by up to a quarter. A wait that the provider
    asked for (retry-after, retry-after-ms, RetryInfo) is kept as it is; x-should-retry and the 429s
    that no waiting cures are in ``retryable`` already.
    """
    if not problem.retryable:
        return None
    if problem.retry_after is not None:
        return max(problem.retry_after, 0.0)
    doubled = min(backoff.first * 2 ** min(failures, 32), backoff.longest)
    return doubled * (1 - backoff.jitter * jitter)
