"""The time of a shard: it never goes back, and it goes on whatever clock an owner had before.

A commit stores the moment of its turn, and timers are due by it. Where the journal is ahead of this
process's clock, because an earlier owner's was wrong, time goes on from the last commit by what the
monotonic clock counts. A clock that jumps, or is not the server's, is not used at all: its moments
would stay in the journal for every owner to come.
"""

from datetime import datetime, timedelta

from bus.errors import ClockError, UnavailableError
from bus.ports import Clock, StoredMessage
from bus.tasks import loop_clock

TOLERANCE_SECONDS = 5.0
"""Clocks that are kept by NTP differ by milliseconds; more than this is a wrong clock."""


class ShardClock:
    """Tells the time of one shard from its last commit on. Used by one owner, for its life."""

    __slots__ = ("_at", "_shard", "_since", "_time", "_wall", "_wall_at")

    def __init__(self, shard: str, wall: Clock, last: datetime) -> None:
        self._shard = shard
        self._wall = wall
        self._wall_at = wall()
        self._at = last
        self._time = loop_clock()
        self._since = self._time()

    def __call__(self) -> datetime:
        """Return the present moment of the shard.

        Raises:
            UnavailableError: the process's clock has jumped; take the shard over again.
        """
        since, wall = self._time(), self._wall()
        elapsed = since - self._since
        jump = (wall - self._wall_at).total_seconds() - elapsed
        if not -TOLERANCE_SECONDS <= jump <= TOLERANCE_SECONDS:
            raise UnavailableError(self._shard, f"the clock here has jumped by {jump:.0f} s")
        at = self._at + timedelta(seconds=elapsed)
        self._at = at = max(at, wall)
        self._since, self._wall_at = since, wall
        return at


def check(shard: str, claim: StoredMessage, wall: Clock, taken: float) -> None:
    """Compare the process's clock with the server's, by when its owner commit was stored.

    ``taken`` is how many seconds ago the take-over began.

    Raises:
        ClockError: they differ by more than clocks that are kept do.
    """
    if not claim.time:
        return
    ahead = (wall() - datetime.fromisoformat(claim.time)).total_seconds()
    if not -TOLERANCE_SECONDS <= ahead <= taken + TOLERANCE_SECONDS:
        raise ClockError(shard, ahead)
