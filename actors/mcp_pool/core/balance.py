"""Which replica of a server takes the next call: a decision over a snapshot. Pure."""

from collections.abc import Sequence
from statistics import median_low
from typing import NamedTuple

from schemas.tool_servers import Strategy

WEIGHT = 0.2
"""Of the newest call in the moving averages: some ten calls are remembered."""

LEAST_CALLS = 5
"""Before so many nothing is concluded from a replica's figures."""

ERRORS_OF_AN_OUTLIER = 0.5
LATENCY_OF_AN_OUTLIER = 5.0
"""Times the median of the replicas."""

LEAST_LATENCY = 0.001
"""Seconds: what is faster differs by chance."""

ERROR_PENALTY = 10.0
"""A replica all of whose calls fail counts as so many times slower, and one."""


class ReplicaHealth(NamedTuple):
    """Moving averages of a replica: seconds of a call, and the share that failed."""

    latency: float = 0.0
    errors: float = 0.0
    calls: int = 0

    def observed(self, seconds: float, *, good: bool) -> "ReplicaHealth":
        """Return the figures after one more call. A failure says nothing of the latency."""
        bad, calls = float(not good), self.calls + 1
        errors = self.errors + WEIGHT * (bad - self.errors)
        if not good:
            return ReplicaHealth(self.latency, errors, calls)
        latency = seconds if not self.latency else self.latency + WEIGHT * (seconds - self.latency)
        return ReplicaHealth(latency, errors, calls)


class ReplicaView(NamedTuple):
    """A replica as it is now. One whose circuit lets no call through is not ``usable``."""

    number: int
    in_flight: int
    health: ReplicaHealth
    usable: bool = True


def choose(strategy: Strategy, replicas: Sequence[ReplicaView], turn: int) -> int | None:
    """Return the number of the replica for a call, None if none is usable.

    ``turn`` counts the calls: among equals it decides. Outliers take no call while others can.
    """
    usable = [each for each in replicas if each.usable]
    if not usable:
        return None
    out = outliers(usable)
    usable = [each for each in usable if each.number not in out]
    start = turn % len(usable)
    usable = usable[start:] + usable[:start]
    match strategy:
        case "round_robin":
            return usable[0].number
        case "least_connections":
            return min(usable, key=lambda each: each.in_flight).number
        case "health_based":
            return min(usable, key=_cost).number


def outliers(replicas: Sequence[ReplicaView]) -> set[int]:
    """Return the replicas that do far worse than the others: less than half of all."""
    known = [each for each in replicas if each.health.calls >= LEAST_CALLS]
    if not known:
        return set()
    usual = max(median_low(each.health.latency for each in known), LEAST_LATENCY)
    bad = [
        each
        for each in known
        if each.health.errors >= ERRORS_OF_AN_OUTLIER
        or each.health.latency > LATENCY_OF_AN_OUTLIER * usual
    ]
    bad.sort(key=_cost, reverse=True)
    return {each.number for each in bad[: (len(replicas) - 1) // 2]}


def _cost(replica: ReplicaView) -> float:
    health = replica.health
    latency = max(health.latency, LEAST_LATENCY) * (1 + ERROR_PENALTY * health.errors)
    return (replica.in_flight + 1) * latency
