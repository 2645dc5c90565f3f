"""Making sure that open work is with a worker or in the queue, after whatever happened."""

import itertools
from collections.abc import Iterable, Mapping

import anyio

from bus.config import Timing
from bus.errors import UnavailableError
from bus.ports import ELSEWHERE, Bus
from bus.shard.assignments import Assignments
from bus.shard.book import Address, Book
from bus.shard.roll_call import call_roll
from bus.shard.turn import Item
from bus.shard.workforce import Workforce
from schemas.fleet import RollCall

OpenWork = list[tuple[Address, Item]]


class OpenWorkKeeper:
    """Finds out where work is of which nobody here knows, and begins anew what was lost.

    All workers are asked first. What none of them has can be in the queue, which shows by sending
    it again: while the queue remembers an item's id, it swallows the repeat. What it has not got
    may have been begun by a worker that is no more. Only where the journal names the one worker to
    which it may have been offered, and that one lives and never took it, nobody has begun it.
    """

    def __init__(
        self,
        book: Book,
        assigned: Mapping[str, tuple[str, str]],
        assignments: Assignments,
        workforce: Workforce,
        name: str,
        bus: Bus,
        timing: Timing,
    ) -> None:
        self._book = book
        self._assigned: Mapping[str, tuple[str, str]] = assigned
        self._assignments = assignments
        self._workforce = workforce
        self._name = name
        self._bus = bus
        self._timing = timing
        self._calls = itertools.count(1)
        self._heeding: set[str] = set()
        self._reconnected = anyio.Event()

    async def run(self) -> None:
        """Look after the open work now, and again each time the bus comes back."""
        await self._after_takeover()
        while True:
            await self._reconnected.wait()
            self._reconnected = anyio.Event()
            await self._after_reconnect()

    async def bus_came_back(self) -> None:
        """Note that the bus was away."""
        self._reconnected.set()

    async def _after_takeover(self) -> None:
        known = list(self._book.open_work())
        generation = await self._generation()
        unheld = await self._unheld(known)
        queued: OpenWork = []
        if generation == self._book.generation:
            window = self._timing.repeat_window_seconds
            queued = [(address, work) for address, work in unheld if self._age(work) < window]
        for address, work in queued:
            life = generation if self._is_untouched(work, generation) else ELSEWHERE
            self._assignments.send(address, work, life=life)
        self._assigned = {}
        await self._settle([entry for entry in unheld if entry not in queued], generation)

    def _is_untouched(self, work: Item, generation: str) -> bool:
        """Say whether nobody can have begun an item unless the queue has it."""
        worker, life = self._assigned.get(work.id, ("", None))
        is_known = not worker or worker in self._heeding
        age = self._age(work) + self._timing.clock_error_seconds
        return is_known and life == generation and age < self._timing.repeat_window_seconds

    def _age(self, work: Item) -> float:
        return (self._bus.clock() - work.since).total_seconds()

    async def _after_reconnect(self) -> None:
        """Find what the queue had, and has no more."""
        has = self._assignments.has
        known = [entry for entry in self._book.open_work() if not has(entry[1])]
        generation = await self._generation()
        if generation != self._book.generation:
            await self._settle(await self._unheld(known), generation)

    async def _unheld(self, doubtful: OpenWork) -> OpenWork:
        """Return what no worker holds, and note who holds the rest."""
        if not doubtful:
            return []
        shard, epoch = self._assignments.shard, self._assignments.epoch
        answer_to = f"_cb.sys.held.{self._name}.{epoch}.{next(self._calls)}"
        call = RollCall(answer_to=answer_to, shard=shard, epoch=epoch)
        roll = await call_roll(self._bus.transport, call, self._workforce, self._timing)
        held, self._heeding = roll.holders, roll.heeding
        for address, work in self._still_open(doubtful):
            if work.id in held and not self._assignments.has(work):
                self._assignments.adopt(address, work, held[work.id])
        return self._uncared_for(doubtful)

    async def _settle(self, lost: OpenWork, generation: str) -> None:
        """Begin anew what is lost. Only then may a next owner rely on the queue.

        What the bus lost while we asked is looked for when we are told that it is back.
        """
        for address, work in self._uncared_for(lost):
            self._assignments.begin_anew(address, work, lost=False)
        while self._uncared_for(lost):  # noqa: ASYNC110  seldom and short
            await anyio.sleep(self._timing.work_resend_seconds)
        if not self._reconnected.is_set():
            self._book.generation = generation

    def _still_open(self, work: Iterable[tuple[Address, Item]]) -> OpenWork:
        return [entry for entry in work if self._book.is_open(*entry)]

    def _uncared_for(self, work: Iterable[tuple[Address, Item]]) -> OpenWork:
        return [entry for entry in self._still_open(work) if not self._assignments.has(entry[1])]

    async def _generation(self) -> str:
        while True:
            try:
                return await self._bus.queue.generation()
            except UnavailableError:
                await anyio.sleep(self._timing.work_resend_seconds)
