"""The bodies that the entities of a shard refer to: read for what is published, removed at the end.

A body is stored by the sender of the command that names it, and goes once its entity has ended and
all that this led to is stored. What a sender left behind that died before its command was
committed, or an owner that died before it removed it, is found by its name.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

import anyio
import msgspec
import structlog

from bus.bodies import Bodies
from bus.bodies.names import body_name, shard_bodies
from bus.config import Timing
from bus.errors import ProblemError, TransientError
from bus.ports import Bus, Journal
from bus.shard.book import ShardBook
from bus.tasks import Wakeup, loop_time, until_answered
from schemas.decision import Publish
from schemas.entity import EntityAddress

log = structlog.get_logger()

TRIES = 10
"""So often a body is read before the shard is given up, to be taken over when the bus is back."""

MOST_WAITING = 10_000
"""Bodies that wait to be removed; more are left to the next search for what is left behind."""


class BodyFilling:
    """Completes messages with what an entity has stored apart."""

    def __init__(self, book: ShardBook, bus: Bus, timing: Timing) -> None:
        self._entity = book.entity
        self._bodies = Bodies(bus.blobs)
        self._records = bus.records
        self._timing = timing

    async def filled(self, publication: Publish) -> msgspec.Struct | None:
        """Return the message with what it lacks; None where it cannot be told any more.

        Raises:
            UnavailableError: what is stored cannot be read for long.
        """
        fill, reference = self._entity.filled, publication.lacks
        if fill is None or reference is None:
            return publication.body

        async def ask() -> msgspec.Struct | None:
            try:
                return fill(publication.body, await self._bodies.get(reference), None)
            except ProblemError as gone:
                # Removed after an end, whose record is stored; or lost, which ended the entity.
                log.info("shard.body_gone", body=reference.name, code=gone.problem.code)
                stored = await self._records.last(publication.subject)
                return fill(publication.body, None, stored.data if stored else None)

        return await until_answered(ask, self._timing.work_resend_seconds, tries=TRIES + 1)


class Leftovers:
    """Removes the bodies of a shard that nothing needs any more."""

    def __init__(
        self, book: ShardBook, shard: int, subject: str, journal: Journal, bus: Bus, timing: Timing
    ) -> None:
        self._book = book
        self._under = shard_bodies(book.entity.name, shard)
        self._subject = subject
        self._journal = journal
        self._blobs = bus.blobs
        self._timing = timing
        self._ended: deque[tuple[int, str]] = deque(maxlen=MOST_WAITING)
        self._has_ended = Wakeup()

    def touched(self, n: int, addresses: Iterable[EntityAddress]) -> None:
        """Note the bodies of what commit ``n`` has ended."""
        bodies, slots, ended = self._book.entity.bodies, self._book.slots, self._book.entity.ended
        if bodies is None:
            return
        for address in addresses:
            state = slots[address].state
            references = bodies(state) if state is not None else ()
            if references and ended(state):
                self._ended.extend((n, each.name) for each in references)
                self._has_ended.set()

    async def run(self) -> None:
        """Remove what is not needed until cancelled."""
        if self._book.entity.bodies is None:
            return
        sweep_at = loop_time()
        while True:
            try:
                await self._remove_ended()
                if loop_time() >= sweep_at:
                    sweep_at = loop_time() + self._timing.body_sweep_seconds
                    await self._sweep()
            except TransientError as error:
                log.warning("shard.bodies_not_removed", under=self._under, error=str(error))
            if not self._ended:
                await self._has_ended.wait(max(sweep_at - loop_time(), 0.0))
            # What they have announced is settled some time after their end.
            await anyio.sleep(self._timing.housekeeping_seconds)

    async def _remove_ended(self) -> None:
        """Remove the bodies of ended entities of which nothing has to be published again.

        The journal says how far that is, not this process: whoever owns the shard next publishes
        what comes after, and reads these bodies for it.
        """
        while self._ended and self._ended[0][0] <= self._book.settled:
            await self._blobs.remove(self._ended[0][1])
            self._ended.popleft()

    async def _sweep(self) -> None:
        """Remove old bodies that no entity refers to.

        Their age is told by the server's clock alone: by when it stored the newest commit.
        """
        names = [name for name in await self._blobs.names(self._under) if self._is_left(name)]
        newest = await self._journal.last(self._subject) if names else None
        if newest is None:
            return
        old = datetime.fromisoformat(newest.time) - timedelta(
            seconds=self._timing.body_orphan_seconds
        )
        for name in names:
            stored = await self._blobs.newest(name)
            # It may have been stored anew, for a command that is on its way or committed by now.
            if stored and datetime.fromisoformat(stored.time) < old and self._is_left(name):
                await self._blobs.remove(name, below=stored.sequence + 1)

    def _is_left(self, name: str) -> bool:
        """Say whether the entity that a body belongs to does not need it, or does not exist."""
        found, book = body_name(name), self._book
        if found is None:
            return False
        address = (found.tenant, found.key)
        slot, bodies = book.slots.get(address), book.entity.bodies
        if slot is None:
            # What sleeps and is not in this table has ended, or was never begun.
            return address not in book.sleepers
        if slot.state is None or bodies is None:
            return address not in book.corrupt
        if book.entity.ended(slot.state):
            return slot.last <= book.settled
        return all(each.name != name for each in bodies(slot.state))
