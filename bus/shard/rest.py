"""Idle entities leave memory: their states are stored, and bring them back when they are needed.

A state lies in the stream of the shard's journal, so the log itself refuses what a former owner
writes. It holds every entry of its entity up to one commit, with the replies that are kept; replay
passes over what it holds.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import anyio
import structlog

from bus.config import Timing
from bus.errors import UnavailableError
from bus.ports import Resting, States, StateWriter
from bus.shard.book import EntitySlot, ShardBook
from bus.streams.capacity import MESSAGE_BYTES, STATES_STOP, Room
from bus.subjects import state_subject
from bus.tasks import loop_time, until_answered
from schemas.entity import EntityAddress

log = structlog.get_logger()

T = TypeVar("T")

BATCH_STATES = 256
BATCH_BYTES = 4 * 1024**2
"""A batch costs one server some 20 ms however many states it has; this bounds its memory."""

BATCHES_IN_JOURNAL = 50
"""So many batches fit into a small journal."""


class _Leaving(NamedTuple):
    """An entity that may leave, and its state as it was when that was found."""

    address: EntityAddress
    slot: EntitySlot
    resting: Resting


class Around(NamedTuple):
    """What the owner of a shard tells.

    ``settled`` is the last commit whose publications and records are all stored, ``now`` the
    shard's time, ``room`` that of the journal, in whose stream the states lie. ``record`` returns
    what is stored for users of an entity of which there is no state.
    """

    settled: Callable[[], int]
    now: Callable[[], datetime]
    room: Room
    record: Callable[[EntityAddress], Awaitable[bytes | None]]


class Rest:
    """Puts the entities of one shard to rest and wakes them, for as long as it is owned."""

    def __init__(
        self,
        book: ShardBook,
        states: States,
        writer: StateWriter,
        shard: int,
        around: Around,
        timing: Timing,
    ) -> None:
        self._book = book
        self._states = states
        self._writer: StateWriter | None = writer
        self._shard = shard
        self._settled, self._now, self._room, self._record = around
        self._timing = timing
        self._quiet: OrderedDict[EntityAddress, int] = OrderedDict()
        self._living: OrderedDict[EntityAddress, tuple[float, int]] = OrderedDict()
        self._writing = anyio.Lock()
        in_order = sorted(book.slots.items(), key=lambda item: item[1].last)
        for address, slot in in_order:
            self._quiet[address] = slot.last
            slot.slept = True

    def touched(self, n: int, addresses: Iterable[EntityAddress]) -> None:
        """Note which entities commit ``n`` was about: they leave after those before them."""
        for address in addresses:
            self._quiet[address] = n
            self._quiet.move_to_end(address)

    async def run(self) -> None:
        """Let entities leave memory above its bound, until cancelled.

        Raises:
            FencedError: the shard has another owner.
        """
        while True:
            await anyio.sleep(self._timing.rest_seconds)
            while await self._lay_down():
                pass

    async def wake(self, addresses: Iterable[EntityAddress]) -> None:
        """Bring back those entities that are at rest; from its record what is forgotten there.

        Others may leave while we look, so this goes on until all are there; from then to the turn
        nothing is awaited.
        """
        found: dict[EntityAddress, Resting | bytes | None] = {}
        slots = self._book.slots
        # Asked of each address: the difference of a set and a dict's keys goes through all keys.
        while missing := [each for each in addresses if each not in slots and each not in found]:
            async with anyio.create_task_group() as tasks:
                for address in missing:
                    tasks.start_soon(self._look_up, address, found)
        for address, stored in found.items():
            if address in slots:
                continue
            if isinstance(stored, Resting):
                self._book.wake(stored)
            elif stored is not None:
                self._book.adopt(address, stored)
            if address in slots:
                self.touched(slots[address].last, (address,))

    async def _look_up(
        self, address: EntityAddress, found: dict[EntityAddress, Resting | bytes | None]
    ) -> None:
        async def ask() -> Resting | None:
            resting = await self._states.read(self._shard, *address)
            if self._book.is_stale(address, resting):
                subject = state_subject(self._book.entity.name, self._shard, *address)
                raise UnavailableError(subject, "is stale")
            return resting

        resting = await until_answered(ask, self._timing.work_resend_seconds)
        found[address] = resting or await self._record(address)

    async def replace(self, addresses: Sequence[EntityAddress]) -> bool:
        """Store the states of entities in place of older ones; say whether that is done.

        They stay in memory. What has left it has taken the place of its older state already.
        """
        async with self._writing:
            awake = [each for each in addresses if each in self._book.slots]
            states = [self._book.at_rest(each) for each in awake]
            for each in awake:
                self._book.slots[each].slept = True
            return not states or await self._write(states)

    # Leaving

    async def _lay_down(self) -> bool:
        """Store the states of some that may leave and let them go; say whether to go on."""
        async with self._writing:
            return await self._lay_some_down()

    async def _lay_some_down(self) -> bool:
        leaving = self._leaving()
        new = [resting for _, slot, resting in leaving if slot.stored != resting.n]
        if new and not self._has_room(new):
            return self._let_go(leaving)
        for _, slot, _ in leaving:
            # Also where it is not known whether it was stored.
            slot.slept = True
        if new and not await self._write(new):
            for each in reversed(leaving):
                self._quiet.setdefault(each.address, each.slot.last)
                self._quiet.move_to_end(each.address, last=False)
            return False
        for address, slot, resting in leaving:
            slot.stored = resting.n
            # One that has changed meanwhile stays: that commit has noted it again.
            if slot.n == resting.n:
                self._book.evict(address)
        return bool(leaving)

    def _has_room(self, states: Sequence[Resting]) -> bool:
        """Say whether states leave room for what is to begin, and for what makes more room."""
        size = sum(len(state.data) + MESSAGE_BYTES for state in states)
        return self._room.fits(size, STATES_STOP)

    def _let_go(self, leaving: Iterable[_Leaving]) -> bool:
        """Let go of those that come back without a new state; say whether there were any."""
        gone = 0
        for address, slot, resting in leaving:
            if slot.stored == resting.n or self._book.is_told(address):
                self._book.evict(address)
                gone += 1
            else:
                self._quiet[address] = slot.last
        return gone > 0

    def _leaving(self) -> list[_Leaving]:
        """Take the next entities that may leave, least recently changed first."""
        most = self._room.most // BATCHES_IN_JOURNAL or BATCH_BYTES
        found: list[_Leaving] = []
        slots, size = self._book.slots, 0
        for address in self._candidates():
            found.append(_Leaving(address, slots[address], self._book.at_rest(address)))
            size += len(found[-1].resting.data)
            is_bounded = len(slots) - len(found) <= self._timing.entities_in_memory
            if is_bounded or len(found) == BATCH_STATES or size >= min(most, BATCH_BYTES):
                break
        return found

    def _candidates(self) -> Iterator[EntityAddress]:
        """Yield what may leave: of what has not ended, only what was left alone for a time."""
        book, now, settled = self._book, loop_time(), self._settled()
        if len(book.slots) <= self._timing.entities_in_memory:
            return
        until = self._now() + timedelta(seconds=self._timing.due_soon_seconds)
        while (found := _first(self._quiet)) and found[1] <= settled:
            address, last = self._quiet.popitem(last=False)
            if not self._is_idle(address, last, until):
                continue
            if book.has_ended(address):
                yield address
            else:
                self._living[address] = (now, last)
                self._living.move_to_end(address)
        left_alone = now - self._timing.idle_seconds
        while (living := _first(self._living)) and living[1][0] <= left_alone:
            address, (_, last) = self._living.popitem(last=False)
            if self._is_idle(address, last, until):
                yield address

    def _is_idle(self, address: EntityAddress, last: int, until: datetime) -> bool:
        """Say whether an entity may leave that was last changed by a commit.

        One that has changed since, or is in use, is noted again by the commit that ends this.
        """
        slot = self._book.slots.get(address)
        return slot is not None and slot.last == last and self._book.is_idle(address, until)

    async def _write(self, states: list[Resting]) -> bool:
        """Store states; say whether they are known to be stored."""
        try:
            if self._writer is None:
                self._writer = await self._states.own(self._shard, self._book.epoch)
            await self._writer.write(states)
            for state in states:
                self._room.add(len(state.data))
        except UnavailableError as error:
            # It may still be stored, after what is written next, unless the shard is owned anew.
            self._writer = None
            log.warning("shard.rest_unavailable", shard=self._shard, reason=error.reason)
            return False
        return True


def _first(waiting: OrderedDict[EntityAddress, T]) -> tuple[EntityAddress, T] | None:
    return next(iter(waiting.items()), None)
