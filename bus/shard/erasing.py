"""Removing what a deleted entity has left beside the journal.

The journal's own copy goes with the next snapshot, see ``bus.shard.purging``.
"""

from collections.abc import Iterable, Sequence

import anyio
import structlog

from bus.config import Timing
from bus.errors import TransientError
from bus.ports import Bus
from bus.shard.book import ShardBook
from bus.shard.effects import EffectSender
from bus.shard.rest import BATCH_STATES, Rest
from bus.tasks import Wakeup
from schemas.decision import Left
from schemas.entity import EntityAddress

log = structlog.get_logger()

LOOK_SECONDS = 0.25
"""How often it is looked whether the publications of a deleted entity are stored."""

AT_ONCE = 16
"""Entities whose messages are removed at a time."""


class Eraser:
    """Erases what the deleted entities of one shard have left, for as long as it is owned.

    Until that is done no commit says that the deletion is settled: an owner that comes after a
    crash finds the deletion in the journal and erases anew.
    """

    def __init__(
        self, book: ShardBook, rest: Rest, sender: EffectSender, bus: Bus, timing: Timing
    ) -> None:
        self._book = book
        self._rest = rest
        self._sender = sender
        self._erase = bus.erase
        self._timing = timing
        self._resting: dict[EntityAddress, tuple[int, int]] = {}
        self._published: dict[EntityAddress, tuple[int, Sequence[Left]]] = {}
        self._has_room = True
        self._wakeup = Wakeup()

    def deleted(self, n: int, after: Iterable[tuple[EntityAddress, int]]) -> None:
        """Note the entities that commit ``n`` has deleted.

        Beside each stands the commit with the entity's entry before.
        """
        for address, before in after:
            left = self._book.entity.left(self._book.slots[address].state)
            if left:
                self._resting[address] = (n, before)
                self._published[address] = (n, left)
        self._hold()
        self._wakeup.set()

    def recovered(self, n: int, touched: Iterable[EntityAddress]) -> None:
        """Note the deleted entities among those that unsettled commits up to ``n`` are about."""
        self.deleted(n, [(address, n) for address in touched])

    async def run(self) -> None:
        """Erase until cancelled.

        Raises:
            FencedError: the shard has another owner.
        """
        while True:
            await self._wakeup.wait(self._pause())
            if self._resting:
                self._has_room = await self._replace_states()
            if self._published:
                await self._remove_messages()
                self._hold()

    def _pause(self) -> float | None:
        """Return when to look again, in seconds; None until another entity is deleted."""
        if self._published:
            return LOOK_SECONDS
        return self._timing.housekeeping_seconds if self._resting else None

    def _hold(self) -> None:
        self._sender.held = min((n for n, _ in self._published.values()), default=None)

    async def _replace_states(self) -> bool:
        """Store what remains of the entities in place of their states at rest; say if that works.

        A new owner passes over the entries that a state at rest holds, and so over what they
        announced: that must be stored before.
        """
        stored = self._sender.stored()
        ripe = [each for each in self._resting if self._needs(each) <= stored][:BATCH_STATES]
        if ripe and not await self._rest.replace(ripe):
            return False
        for address in ripe:
            del self._resting[address]
        return True

    def _needs(self, address: EntityAddress) -> int:
        """Return the newest commit with something that the entity has announced."""
        (n, before), slot = self._resting[address], self._book.slots.get(address)
        if slot is None:
            return 0
        # The deletion itself announces nothing.
        return before if slot.last == n else slot.last

    async def _remove_messages(self) -> None:
        """Remove what is published, when none of it can be sent again.

        A full journal has no room for what remains of an entity, and gets none while the deletion
        is not settled. Then that is settled first; what remains is in memory and in snapshots, and
        takes the place of the state at rest when it fits.
        """
        stored = self._sender.stored()
        ripe = [
            address
            for address, (n, _) in self._published.items()
            if n <= stored and not (self._has_room and address in self._resting)
        ]
        async with anyio.create_task_group() as tasks:
            for address in ripe[:AT_ONCE]:
                tasks.start_soon(self._remove, address)

    async def _remove(self, address: EntityAddress) -> None:
        try:
            for left in self._published[address][1]:
                await self._erase(left)
        except TransientError as error:
            log.warning("shard.not_erased", key=address[1], error=str(error))
        else:
            del self._published[address]
