"""What leaves a shard once its commit is stored: replies, publications, work items, records.

Replies, work items and publications go at once. Records are written behind: of an entity that
changes quickly only the newest.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import anyio
import structlog

from bus.codec import encode
from bus.config import Timing
from bus.ports import MESSAGE_ID, Bus, Still
from bus.requests.dead_letters import post_letter
from bus.requests.rpc import POSITION, PositionedAnswer
from bus.shard.bodies import BodyFilling
from bus.shard.book import ShardBook
from bus.shard.dispatch import WorkDispatch
from bus.shard.fence import Fence
from bus.shard.turn import Outcome
from bus.subjects import shard_name
from bus.tasks import Wakeup
from schemas.decision import Publish
from schemas.entity import EntityAddress
from schemas.letters import DeadLetter

log = structlog.get_logger()

RECORD_ROUNDS = 3
"""A record of what has not ended waits so many rounds: mostly its end then comes with it."""


class _Unwritten(NamedTuple):
    """An entity whose record is to be written: of its first commit that is not in one yet."""

    first: int
    since: int
    state: Any


class EffectSender:
    """Sends what the turns of a shard lead to, and knows up to which commit nothing can be lost.

    ``held`` is the first commit of which more is to be done than to publish, None where there is
    none.
    """

    def __init__(
        self, book: ShardBook, fence: Fence, dispatch: WorkDispatch, bus: Bus, timing: Timing
    ) -> None:
        self._book = book
        self._fence = fence
        self._dispatch = dispatch
        self._name = shard_name(fence.subject)
        self._transport = bus.transport
        self._outbox = bus.outbox
        self._timing = timing
        self._filling = BodyFilling(book, bus, timing)
        self._stored = book.settled
        self.held: int | None = None
        self._unwritten: dict[EntityAddress, _Unwritten] = {}
        self._has_unwritten = Wakeup()
        self._writing = anyio.Lock(fast_acquire=True)
        self._round = 0
        self._dispatched = self._stored
        self._marks: deque[tuple[int, int]] = deque()

    async def send(self, n: int, outcome: Outcome) -> None:
        """Send what commit ``n`` leads to; work first, since it takes the longest."""
        self._dispatch.closed(outcome.closed)
        await self._dispatch.assign(outcome.opened)
        position = f"{self._name}.{n}"
        headers = {POSITION: position}
        for reply, data in outcome.replies:
            answer = (
                (reply, data) if isinstance(reply, str) else reply(PositionedAnswer(data, position))
            )
            if answer is not None:
                await self._transport.publish(*answer, headers=headers)
        for publication in outcome.publications:
            await self.publish(publication)
            self._book.entity.observe(publication)
        if outcome.touched:
            self._note_unwritten(n, outcome.touched.items())

    async def publish(self, publication: Publish, *, still: Still | None = None) -> None:
        """Send one publication; again after a loss only if ``still`` says so."""
        body: Any = publication.body
        if publication.lacks is not None:
            body = await self._filling.filled(publication)
            if still is not None:
                # That may have taken long, and the next owner may have told more of it.
                await self._fence.confirm(within=self._timing.record_delay_seconds)
            if body is None:
                return
        if isinstance(body, DeadLetter):
            await post_letter(self._outbox, publication)
            return
        data = encode(body)
        if publication.stored:
            await self._outbox.post(
                publication.subject,
                data,
                message_id=publication.id,
                still=still,
                ttl=publication.ttl,
            )
        else:
            headers = None if publication.id is None else {MESSAGE_ID: publication.id}
            await self._transport.publish(publication.subject, data, headers=headers)

    async def repeat(
        self, n: int, publications: Iterable[Publish], touched: Iterable[EntityAddress]
    ) -> None:
        """Send again what the commits up to ``n`` led to, because it may be lost."""
        for publication in publications:
            await self.publish(publication)
        slots = self._book.slots
        self._note_unwritten(n, ((address, slots[address].state) for address in touched))

    @property
    def dispatched(self) -> int:
        """The last commit that led to anything: those after it have no entries."""
        return self._dispatched

    def settled(self) -> int:
        """Return the last commit after which a new owner begins: nothing up to it can be lost."""
        stored = self.stored()
        return stored if self.held is None else min(stored, self.held - 1)

    def stored(self) -> int:
        """Return the last commit whose publications and records are all stored."""
        while self._marks and self._marks[0][1] <= self._outbox.safe:
            self._stored = self._marks.popleft()[0]
        return self._stored

    async def finish(self) -> None:
        """Write what is still to be written, at the end of ownership."""
        if self._unwritten:
            await self._fence.confirm(within=self._timing.record_delay_seconds)
        await self._write(list(self._unwritten))

    # Records

    async def write_records(self) -> None:
        """Write records until cancelled."""
        while True:
            await self._has_unwritten.wait()
            await anyio.sleep(self._timing.record_delay_seconds)
            self._round += 1
            if self._unwritten:
                await self._fence.confirm(within=self._timing.record_delay_seconds)
                await self._write(self._due())
                self._has_unwritten.set()
            elif self._book.entity.record is None:
                self._mark()

    def _note_unwritten(self, n: int, states: Iterable[tuple[EntityAddress, Any]]) -> None:
        for address, state in states if self._book.entity.record is not None else ():
            earlier = self._unwritten.get(address)
            first, since = (earlier.first, earlier.since) if earlier else (n, self._round)
            self._unwritten[address] = _Unwritten(first, since, state)
        self._dispatched = n
        self._has_unwritten.set()

    def _due(self) -> list[EntityAddress]:
        """Return what to write now: what has ended, and what has waited for its end long enough."""
        ripe, ended = self._round - RECORD_ROUNDS, self._book.entity.ended
        return [
            address
            for address, (_, since, state) in self._unwritten.items()
            if since <= ripe or ended(state)
        ]

    async def _write(self, due: Sequence[EntityAddress]) -> None:
        if not due and not self._writing.locked():
            # A round in which nothing has ended; a lock costs as much as the rest of it.
            self._mark()
            return
        # One after another: an older record, which may lack something, must not come last.
        async with self._writing:
            # The record of a former owner would stand where a newer one does; and the writer before
            # may have taken long.
            if due:
                await self._fence.confirm(within=self._timing.record_delay_seconds)
            await self._write_each(due)

    async def _write_each(self, due: Iterable[EntityAddress]) -> None:
        for address in due:
            unwritten, recorded = self._unwritten.pop(address, None), self._book.entity.record
            if unwritten is None or recorded is None:
                continue
            try:
                record = recorded(unwritten.state)
            except Exception as error:  # noqa: BLE001  one record must not stop the shard
                log.critical("shard.record_raised", key=address[1], error=type(error).__name__)
                continue
            if record is not None:
                await self.publish(record, still=self._fence.holds)
        self._mark()

    def _mark(self) -> None:
        """Note up to which commit all is posted: once that is safe, it is settled."""
        waiting = min((each.first for each in self._unwritten.values()), default=None)
        written = self._dispatched if waiting is None else waiting - 1
        self._marks.append((written, self._outbox.posted))
