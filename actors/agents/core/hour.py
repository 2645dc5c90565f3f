"""A sum over the last hour, told in parts of five minutes. Pure."""

from datetime import datetime

PART_SECONDS = 300
PARTS = 12
"""Parts of an hour; the present one, which has just begun, comes on top."""


class Hour:
    """Amounts by the time to which they belong; what is older than an hour is forgotten."""

    def __init__(self) -> None:
        self._parts: dict[int, int] = {}

    def add(self, at: datetime, amount: int) -> None:
        """Add an amount. Amounts may come in any order."""
        part = _part(at)
        if part in self._parts:
            self._parts[part] += amount
            return
        self._parts[part] = amount
        newest = max(self._parts)
        for old in [each for each in self._parts if each < newest - PARTS]:
            del self._parts[old]

    def total(self, now: datetime) -> int:
        """Return the sum of the last hour."""
        oldest = _part(now) - PARTS
        return sum([amount for part, amount in self._parts.items() if part >= oldest])


def _part(at: datetime) -> int:
    return int(at.timestamp() // PART_SECONDS)
