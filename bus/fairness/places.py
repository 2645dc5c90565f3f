"""The places of a worker: which are taken, and for whom a free one is kept. Pure.

Registries of workers tell for which tenants items wait with them. A free place is promised to the
tenant with the fewest items here, and among equals to the one whose item has waited longest. A
promise is a lease: it lapses after a while unless the registry says that it is about to use it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from bus.fairness.turns import Turns


class Wish(NamedTuple):
    """That items of a tenant wait with a registry: how many, and since when the oldest does."""

    tenant: str
    items: int
    since: float


class Promise(NamedTuple):
    """A place that is kept for an item of a tenant, by the registry that was told its number."""

    registry: str
    number: int
    tenant: str


class Places:
    """Takes and promises the places that ``turns`` counts; all times are of one monotonic clock."""

    def __init__(self, turns: Turns[Any], *, capacity: int, lapse_seconds: float) -> None:
        self._turns = turns
        self._capacity = capacity
        self._lapse = lapse_seconds
        self._number = 0
        self._wishes: dict[str, tuple[float, dict[str, Wish]]] = {}
        self._promised: dict[int, tuple[Promise, float]] = {}

    @property
    def taken(self) -> int:
        """How many places are taken, without those that are promised."""
        return self._turns.running - len(self._promised)

    @property
    def free(self) -> int:
        """How many places are neither taken nor promised."""
        return max(0, self._capacity - self._turns.running)

    def take(self, tenant: str) -> bool:
        """Take a place that is promised to nobody; say whether there was one."""
        return self._turns.begin(tenant)

    def redeem(self, number: int, tenant: str, now: float) -> bool:
        """Take the place that was promised under a number; say whether it was, and still is."""
        kept = self._promised.get(number)
        if kept is None or kept[0].tenant != tenant or now >= kept[1]:
            return False
        del self._promised[number]
        return True

    def leave(self, tenant: str) -> None:
        """Free a place that was taken."""
        self._turns.end(tenant)

    def cancel(self, number: int) -> None:
        """Free the place that was promised under a number, unless it was taken or has lapsed."""
        kept = self._promised.pop(number, None)
        if kept is not None:
            self._turns.end(kept[0].tenant)

    def lapse(self, now: float) -> None:
        """Free what was promised and not used in time, and forget who has fallen silent."""
        for number in [each for each, (_, until) in self._promised.items() if until <= now]:
            self.cancel(number)
        silent = [name for name, (heard, _) in self._wishes.items() if heard + self._lapse <= now]
        for registry in silent:
            del self._wishes[registry]

    def cancel_all(self) -> None:
        """Free all that is promised, and forget for whom items wait."""
        for number in list(self._promised):
            self.cancel(number)
        self._wishes.clear()

    def hear(
        self, registry: str, wishes: Iterable[Wish], naming: Sequence[int], now: float
    ) -> None:
        """Note what waits with a registry by now, and which promises it is about to use."""
        self._wishes[registry] = (now, {wish.tenant: wish for wish in wishes})
        for number in naming:
            kept = self._promised.get(number)
            if kept is not None and kept[0].registry == registry:
                self._promised[number] = (kept[0], now + self._lapse)

    def promise(self, now: float, may: Callable[[str], bool]) -> Promise | None:
        """Promise a free place to whom it is due, of the tenants that ``may``; None if none is."""
        # Asked after every item, and mostly nobody waits.
        best = min(self._candidates(may), key=self._rank, default=None) if self._wishes else None
        if best is None or not self._turns.begin(best[1].tenant):
            return None
        registry, wish = best
        waiting = self._wishes[registry][1]
        waiting[wish.tenant] = wish._replace(items=wish.items - 1)
        self._number += 1
        made = Promise(registry, self._number, wish.tenant)
        self._promised[made.number] = (made, now + self._lapse)
        return made

    def _candidates(self, may: Callable[[str], bool]) -> Iterator[tuple[str, Wish]]:
        for registry, (_, wishes) in self._wishes.items():
            for wish in wishes.values():
                if wish.items > 0 and self._turns.room(wish.tenant) > 0 and may(wish.tenant):
                    yield registry, wish

    def _rank(self, candidate: tuple[str, Wish]) -> tuple[int, float]:
        wish = candidate[1]
        return self._turns.running_of(wish.tenant), wish.since
