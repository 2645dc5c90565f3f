"""What a seed draws: each fault has a name, so that it can be left out and the rest stays.

Whether the n-th opportunity of a kind becomes a fault depends on the seed, the kind and n alone.
"""

import zlib
from collections import Counter

from tests.simulation.loop import mixed

_FULL = float(1 << 64)


class Chance:
    """The faults of one history. With ``only``, no others than those that it names."""

    def __init__(self, seed: int, only: frozenset[str] | None = None) -> None:
        self._seed = seed
        self._only = only
        self._opportunities: Counter[str] = Counter()
        self.drawn: list[str] = []
        self.is_quiet = False

    def befalls(self, kind: str, probability: float) -> bool:
        """Say whether a fault of this kind happens now, and note it if so."""
        if self.is_quiet or not probability:
            return False
        self._opportunities[kind] += 1
        name = f"{kind}#{self._opportunities[kind]}"
        return self._lot(name) < probability and self.happens(name)

    def happens(self, name: str) -> bool:
        """Note a fault or an action that the seed has drawn; False where it is left out."""
        if self._only is not None and name not in self._only:
            return False
        self.drawn.append(name)
        return True

    def between(self, what: str, least: float, most: float) -> float:
        """Return a number that belongs to the newest opportunity of a kind, or to any name."""
        return least + (most - least) * self._lot(f"{what}={self._opportunities[what]}")

    def _lot(self, name: str) -> float:
        return mixed(self._seed, zlib.crc32(name.encode()), len(name)) / _FULL
