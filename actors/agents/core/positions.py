"""Where the events of one stored stream lie: cursor order mapped to sequences of the store. Pure.

Events arrive in cursor order as a rule. After a restart of the bus some are stored twice or late,
and a worker that was believed dead may add to an earlier segment, so what was not read may come
before what was. ``is_certain`` says when that is impossible.
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

SEQUENCE_BITS = 40
"""A cursor's sequence has at most 12 digits."""

LAST_KEY = 2**63 - 1

FIRST_EVENT = (1, 0)
"""Segments count from 1, and sequences from 0."""


class ChosenPositions(NamedTuple):
    """The sequences of a page in the store, in cursor order; ``more`` events are known after it."""

    stored: list[int]
    more: bool


class Positions:
    """The events of a stream up to ``through``, the last sequence of the store that was looked at.

    An event takes some 20 bytes, so that those of many streams can be remembered.
    """

    def __init__(self) -> None:
        self.through = 0
        self._keys = array("q")
        self._stored = array("Q")
        self._sizes = array("L")

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, segment: int, sequence: int, stored: int, size: int) -> None:
        """Note an event of ``size`` bytes. One that is stored twice lies where it came last."""
        self.through = max(self.through, stored)
        key = key_of((segment, sequence))
        place = bisect_left(self._keys, key)
        if place < len(self._keys) and self._keys[place] == key:
            self._stored[place], self._sizes[place] = stored, size
            return
        self._keys.insert(place, key)
        self._stored.insert(place, stored)
        self._sizes.insert(place, size)

    def skip(self, stored: int) -> None:
        """Note a message that is no event."""
        self.through = max(self.through, stored)

    def reaches(self, place: tuple[int, int]) -> bool:
        """Say whether an event at a place, or after it, is known."""
        return bool(self._keys) and self._keys[-1] >= key_of(place)

    def holds(self, place: tuple[int, int]) -> bool:
        """Say whether a place lies between the first and the last event that are known."""
        return self.reaches(place) and self._keys[0] <= key_of(place)

    def is_certain(self, after: tuple[int, int] | None, limit: int) -> bool:
        """Say whether no event that is still unread can belong among the next ``limit`` and one.

        It is so where they follow the cursor without a gap: nothing fits in between. At the end of
        a segment it never is, because nobody knows how many events that has.
        """
        first = key_of(FIRST_EVENT) if after is None else key_of(after) + 1
        start = bisect_left(self._keys, first)
        last = start + limit
        return last < len(self._keys) and self._keys[last] == first + limit

    def choose(self, after: tuple[int, int] | None, limit: int, most_bytes: int) -> ChosenPositions:
        """Return the next events: at most ``limit`` of ``most_bytes`` together, one at least."""
        start = bisect_right(self._keys, key_of(after)) if after is not None else 0
        end, size = start, 0
        while end < min(start + limit, len(self._keys)):
            size += self._sizes[end]
            if size > most_bytes and end > start:
                break
            end += 1
        return ChosenPositions(self._stored[start:end].tolist(), end < len(self._keys))


def key_of(place: tuple[int, int]) -> int:
    """Return a number that orders places as their cursors are ordered."""
    segment, sequence = place
    return min((segment << SEQUENCE_BITS) + min(sequence, 2**SEQUENCE_BITS - 1), LAST_KEY)
