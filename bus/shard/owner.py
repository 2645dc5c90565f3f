"""The loop of the one process that owns a shard."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.errors import UnavailableError
from bus.ports import Bus, StoredMessage
from bus.shard.asks import NO_ROUTES, Asker, AskRoutes
from bus.shard.bodies import Leftovers
from bus.shard.book import ShardBook
from bus.shard.clock import ShardClock, check
from bus.shard.dispatch import WorkDispatch
from bus.shard.effects import EffectSender
from bus.shard.erasing import Eraser
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.kept import journal_of
from bus.shard.parts import Parts
from bus.shard.purging import Purge
from bus.shard.recovery import Recovered, take_over
from bus.shard.rest import Around, Rest
from bus.shard.snapshots import Snapshots
from bus.shard.storing import Storing
from bus.shard.takeover import OpenWorkKeeper
from bus.shard.turn import Outcome, PendingCommand, answer_unchanged, quarantine, take_turn
from bus.streams.capacity import NEW_KEYS_STOP, TURNS_STOP, Rooms, full
from bus.streams.spec import BLOBS
from bus.subjects import journal_subject, mailbox_subject
from bus.tasks import until_answered
from bus.telemetry import metrics
from bus.work.registry import WorkerRegistry
from schemas.entity import Entity, EntityAddress
from schemas.fleet import OwnedShard
from schemas.journal import CommandEnvelope, Commit, Entry
from schemas.letters import undelivered

log = structlog.get_logger()


MOST_MARKED = 64
"""Damaged entities that one commit puts into quarantine."""

TURNS_IN_JOURNAL = 50
"""A turn takes commands of at most such a part of a small journal, so that some fit into it."""

JOURNAL_FULL = "The journal is nearly full: what has begun ends first; ask again later."
BLOBS_FULL = "There is no room for large requests now; small ones go on."


class ShardOwner:
    """Owns one shard, from take-over until it is fenced out or told to stop."""

    def __init__(
        self,
        entity: Entity[Any, Any, Any],
        shard: int,
        process: str,
        registry: WorkerRegistry,
        bus: Bus,
        timing: Timing,
        *,
        routes: AskRoutes = NO_ROUTES,
    ) -> None:
        self._entity = entity
        self._shard = shard
        self._process = process
        self._registry = registry
        self._bus = bus
        self._timing = timing
        self._routes = routes
        self._mailbox = mailbox_subject(entity.name, shard)
        self._subject = journal_subject(entity.name, shard)
        self._name = f"{entity.name}.{shard}"
        self._journal = journal_of(entity, bus)
        self._states = bus.states(entity.name)
        self._inbox = Inbox(bus.transport)
        self._rooms = Rooms(entity.name, bus, timing)
        self._kept_back: list[PendingCommand] = []
        self._stopping = False
        self.serving = False
        self._unreadable = 0

    def share(self, rooms: Rooms) -> None:
        """Know how full the stores are by what is looked up for all shards of the process."""
        self._rooms = rooms

    async def run(self) -> None:
        """Take the shard over, recover it and serve it until ``stop``.

        Raises:
            FullError: there is no room for its commits.
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
            states=self._states,
        )
        taken = time.perf_counter() - began
        metrics.RECOVERY_SECONDS.at(self._entity.name).observe(taken)
        check(self._name, recovered.claim, self._bus.clock, taken)
        self._now = ShardClock(self._name, self._bus.clock, recovered.book.at)
        await self._own(recovered)

    def offer(self, envelope: CommandEnvelope, answer: Callable[[bytes], None]) -> bool:
        """Take a command of this process's own, spared the way over the bus; False if not now."""
        if self.serving:
            self._inbox.offer(PendingCommand(envelope, answer), len(envelope.body))
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
            entities=len(self.book.slots) + len(self.book.sleepers),
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
        purge = Purge(self._subject, self._journal, bus.blobs, self._states, self._timing)
        parts = Parts(book, self._subject, bus.blobs, self._rooms.blobs)
        self._snapshots = Snapshots(
            self._subject, bus.blobs, purge, parts, self._rooms, self._timing
        )
        self._fence = Fence(self._journal, self._subject, book.epoch, recovered.sequence)
        self._storing = Storing(self._fence, self._snapshots, self._rooms, bus.blobs, self._timing)
        async with anyio.create_task_group() as tasks:
            self._dispatch = dispatch = self._assigning(book, tasks)
            self._sender = sends = EffectSender(book, self._fence, dispatch, bus, self._timing)
            self._rest = self._resting(recovered)
            self._leftovers = self._left_over(recovered)
            self._eraser = Eraser(book, self._rest, sends, bus, self._timing)
            self._eraser.recovered(book.n, recovered.touched)
            keeper = self._keeping(recovered, dispatch)
            self._asker = asks = Asker(
                book, self._fence, self._inbox, self._routes, self._timing, tasks
            )
            asks.resume()
            try:
                tasks.start_soon(sends.write_records)
                tasks.start_soon(self._rest.run)
                tasks.start_soon(self._leftovers.run)
                tasks.start_soon(self._eraser.run)
                await sends.repeat(book.n, recovered.publications, recovered.touched)
                await self._quarantine()
                tasks.start_soon(keeper.run)
                tasks.start_soon(asks.run)
                tasks.start_soon(asks.gather)
                await self._serve(tasks)
                tasks.cancel_scope.cancel()
            finally:
                self._fence.is_down = True
                dispatch.finish()

    def _keeping(self, recovered: Recovered, dispatch: WorkDispatch) -> OpenWorkKeeper:
        book, registry, transport = recovered.book, self._registry, self._bus.transport
        known = list(book.open_work())
        return OpenWorkKeeper(known, book.assigned, dispatch, registry, transport, self._timing)

    def _resting(self, recovered: Recovered) -> Rest:
        book, settled = recovered.book, self._sender.settled
        around = Around(settled, self._now, self._rooms.journal, self._told)
        return Rest(book, self._states, recovered.writer, self._shard, around, self._timing)

    def _left_over(self, recovered: Recovered) -> Leftovers:
        book, bus = recovered.book, self._bus
        left = Leftovers(book, self._shard, self._subject, self._journal, bus, self._timing)
        left.touched(book.n, recovered.touched)
        return left

    def _assigning(self, book: ShardBook, tasks: TaskGroup) -> WorkDispatch:
        fence, inbox, registry = self._fence, self._inbox, self._registry
        return WorkDispatch(book, fence, inbox, registry, self._timing, tasks)

    async def _serve(self, tasks: TaskGroup) -> None:
        async with self._bus.transport.reception(self._mailbox, self._inbox.deliver):
            self.serving = True
            log.debug("shard.owned", shard=self._name, epoch=self.book.epoch, commit=self.book.n)
            while not self._stopping:
                if not len(self._inbox):
                    await self._inbox.wait(self._patience())
                await self._take_turn(tasks)
        self.serving = False
        while len(self._inbox):
            await self._take_turn(tasks)
        await self._sender.finish()

    # A turn

    async def _take_turn(self, tasks: TaskGroup) -> None:
        now = self._now()
        self._dispatch.pause(paused=self._rooms.journal.share >= TURNS_STOP)
        batch = await self._admitted(now)
        if batch:
            await self._wake(batch)
            # From here to the turn nothing is awaited: what is awake might leave again.
            batch, new = self._sorted(batch)
            began = time.perf_counter()
            await self._store(take_turn(self.book, batch, now), now)
            await self._quarantine()
            await self._put_off(new, now)
            metrics.TURN_SECONDS.at(self._entity.name).observe(time.perf_counter() - began)
            metrics.TURN_COMMANDS.at(self._entity.name).observe(len(batch))
        elif self._dispatch.wants_commit:
            await self._store(Outcome(), now)
        elif self._is_idle(now):
            await self._append([], now)
        else:
            await self._fence.confirm(within=self._timing.housekeeping_seconds)
        sends = self._sender
        if self._snapshots.wants_a_name(sends.settled):
            # Turns in which all is refused have no commit that could name it.
            await self._append([], now)
        self._snapshots.keep(self.book, self._fence.sequence, sends.dispatched, tasks)

    async def _store(self, outcome: Outcome, now: datetime) -> None:
        dispatch, stored = self._dispatch, False
        if outcome.entries or dispatch.wants_commit:
            stored = await self._append(outcome.entries, now, dispatch.name(outcome.opened))
        if stored:
            dispatch.are_named()
            touched = [(each.tenant, each.key) for each in outcome.entries]
            self._rest.touched(self.book.n, touched)
            self._leftovers.touched(self.book.n, touched)
            self._note_deleted(outcome.entries)
        else:
            await self._fence.confirm()
        await self._sender.send(self.book.n, outcome)
        self._asker.put(outcome.asked)
        for envelope, reason in outcome.crashed:
            await self._dead_letter(envelope, reason, now)

    def _note_deleted(self, entries: Sequence[Entry]) -> None:
        if self.book.deleted == self.book.n:
            deletes = self._entity.deletes
            found = [each for each in entries if each.kind in deletes]
            self._eraser.deleted(
                self.book.n, [((each.tenant, each.key), each.after) for each in found]
            )

    async def _quarantine(self) -> None:
        """Say in the journal which entities were found corrupt, with a dead letter for each."""
        while self.book.unmarked:
            records = await self._records_of(sorted(self.book.unmarked)[:MOST_MARKED])
            now = self._now()
            outcome = quarantine(self.book, now, self._timing.turn_bytes, records)
            for entry in outcome.entries:
                metrics.CORRUPT.at(self._entity.name).inc()
                log.error(
                    "shard.entity_corrupt", shard=self._name, key=entry.key, reason=entry.corrupt
                )
            await self._store(outcome, now)

    async def _records_of(
        self, damaged: Sequence[EntityAddress]
    ) -> dict[EntityAddress, bytes | None]:
        """Return what is stored of entities that are to be ended: it may say more than is read."""
        found: dict[EntityAddress, bytes | None] = dict.fromkeys(damaged)
        subject_of = self._entity.record_subject
        if self._entity.failing is None or subject_of is None:
            return found
        for address in damaged:
            stored = await self._record(subject_of(*address))
            found[address] = stored.data if stored else None
        return found

    async def _record(self, subject: str) -> StoredMessage | None:
        ask, pause = partial(self._bus.records.last, subject), self._timing.work_resend_seconds
        return await until_answered(ask, pause)

    async def _append(
        self, entries: Sequence[Entry], now: datetime, assigned: dict[str, str] | None = None
    ) -> bool:
        """Append a commit; say whether it is stored: one without entries may find no room."""
        book = self.book
        n, settled = book.n + 1, self._sender.settled()
        stored, size = await self._storing.compacted(entries, n)
        commit = Commit(
            n=n,
            epoch=book.epoch,
            turn=f"{self._process}.{book.epoch}.{n}",
            at=now,
            version=self._entity.version,
            settled=settled,
            snapshot=self._snapshots.to_name(book, settled),
            entries=stored,
            assigned=assigned or {},
        )
        if not await self._storing.append(commit, size, book.snapshot, self._sender.settled):
            return False
        book.mark(commit)
        self._snapshots.is_named(commit.snapshot)
        metrics.COMMITS.at(self._entity.name, "stored").inc()
        return True

    # Which commands are taken

    async def _admitted(self, now: datetime) -> list[PendingCommand]:
        """Return the commands of a turn: those that wait and fit, and the timers that are due.

        Where there is no room for turns, those whose senders ask again are refused. The others,
        which are the shard's own, wait, and so do the timers.
        """
        count, size = self._turn_bounds()
        if self._rooms.journal.share >= TURNS_STOP:
            batch = self._inbox.take(count, size)
            await self._put_off([pending for pending in batch if pending.reply], now)
            self._kept_back += [pending for pending in batch if not pending.reply]
            return []
        if self._kept_back:
            kept_back, self._kept_back = self._kept_back, []
            for pending in kept_back:
                self._inbox.put(pending)
        batch = await self._that_fit(self._inbox.take(count, size))
        batch.extend(self._ticks(now, count))
        return batch

    def _turn_bounds(self) -> tuple[int, int]:
        """Return how many commands a turn takes, of how many bytes: fewer in a small journal."""
        timing, most = self._timing, self._rooms.journal.most
        if not most:
            return timing.turn_commands, timing.turn_bytes
        count = max(min(timing.turn_commands, most // timing.blob_bytes), 1)
        return count, min(timing.turn_bytes, most // TURNS_IN_JOURNAL)

    async def _put_off(self, batch: Sequence[PendingCommand], now: datetime) -> None:
        """Answer what needs no commit, and refuse the rest, because the journal has no room."""
        if not batch:
            return
        await self._wake(batch)
        room = self._rooms.journal
        refusal = encode(full(room.store, room.share, JOURNAL_FULL))
        answers = [(each, answer_unchanged(self.book, each.envelope, now)) for each in batch]
        await self._fence.confirm()
        replies = [(pending.reply, answer or refusal) for pending, answer in answers]
        await self._sender.send(self.book.n, Outcome(replies=replies))

    def _sorted(
        self, batch: list[PendingCommand]
    ) -> tuple[list[PendingCommand], list[PendingCommand]]:
        """Return the commands to decide on, and those that have to wait.

        In a nearly full journal the latter would begin new entities: what has begun can end first.
        """
        if self._rooms.journal.share < NEW_KEYS_STOP:
            return batch, []
        slots = self.book.slots
        known: list[PendingCommand] = []
        new: list[PendingCommand] = []
        for pending in batch:
            is_known = (pending.envelope.tenant, pending.envelope.key) in slots
            (known if is_known else new).append(pending)
        return known, new

    async def _that_fit(self, batch: list[PendingCommand]) -> list[PendingCommand]:
        """Refuse the commands whose entries would not fit beside what blobs there are."""
        large = [
            pending for pending in batch if len(pending.envelope.body) > self._timing.blob_bytes
        ]
        if not large:
            return batch
        refused = [pending for pending in large if not await self._has_room(pending.envelope)]
        if refused:
            await self._rooms.blobs.look()
            refusal = encode(full(BLOBS, self._rooms.blobs.share, BLOBS_FULL))
            replies = [(pending.reply, refusal) for pending in refused if pending.reply]
            await self._sender.send(self.book.n, Outcome(replies=replies))
        return [pending for pending in batch if pending not in refused]

    async def _has_room(self, envelope: CommandEnvelope) -> bool:
        """Say whether a large command fits; new entities leave room for those that go on."""
        reserve = 1 - (NEW_KEYS_STOP if envelope.fresh else TURNS_STOP)
        try:
            return (await self._bus.blobs.fill()).leaves(len(envelope.body), reserve=reserve)
        except UnavailableError:
            return False

    # What the commands of a turn are

    async def _wake(self, batch: Sequence[PendingCommand]) -> None:
        """Bring back the entities of commands that have left memory."""
        await self._rest.wake(
            {(envelope.tenant, envelope.key) for envelope, _ in batch if not envelope.fresh}
        )

    async def _told(self, address: EntityAddress) -> bytes | None:
        subject_of = self._entity.record_subject
        stored = await self._record(subject_of(*address)) if subject_of is not None else None
        return stored.data if stored is not None else None

    def _ticks(self, now: datetime, count: int) -> list[PendingCommand]:
        due = self.book.take_due(now, count)
        return [PendingCommand(self._tick(address)) for address in due]

    def _tick(self, address: EntityAddress) -> CommandEnvelope:
        body = msgspec.Raw(encode(self._entity.tick))
        return CommandEnvelope(id="", tenant=address[0], key=address[1], body=body)

    async def _dead_letter(self, envelope: CommandEnvelope, reason: str, now: datetime) -> None:
        log.error("shard.decide_raised", shard=self._name, key=envelope.key, reason=reason)
        await self._sender.publish(undelivered(envelope, self._entity.name, reason, now))

    # Time

    def _patience(self) -> float:
        """Return the seconds until something is to be done without a command."""
        longest = self._timing.housekeeping_seconds
        if self._rooms.journal.share >= TURNS_STOP:
            # Timers are not taken now, however long they are due.
            return min(longest, self._timing.room_tight_seconds)
        if self.book.next_due is None:
            return longest
        until_due = (self.book.next_due - self._now()).total_seconds()
        return min(max(until_due, 0.001), longest)

    def _is_idle(self, now: datetime) -> bool:
        """Say whether a commit without entries would tell the next owner something new."""
        quiet = (now - self.book.at).total_seconds() >= self._timing.housekeeping_seconds
        return quiet and self._sender.settled() > self.book.settled
