"""What one process has stored of one tenant in a stream that all tenants share. Pure."""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

PIECES = 16
"""What a tenant may keep is counted in so many pieces: what is too much goes piece by piece, so
that the stream is asked seldom."""

LEAST_PIECE_BYTES = 64 * 1024
"""No piece is smaller: a full stream has 16,000 of them at most, whatever is allowed."""


@dataclass(slots=True)
class _Piece:
    """Bytes stored one after another, none of them below the stream sequence ``first``."""

    first: int = 0
    size: int = 0
    until: float = 0.0


class Share:
    """The bytes of a tenant in a stream, oldest first. ``size`` is their sum."""

    def __init__(self) -> None:
        self._pieces = deque([_Piece()])
        self.size = 0

    def add(self, size: int, now: float) -> None:
        """Count bytes that were stored at the moment ``now``, in seconds."""
        newest = self._pieces[-1]
        newest.size += size
        newest.until = now
        self.size += size

    def expire(self, before: float, most: int) -> None:
        """Forget what was stored ``before`` a moment, and what a stream of ``most`` bytes lost."""
        while self._pieces[0].until < before or self.size > most:
            if len(self._pieces) == 1:
                break
            self._forget_oldest()
        if self._pieces[0].until < before:
            self._pieces[0].size = self.size = 0

    def is_full(self, allowed: int) -> bool:
        """Say whether the newest piece has its size, so that another one is to begin."""
        return self._pieces[-1].size >= max(allowed // PIECES, LEAST_PIECE_BYTES)

    def begin(self, last: int) -> None:
        """Begin another piece behind the stream's ``last`` sequence."""
        self._pieces.append(_Piece(first=last + 1))

    def excess(self, allowed: int) -> int | None:
        """Return the sequence below which all must go so that the rest is allowed; None: all is."""
        size, below = self.size, None
        for older, newer in pairwise(self._pieces):
            if size <= allowed:
                break
            size, below = size - older.size, newer.first
        return below

    def cut(self, below: int) -> None:
        """Forget what was removed below a sequence."""
        while len(self._pieces) > 1 and self._pieces[1].first <= below:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self.size -= self._pieces.popleft().size
