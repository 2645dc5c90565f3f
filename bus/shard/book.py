"""The entities of one shard in memory, and how commits change them. Pure.

The book runs ahead of the journal by at most one turn: what was decided is applied at once, and the
whole book is thrown away if the commit is refused.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sys import intern
from typing import Any, NamedTuple, TypeVar

import msgspec

from bus.codec import decode, encode
from bus.errors import problem
from bus.ports import Resting
from bus.shard.announcing import named
from bus.shard.entity import Codec
from bus.shard.outstanding import change
from bus.shard.quarantine import SKIPPED, reason_of
from schemas.decision import Ask, Changes, Effect, Publish, by_id, differences
from schemas.entity import Entity, EntityAddress
from schemas.journal import (
    NOTHING,
    AtRest,
    Commit,
    Entry,
    Sleeper,
    SlotImage,
    Snapshot,
    SnapshotRef,
)
from schemas.replies import ReplyPages, StoredReply, copied, find, keep
from schemas.work import WorkItem

T = TypeVar("T")


_NO_STATE = b"null"

START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class EntitySlot:
    """One entity: its state, the replies it has given, and what is outstanding."""

    state: Any = None
    replies: ReplyPages = field(default_factory=ReplyPages)
    open: dict[str, Effect] = field(default_factory=dict[str, Effect])
    due: datetime | None = None
    """The moment for which a timer is set."""
    n: int = 0
    """How many entries it has, the last of them in the commit numbered ``last``."""
    last: int = 0
    stored: int = 0
    """How many of them its stored state at rest holds, as far as is known."""
    slept: bool = False
    """Whether a state of it may be stored at rest."""
    is_forgettable: bool = False
    """Whether it woke from its end, and has no entry since: the next one carries its state, because
    the one at rest may be forgotten at any time."""
    seal: str = ""
    """The key that its data is sealed with, as its newest command that names one says."""


class Picture(NamedTuple):
    """A snapshot whose states are not encoded yet: they stand beside their places."""

    outline: Snapshot
    slots: list[tuple[SlotImage, Any]]


class ShardBook:
    """All entities of a shard that are in memory, and a table of those at rest that live.

    ``n``, ``epoch``, ``at`` and ``snapshot`` are those of the newest commit. ``assigned`` is what
    commits say of open items of work: the one worker to which each may have been offered.
    ``deleted`` is the newest commit that has deleted an entity. ``corrupt`` says of the entities in
    quarantine why they are; those that are ``unmarked`` no commit names yet.
    """

    def __init__(self, entity: Entity[Any, Any, Any]) -> None:
        self.entity = entity
        self.codec = Codec(entity)
        self.n = 0
        self.epoch = 0
        self.at = START
        self.assigned: dict[str, str] = {}
        self.settled = self.deleted = 0
        self.snapshot: SnapshotRef | None = None
        self.slots: dict[EntityAddress, EntitySlot] = {}
        self.sleepers: dict[EntityAddress, Sleeper] = {}
        self.corrupt: dict[EntityAddress, str] = {}
        self.unmarked: set[EntityAddress] = set()
        self.parts: tuple[int, dict[bytes, str]] = (0, {})
        """The number of the snapshot that was loaded, and the blobs of parts that it names."""
        self._timers: list[tuple[datetime, EntityAddress]] = []

    # Changing

    def state(self, address: EntityAddress) -> Any:
        """Return the state of an entity; before its first event, what it begins with."""
        slot = self.slots.get(address)
        if slot is None or slot.state is None:
            return self.entity.initial(*address)
        return slot.state

    def slot(self, address: EntityAddress) -> EntitySlot:
        """Return the slot of an entity, a new one before its first event."""
        if (slot := self.slots.get(address)) is None:
            slot = self.slots[address] = EntitySlot()
        return slot

    def remember(self, slot: EntitySlot, entry: Entry) -> None:
        """Keep the reply of a committed command for repeats of its id, and its seal."""
        if entry.seal:
            slot.seal = entry.seal
        if entry.reply is not NOTHING and entry.command and self.entity.keeps_replies:
            stored = StoredReply(digest=entry.digest, reply=entry.reply)
            keep(slot.replies, entry.command, stored, self.entity.reply_age)

    def known(self, address: EntityAddress, command: str) -> StoredReply | None:
        """Return the reply that was given to a command, if it is kept still."""
        slot = self.slots.get(address)
        if slot is None or not slot.replies:
            return None
        return find(slot.replies, command, self.entity.reply_age)

    def count(self, slot: EntitySlot) -> tuple[int, int]:
        """Count an entry of the commit to come; return its number, and the commit before it."""
        after, slot.last = slot.last, self.n + 1
        slot.n += 1
        return slot.n, after

    def set_timer(self, address: EntityAddress) -> None:
        """Bring the timer of an entity up to date with its state."""
        slot, tell = self.slots[address], self.entity.due
        is_sound = address not in self.corrupt
        due = tell(slot.state) if is_sound else self._told(address, tell, None)
        if due is not None and due != slot.due:
            heapq.heappush(self._timers, (due, address))
        slot.due = due

    def list_effects(self, address: EntityAddress) -> None:
        """List what is outstanding of an entity that has come into memory, or out of quarantine."""
        nothing: Sequence[Effect] = ()
        self.slots[address].open = by_id(self._told(address, self.entity.effects, nothing))

    def _told(self, address: EntityAddress, tell: Callable[[Any], T], unknown: T) -> T:
        """Return what a state tells; of a damaged entity what can be told."""
        state = self.slots[address].state
        if address not in self.corrupt:
            return tell(state)
        if self.is_shut(address):
            return unknown
        try:
            return tell(state)
        except Exception:  # noqa: BLE001  the state may be what is damaged, and its end still holds
            return unknown

    def is_idle(self, address: EntityAddress, until: datetime) -> bool:
        """Say whether an entity may leave memory: nothing is open, nor due before ``until``."""
        slot = self.slots[address]
        is_due = slot.due is not None and slot.due < until
        return address not in self.corrupt and not slot.open and not is_due

    def has_ended(self, address: EntityAddress) -> bool:
        """Say whether an entity that is in memory is over."""
        state = self.slots[address].state
        return state is not None and self.entity.ended(state)

    def _kept(self, address: EntityAddress) -> int | None:
        """Return for how many seconds a state at rest is kept; None is for ever."""
        if not self.has_ended(address):
            return None
        kept = self.entity.retention(self.slots[address].state, self.at)
        return max(round(kept.total_seconds()), 1)

    def at_rest(self, address: EntityAddress) -> Resting:
        """Return the state of an entity as it is stored at rest."""
        slot, (tenant, key) = self.slots[address], address
        image = AtRest(
            version=self.entity.version,
            n=slot.n,
            last=slot.last,
            state=msgspec.Raw(encode(slot.state)),
            replies=slot.replies,
            seal=slot.seal,
        )
        kept = self._kept(address)
        return Resting(tenant, key, slot.n, encode(image), kept, slot.slept)

    def is_told(self, address: EntityAddress) -> bool:
        """Say whether its record brings an entity back as well: it has ended, and never slept.

        One that has may be found at rest as it was before.
        """
        can_restore = self.entity.restore is not None and not self.slots[address].slept
        return can_restore and self.has_ended(address)

    def evict(self, address: EntityAddress) -> None:
        """Let go of an entity whose state is stored; never of one in quarantine."""
        if address in self.corrupt:
            return
        if not self.has_ended(address):
            slot, (tenant, key) = self.slots[address], address
            # The tenant's name is one for all its sleepers.
            sleeper = Sleeper(tenant=intern(tenant), key=key, n=slot.n, due=slot.due)
            self.sleepers[sleeper.tenant, sleeper.key] = sleeper
        del self.slots[address]

    def is_stale(self, address: EntityAddress, resting: Resting | None) -> bool:
        """Say whether what was read of an entity at rest is older than what is known of it."""
        sleeper = self.sleepers.get(address)
        return sleeper is not None and (resting is None or resting.n < sleeper.n)

    def wake(self, resting: Resting) -> None:
        """Take in an entity that was at rest."""
        address = (resting.tenant, resting.key)
        sleeper = self.sleepers.pop(address, None)
        slot = self.slots[address] = EntitySlot(n=resting.n, stored=resting.n, slept=True)
        # Its timer is set already, unless that has just gone off.
        slot.due = sleeper.due if sleeper else None
        try:
            image = decode(AtRest, resting.data)
            slot.last, slot.replies, slot.seal = image.last, image.replies, image.seal
            self._load_state(address, image.state, image.version)
            slot.is_forgettable = self.has_ended(address)
        except Exception as error:  # noqa: BLE001  one entity must not cost all others
            slot.state = None
            self.condemn(address, reason_of(error))

    def adopt(self, address: EntityAddress, record: bytes) -> None:
        """Take in an ended entity whose state at rest was forgotten, as its record tells of it."""
        restore = self.entity.restore
        try:
            state = restore(address[0], record) if restore is not None else None
            if state is not None:
                self.slots[address] = EntitySlot(state=state, is_forgettable=True)
                self._take_in(address)
        except Exception as error:  # noqa: BLE001  one entity must not cost all others
            self.condemn(address, reason_of(error))

    # Quarantine

    def condemn(self, address: EntityAddress, reason: str) -> None:
        """Put an entity into quarantine in the state it has; nothing of it is outstanding."""
        slot = self.slot(address)
        for name in slot.open:
            self.assigned.pop(name, None)
        slot.open, slot.due, slot.is_forgettable = {}, None, False
        if address not in self.corrupt or not self.is_shut(address):
            self.unmarked.add(address)
        self.corrupt[address] = reason

    def is_shut(self, address: EntityAddress) -> bool:
        """Say of an entity in quarantine whether it could not be ended, so that it takes nothing.

        One that is ended goes on as any that has: who works for it may still have to report.
        """
        is_ended = self.entity.failing is not None and self.slots[address].state is not None
        return address in self.unmarked or not is_ended

    def absolve(self, address: EntityAddress) -> Any:
        """End a quarantine and return the state that the entity goes on from, None if it is new."""
        del self.corrupt[address]
        self.unmarked.discard(address)
        return self.slots[address].state

    # Time

    @property
    def next_due(self) -> datetime | None:
        """When the earliest timer is due; None without timers."""
        return self._timers[0][0] if self._timers else None

    def take_due(self, now: datetime, limit: int) -> list[EntityAddress]:
        """Remove and return the entities whose timers are due and still stand."""
        found: list[EntityAddress] = []
        while self._timers and self._timers[0][0] <= now and len(found) < limit:
            due, address = heapq.heappop(self._timers)
            slot, sleeper = self.slots.get(address), self.sleepers.get(address)
            if slot is not None and slot.due == due:
                slot.due = None
                found.append(address)
            elif sleeper is not None and sleeper.due == due:
                self.sleepers[address] = msgspec.structs.replace(sleeper, due=None)
                found.append(address)
        return found

    # What is outstanding

    def open_work(self) -> Iterator[tuple[EntityAddress, WorkItem[Any]]]:
        """Yield all open work of the shard."""
        for address, effect in self._open():
            if isinstance(effect, WorkItem):
                yield address, effect

    def open_asks(self) -> Iterator[tuple[EntityAddress, Ask]]:
        """Yield all that the shard's entities ask of others."""
        for address, effect in self._open():
            if isinstance(effect, Ask):
                yield address, effect

    def changes(
        self, address: EntityAddress, before: Any, events: Sequence[Any], after: Any
    ) -> Changes:
        """Return what events of an entity open and close; ``before`` is the state before them."""
        entity = self.entity
        if entity.changes is not None:
            return entity.changes(before, events, after)
        slot = self.slots.get(address)
        return differences(slot.open if slot is not None else {}, by_id(entity.effects(after)))

    def is_open(self, address: EntityAddress, effect: Effect) -> bool:
        """Say whether an effect is still outstanding."""
        slot = self.slots.get(address)
        return slot is not None and effect.id in slot.open

    def _open(self) -> Iterator[tuple[EntityAddress, Effect]]:
        for address, slot in self.slots.items():
            for effect in slot.open.values():
                yield address, effect

    # Journal and snapshots

    def replay(self, commit: Commit, entries: list[Entry]) -> list[Publish]:
        """Apply a commit of the journal, its large entries fetched; return what it announced."""
        publications: list[Publish] = []
        for entry in entries:
            address = (entry.tenant, entry.key)
            before = self.slot(address).state
            try:
                publications.extend(self._apply(address, entry, commit.version, commit.n))
            except Exception as error:  # noqa: BLE001  one entity must not cost all others
                self.slot(address).state = before
                self.condemn(address, reason_of(error))
        self.mark(commit)
        return publications

    def replay_entry(self, entry: Entry) -> list[Publish]:
        """Apply an entry of this version that is sound; return what it announced."""
        return self._apply((entry.tenant, entry.key), entry, self.entity.version, self.n + 1)

    def _apply(self, address: EntityAddress, entry: Entry, version: int, n: int) -> list[Publish]:
        slot, publications = self.slot(address), list[Publish]()
        if entry.corrupt is not None:
            slot.state = None
            self._replay_verdict(address, entry.corrupt)
        elif (address in self.corrupt and self.is_shut(address)) or not is_next(slot, entry, n):
            return publications
        slot.n, slot.last = entry.n, n
        if entry.base is not NOTHING:
            slot.state = self.codec.state(entry.base, version)
        is_listed = entry.base is not NOTHING or address in self.corrupt
        earlier, events = self.state(address), [self.codec.event(raw) for raw in entry.events]
        for event in events:
            before = self.state(address)
            slot.state = after = self.entity.evolve(before, event)
            publications.extend(self.entity.announce(before, event, after))
        publications = named(publications, self.entity.name, address, (n, entry.n))
        self.remember(slot, entry)
        if slot.state is not None and is_listed:
            self._take_in(address)
        elif events:
            change(slot.open, self.changes(address, earlier, events, slot.state), {})
            self.set_timer(address)
        return publications

    def _take_in(self, address: EntityAddress) -> None:
        self.list_effects(address)
        self.set_timer(address)

    def _replay_verdict(self, address: EntityAddress, reason: str) -> None:
        """Take over what a commit says of an entity: it holds, whatever can be read here."""
        if reason == SKIPPED:
            self.corrupt.pop(address, None)
        else:
            self.condemn(address, reason)
        self.unmarked.discard(address)

    def mark(self, commit: Commit) -> None:
        """Note the commit that is now the newest."""
        self.n, self.epoch, self.at = commit.n, commit.epoch, commit.at
        self.settled, self.snapshot = commit.settled, commit.snapshot
        self.assigned.update(commit.assigned)
        deletes = self.entity.deletes
        if deletes and any(entry.kind in deletes for entry in commit.entries):
            self.deleted = commit.n

    def picture(self) -> Picture:
        """Return what a snapshot is made of, without the states of what has left memory.

        No state is ever changed, so that these may be encoded later.
        """
        slots = [
            (
                SlotImage(
                    tenant=tenant,
                    key=key,
                    state=NOTHING,
                    replies=copied(slot.replies),
                    corrupt=self.corrupt.get((tenant, key), ""),
                    n=slot.n,
                    last=slot.last,
                    seal=slot.seal,
                ),
                slot.state,
            )
            for (tenant, key), slot in self.slots.items()
        ]
        outline = Snapshot(
            entity=self.entity.name,
            version=self.entity.version,
            n=self.n,
            at=self.at,
            slots=[],
            sleepers=list(self.sleepers.values()),
            assigned=dict(self.assigned),
            deleted=self.deleted,
        )
        return Picture(outline, slots)

    def image(self) -> Snapshot:
        """Return the book as a snapshot, its states whole."""
        outline, slots = self.picture()
        images = [
            msgspec.structs.replace(image, state=msgspec.Raw(encode(state)))
            for image, state in slots
        ]
        return msgspec.structs.replace(outline, slots=images)

    def load(self, snapshot: Snapshot, parts: Mapping[str, bytes] | None = None) -> None:
        """Fill an empty book from a snapshot and the ``parts`` of states that it names."""
        parts = parts or {}
        self.n, self.at, self.assigned = snapshot.n, snapshot.at, dict(snapshot.assigned)
        self.deleted = snapshot.deleted
        self.parts = (snapshot.n, {part: name for name, part in parts.items()})
        for sleeper in snapshot.sleepers:
            address = (intern(sleeper.tenant), sleeper.key)
            self.sleepers[address] = sleeper
            if sleeper.due is not None:
                self._timers.append((sleeper.due, address))
        heapq.heapify(self._timers)
        for image in snapshot.slots:
            address = (image.tenant, image.key)
            replies = copied(image.replies)
            slot = EntitySlot(replies=replies, n=image.n, last=image.last, seal=image.seal)
            self.slots[address] = slot
            if image.corrupt:
                self.corrupt[address] = image.corrupt
            try:
                its = [parts[name] for name in image.parts]
                self._load_state(address, image.state, snapshot.version, its)
            except Exception as error:  # noqa: BLE001  one entity must not cost all others
                self.slots[address].state = None
                self.condemn(address, reason_of(error))

    def _load_state(
        self, address: EntityAddress, data: msgspec.Raw, version: int, parts: Sequence[bytes] = ()
    ) -> None:
        if bytes(data) != _NO_STATE:
            state = self.codec.state(data, version)
            self.slots[address].state = self.entity.joined(state, parts) if parts else state
            self._take_in(address)


def is_next(slot: EntitySlot, entry: Entry, n: int) -> bool:
    """Say whether an entry of commit ``n`` follows on what a slot holds; not if it holds it.

    A state at rest may hold entries that lie in the journal above a snapshot; these are repeats.

    Raises:
        ProblemError: ``corrupt``: entries are missing before it.
    """
    if n < slot.last or (n == slot.last and entry.n <= slot.n):
        return False
    if entry.base is NOTHING and (entry.n, entry.after) != (slot.n + 1, slot.last):
        held = f"entry {slot.n} of commit {slot.last}"
        raise problem("corrupt", f"entry {entry.n} after commit {entry.after} follows {held}")
    return True
