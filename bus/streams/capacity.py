"""How full the stores are that refuse what does not fit, known without asking for each message.

A journal and the blobs have a bound. What stops at which share of it, so that a full store is never
a dead end: first history goes, then new entities are refused, then all turns; the rest is for what
makes room again.
"""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import anyio
import structlog

from bus.config import Timing
from bus.errors import TransientError
from bus.ports import Bus, Fill
from bus.streams.spec import BLOBS, journal_stream
from bus.tasks import Wakeup
from bus.telemetry import metrics
from schemas.problems import Problem

log = structlog.get_logger()

HISTORY_GOES = 0.70
"""Above this share owners keep no history: they purge below their newest snapshot."""

STATES_STOP = 0.80
"""Above this share no states are laid to rest: entities stay in memory until older states are gone,
so that it is never the states of what has ended for which new entities are refused."""

NEW_KEYS_STOP, TURNS_STOP = 0.90, 0.95
"""Above these no new entities are begun, and no turns taken: what has begun may end before, and
owner commits, snapshots and the commits that name them have the rest."""

WATCHED_CLOSELY = 0.60
"""Above this share it is looked more often, so that others' writes are noticed in time."""

MESSAGE_BYTES = 192
"""What a stored message takes besides its content: subject, header, record; rather more."""

UNSEEN = 0.01
"""After this share was added here, it is looked at once: others add as much meanwhile."""

LEAST_SECONDS = 0.02
"""From one look to the next at least."""

RETRY_AFTER = 5.0


class Room:
    """How full one store is: as last seen, and with what this process has added since."""

    def __init__(self, store: str, look: Callable[[], Awaitable[Fill]], stir: Wakeup) -> None:
        self.store = store
        self._look = look
        self._stir = stir
        self._seen = Fill(0, 0)
        self._added = 0
        self._stirs_at = inf
        self.share = 0.0
        """The share in use, 0 as long as no bound is known."""

    @property
    def most(self) -> int:
        """The bound in bytes, 0 where there is none, or none is known."""
        return self._seen.most

    def add(self, size: int) -> None:
        """Count a message that was stored here."""
        self._added += size + MESSAGE_BYTES
        if self._seen.most:
            self.share = (self._seen.used + self._added) / self._seen.most
        if self._added > self._stirs_at:
            self._stir.set()

    def fits(self, size: int, stop: float = TURNS_STOP) -> bool:
        """Say whether so many bytes, of a turn as a rule, fit below the share at which it stops."""
        fill = Fill(self._seen.used + self._added, self._seen.most)
        return fill.leaves(size, reserve=1 - stop)

    async def look(self) -> None:
        """See how full the store is; as before where nobody answers."""
        before = self._added
        try:
            self._seen = await self._look()
        except TransientError as error:
            log.debug("room.unseen", store=self.store, error=str(error))
            return
        # What was added while the question was on its way may be in the answer or not.
        self._added -= before
        used, most = self._seen.used + self._added, self._seen.most
        self.share = used / most if most else 0.0
        self._stirs_at = most * UNSEEN if most else inf
        metrics.STORE_USED.at(self.store).set(self.share)


class Rooms:
    """The journal of an entity type and the blobs, for all shards that a process owns."""

    def __init__(self, entity: str, bus: Bus, timing: Timing) -> None:
        self._stir = Wakeup()
        self._timing = timing
        journal, blobs = bus.journal(entity), bus.blobs
        self.journal = Room(journal_stream(entity), journal.fill, self._stir)
        self.blobs = Room(BLOBS, blobs.fill, self._stir)

    @property
    def pressed(self) -> bool:
        """Whether history has to go so that there is room."""
        return self.journal.share >= HISTORY_GOES or self.blobs.share >= HISTORY_GOES

    async def look(self) -> None:
        """See how full both are."""
        await self.journal.look()
        await self.blobs.look()

    async def run(self) -> None:
        """Look again and again, until cancelled: seldom, or often where it gets tight."""
        while True:
            await self.look()
            tight = max(self.journal.share, self.blobs.share) >= WATCHED_CLOSELY
            timing = self._timing
            pause = timing.room_tight_seconds if tight else timing.room_look_seconds
            # However fast a small journal fills, looking costs no more than this.
            await anyio.sleep(LEAST_SECONDS)
            await self._stir.wait(pause)


def full(store: str, share: float, message: str) -> Problem:
    """Return the refusal of what does not fit: nothing was stored, and it may come again."""
    details: dict[str, Any] = {"store": store, "used": round(share, 3)}
    return Problem(
        code="unavailable",
        message=message,
        retryable=True,
        retry_after=RETRY_AFTER,
        details=details,
    )


def is_full(problem: Problem) -> bool:
    """Say whether a refusal is that of a full store: what is refused may come again as it is."""
    return problem.code == "unavailable" and problem.retryable and "store" in problem.details
