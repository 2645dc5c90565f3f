"""The loop of the one process that owns a shard."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.errors import UnavailableError
from bus.letters import dead_subject
from bus.ports import Bus, Stored
from bus.shard.asks import NO_WAYS, Asker, Ways
from bus.shard.assignments import Assignments
from bus.shard.book import Address, Book
from bus.shard.clock import ShardClock, check
from bus.shard.dispatch import Dispatcher
from bus.shard.entity import Entity
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.open_work import OpenWorkKeeper
from bus.shard.recovery import Recovered, take_over
from bus.shard.snapshots import Snapshots
from bus.shard.turn import Letter, Outcome, quarantine, take_turn
from bus.shard.workforce import Workforce
from bus.subjects import journal_subject, mailbox_subject
from bus.telemetry import metrics
from schemas.decision import Publish
from schemas.fleet import DeadLetter, OwnedShard
from schemas.journal import Commit, Entry, Mail
from schemas.problems import Problem

log = structlog.get_logger()


RESERVED_FOR_KNOWN, RESERVED_FOR_SNAPSHOTS = 0.1, 0.05
"""Shares of the room for blobs that new entities, and all commands, leave free."""

MOST_MARKED = 64
"""Damaged entities that one commit puts into quarantine."""

FULL = Problem(
    code="unavailable",
    message="There is no room for large requests now; small ones go on.",
    retryable=True,
    retry_after=5.0,
)


class ShardOwner:
    """Owns one shard, from take-over until it is fenced out or told to stop."""

    def __init__(
        self,
        entity: Entity[Any, Any, Any],
        shard: int,
        process: str,
        workforce: Workforce,
        bus: Bus,
        timing: Timing,
        *,
        ways: Ways = NO_WAYS,
    ) -> None:
        self._entity = entity
        self._shard = shard
        self._process = process
        self._workforce = workforce
        self._bus = bus
        self._timing = timing
        self._ways = ways
        self._mailbox = mailbox_subject(entity.name, shard)
        self._subject = journal_subject(entity.name, shard)
        self._name = f"{entity.name}.{shard}"
        self._journal = bus.journal(entity.name)
        self._inbox = Inbox(bus.transport)
        self._snapshots = Snapshots(
            self._subject, self._journal, bus.blobs, timing, purges=not entity.keeps_journal
        )
        self._stopping = False
        self.serving = False
        self._unreadable = 0

    async def run(self) -> None:
        """Take the shard over, recover it and serve it until ``stop``.

        Raises:
            FencedError: another process owns the shard now; nothing more may be done for it.
            CorruptJournalError: the shard cannot be recovered.
            ClockError: this process may own nothing before its clock is set.
        """
        began = time.perf_counter()
        recovered = await take_over(
            self._entity,
            self._subject,
            self._process,
            journal=self._journal,
            blobs=self._bus.blobs,
        )
        taken = time.perf_counter() - began
        metrics.RECOVERY_SECONDS.at(self._entity.name).observe(taken)
        check(self._name, recovered.claim, self._bus.clock, taken)
        self._now = ShardClock(self._name, self._bus.clock, recovered.book.at)
        await self._own(recovered)

    def offer(self, mail: Mail, answer: Callable[[bytes], None]) -> bool:
        """Take a command of this process's own, spared the way over the bus; False if not now."""
        if self.serving:
            self._inbox.offer(Letter(mail, answer), len(mail.body))
        return self.serving

    def told(self) -> OwnedShard:
        """Describe the shard as it stands."""
        if not self.serving:
            return OwnedShard(shard=self._shard, serving=False)
        return OwnedShard(
            shard=self._shard,
            serving=True,
            epoch=self.book.epoch,
            commit=self.book.n,
            backlog=len(self._inbox),
            entities=len(self.book.slots),
            open_work=sum(1 for _ in self.book.open_work()),
            corrupt=self.corrupt,
            unreadable=self._unreadable,
        )

    @property
    def corrupt(self) -> int:
        """How many entities of the shard are in quarantine, as far as it is read."""
        return len(self.book.corrupt) if self.serving else 0

    def stop(self) -> None:
        """Finish what waits, then end ``run``."""
        self._stopping = True
        self._inbox.wake()

    async def _own(self, recovered: Recovered) -> None:
        self.book, self._unreadable = recovered.book, recovered.unreadable
        bus, book = self._bus, self.book
        self._fence = Fence(self._journal, self._subject, book.epoch, recovered.sequence)
        async with anyio.create_task_group() as tasks:
            self._assignments = assignments = self._assigning(book, tasks)
            self._dispatcher = sends = Dispatcher(book, self._fence, assignments, bus, self._timing)
            keeper = self._keeping(recovered, assignments)
            self._asker = asks = Asker(
                book, self._fence, self._inbox, self._ways, self._timing, tasks
            )
            asks.resume()
            forget = bus.transport.on_reconnect(keeper.bus_came_back)
            try:
                tasks.start_soon(sends.write_records)
                for address, state in book.ended():
                    if address not in recovered.touched:
                        sends.forgettable(address, state)
                await sends.repeat(book.n, recovered.publications, recovered.touched)
                await self._quarantine()
                tasks.start_soon(keeper.run)
                tasks.start_soon(asks.run)
                tasks.start_soon(asks.gather)
                await self._serve(tasks)
                tasks.cancel_scope.cancel()
            finally:
                self._fence.is_down = True
                assignments.finish()
                forget()

    def _keeping(self, recovered: Recovered, assignments: Assignments) -> OpenWorkKeeper:
        book, assigned, timing = recovered.book, recovered.assigned, self._timing
        workforce, name, bus = self._workforce, self._name, self._bus
        return OpenWorkKeeper(book, assigned, assignments, workforce, name, bus, timing)

    def _assigning(self, book: Book, tasks: TaskGroup) -> Assignments:
        fence, inbox, workforce = self._fence, self._inbox, self._workforce
        queue, timing = self._bus.queue, self._timing
        return Assignments(book, fence, inbox, workforce, queue, timing, tasks)

    async def _serve(self, tasks: TaskGroup) -> None:
        async with self._bus.transport.reception(self._mailbox, self._inbox.deliver):
            self.serving = True
            log.info("shard.owned", shard=self._name, epoch=self.book.epoch, commit=self.book.n)
            while not self._stopping:
                await self._inbox.wait(self._patience())
                await self._take_turn(tasks)
        self.serving = False
        while len(self._inbox):
            await self._take_turn(tasks)
        await self._dispatcher.finish()

    # A turn

    async def _take_turn(self, tasks: TaskGroup) -> None:
        now = self._now()
        letters = self._inbox.take(self._timing.turn_commands, self._timing.turn_bytes)
        letters = await self._that_fit(letters)
        letters.extend(self._ticks(now))
        if letters:
            await self._restore(letters)
            began = time.perf_counter()
            await self._store(take_turn(self.book, letters, now), now)
            await self._quarantine()
            metrics.TURN_SECONDS.at(self._entity.name).observe(time.perf_counter() - began)
            metrics.TURN_COMMANDS.at(self._entity.name).observe(len(letters))
            self._snapshots.take_if_due(self.book, self._fence.sequence, now, tasks)
        elif self._is_idle(now):
            await self._append([], now)
        else:
            await self._fence.confirm(within=self._timing.housekeeping_seconds)

    async def _store(self, outcome: Outcome, now: datetime) -> None:
        if outcome.entries:
            await self._append(outcome.entries, now, self._assignments.choose(outcome.opened))
        else:
            await self._fence.confirm()
        await self._dispatcher.dispatch(self.book.n, outcome)
        self._asker.put(outcome.asked)
        for mail, reason in outcome.crashed:
            await self._lay_aside(mail, reason, now)

    async def _quarantine(self) -> None:
        """Say in the journal which entities were found corrupt, and lay a letter aside for each."""
        while self.book.unmarked:
            records = await self._records_of(sorted(self.book.unmarked)[:MOST_MARKED])
            now = self._now()
            outcome = quarantine(self.book, self._shard, now, self._timing.turn_bytes, records)
            for entry in outcome.entries:
                metrics.CORRUPT.at(self._entity.name).inc()
                log.error(
                    "shard.entity_corrupt", shard=self._name, key=entry.key, reason=entry.corrupt
                )
            await self._store(outcome, now)

    async def _records_of(self, damaged: Sequence[Address]) -> dict[Address, bytes | None]:
        """Return what is stored of entities that are to be ended: it may say more than is read."""
        found: dict[Address, bytes | None] = {}
        for address in damaged:
            ends = self._entity.failing is not None
            stored = await self._record(self._entity.record_subject(*address)) if ends else None
            found[address] = stored.data if stored else None
        return found

    async def _append(
        self, entries: Sequence[Entry], now: datetime, assigned: dict[str, str] | None = None
    ) -> None:
        book = self.book
        n, settled = book.n + 1, self._dispatcher.settled()
        commit = Commit(
            n=n,
            epoch=book.epoch,
            turn=f"{self._process}.{book.epoch}.{n}",
            at=now,
            version=self._entity.version,
            generation=book.generation,
            settled=settled,
            snapshot=self._snapshots.to_name(book, settled),
            entries=[await self._compact(entry) for entry in entries],
            assigned=assigned or {},
        )
        await self._fence.append(commit)
        book.mark(commit)
        metrics.COMMITS.at(self._entity.name, "stored").inc()

    async def _compact(self, entry: Entry) -> Entry:
        """Move an entry that is too large for the journal into the blob store."""
        size = sum(len(raw) for raw in (entry.base, *entry.events, entry.reply))
        if size <= self._timing.blob_bytes:
            return entry
        blob = await self._bus.blobs.put(encode(entry))
        return Entry(
            tenant=entry.tenant, key=entry.key, command=entry.command, kind=entry.kind, blob=blob
        )

    async def _that_fit(self, letters: list[Letter]) -> list[Letter]:
        """Refuse the letters whose entries would not fit beside what blobs there are.

        Found out after the turn was decided, it would cost the shard its turn, again and again.
        """
        large = [letter for letter in letters if len(letter.mail.body) > self._timing.blob_bytes]
        if not large:
            return letters
        refused = [letter for letter in large if not await self._has_room(letter.mail)]
        if refused:
            replies = [(letter.reply, encode(FULL)) for letter in refused if letter.reply]
            await self._dispatcher.dispatch(self.book.n, Outcome(replies=replies))
        return [letter for letter in letters if letter not in refused]

    async def _has_room(self, mail: Mail) -> bool:
        """Say whether a large command fits; new entities leave room for those that go on."""
        reserve = RESERVED_FOR_KNOWN if mail.fresh else RESERVED_FOR_SNAPSHOTS
        try:
            return await self._bus.blobs.has_room(len(mail.body), reserve=reserve)
        except UnavailableError:
            return False

    # What the letters of a turn are

    def _ticks(self, now: datetime) -> list[Letter]:
        due = self.book.take_due(now, self._timing.turn_commands)
        return [Letter(self._tick(address)) for address in due]

    def _tick(self, address: Address) -> Mail:
        body = msgspec.Raw(encode(self._entity.tick))
        return Mail(id="", tenant=address[0], key=address[1], body=body)

    async def _restore(self, letters: Sequence[Letter]) -> None:
        """Bring back from their records the entities that have left memory.

        Others may leave while we look, so this goes on until all are there; from then to the turn
        nothing is awaited.
        """
        addresses = {(mail.tenant, mail.key) for mail, _ in letters if not mail.fresh}
        found: dict[Address, Any] = {}
        slots = self.book.slots
        # Asked of each address: the difference of a set and a dict's keys goes through all keys.
        while missing := [each for each in addresses if each not in slots and each not in found]:
            async with anyio.create_task_group() as tasks:
                for address in missing:
                    tasks.start_soon(self._look_up, address, found)
        for address, state in found.items():
            if state is not None and address not in slots:
                self.book.adopt(address, state)
                self._dispatcher.forgettable(address, state)

    async def _look_up(self, address: Address, found: dict[Address, Any]) -> None:
        stored = await self._record(self._entity.record_subject(*address))
        found[address] = self._entity.restore(address[0], stored.data) if stored else None

    async def _record(self, subject: str) -> Stored | None:
        while True:
            try:
                return await self._bus.records.last(subject)
            except UnavailableError:
                await anyio.sleep(self._timing.work_resend_seconds)

    async def _lay_aside(self, mail: Mail, reason: str, now: datetime) -> None:
        metrics.DEAD_LETTERS.at("command").inc()
        log.error("shard.decide_raised", shard=self._name, key=mail.key, reason=reason)
        letter = DeadLetter(
            id=f"{mail.tenant}.{mail.key}.{mail.id}",
            subject=self._mailbox,
            reason=reason,
            at=now,
            deliveries=1,
            body=encode(mail).decode(),
        )
        subject = dead_subject(mail.tenant, "command", self._entity.name)
        await self._dispatcher.publish(Publish(subject=subject, body=letter))

    # Time

    def _patience(self) -> float:
        """Return the seconds until something is to be done without a letter."""
        longest = self._timing.housekeeping_seconds
        if self.book.next_due is None:
            return longest
        until_due = (self.book.next_due - self._now()).total_seconds()
        return min(max(until_due, 0.001), longest)

    def _is_idle(self, now: datetime) -> bool:
        """Say whether a commit without entries would tell the next owner something new."""
        quiet = (now - self.book.at).total_seconds() >= self._timing.housekeeping_seconds
        return quiet and self._dispatcher.settled() > self.book.settled
