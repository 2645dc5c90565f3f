"""A mapping of bounded weight: what was least recently used is forgotten first. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def _one(_: object) -> int:
    return 1


class Bounded(Generic[K, V]):
    """Values by name, of ``most`` weight together; by itself each weighs one.

    The value that was put last stays, however heavy it is.
    """

    __slots__ = ("_kept", "_most", "_weigh", "_weight")

    def __init__(self, most: int, weigh: Callable[[V], int] = _one) -> None:
        self._most = most
        self._weigh = weigh
        self._weight = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, name: K) -> V | None:
        """Return a value, which counts as used."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        self._kept.move_to_end(name)
        return kept[0]

    def put(self, name: K, value: V) -> V:
        """Keep a value, weighed as it is now, and forget others above the bound; return it."""
        self.drop(name)
        weight = self._weigh(value)
        self._kept[name] = value, weight
        self._weight += weight
        while self._weight > self._most and len(self._kept) > 1:
            self._weight -= self._kept.popitem(last=False)[1][1]
        return value

    def drop(self, name: K) -> None:
        """Forget a value, if it is there."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._weight -= kept[1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._weight = 0

    def values(self) -> Iterator[V]:
        """Yield all values, the least recently used first."""
        return (value for value, _ in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)
