"""Taking a shard over: first shut the previous owner out, then rebuild the book."""

from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec
import structlog

from bus.errors import (
    CorruptJournalError,
    FencedError,
    FullError,
    StateVersionError,
    UnavailableError,
)
from bus.ports import Blobs, Journal, States, StateWriter, StoredMessage
from bus.shard.announcing import prefix_of
from bus.shard.append import append
from bus.shard.book import ShardBook
from bus.shard.fetching import all_fetched, condemn_all, load_snapshot, wake_all
from bus.shard.quarantine import dead_letter
from bus.shard.relief import make_room
from bus.shard.salvage import Salvaged, commit_of, read_commit
from schemas.decision import Publish
from schemas.entity import Entity, EntityAddress
from schemas.journal import Commit, Entry

log = structlog.get_logger()

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before the first turn of a shard."""


class Recovered:
    """A shard as its new owner finds it.

    ``sequence`` is the stream sequence of the owner's first commit, ``claim`` that commit as it is
    stored. ``publications`` may be lost, as may the records of the entities at ``touched``.
    ``unreadable`` counts the commits of which nothing can be read. ``writer`` writes the states of
    what leaves memory.
    """

    def __init__(self, book: ShardBook, sequence: int, writer: StateWriter) -> None:
        self.book = book
        self.sequence = sequence
        self.writer = writer
        self.claim = StoredMessage(sequence, b"")
        self.publications: list[Publish] = []
        self.touched: dict[EntityAddress, None] = {}
        self.unreadable = 0

    def forget_closed(self) -> None:
        """Forget to whom work may have gone that is open no more, and records of what is lost."""
        slots, unmarked = self.book.slots, self.book.unmarked
        self.touched = {
            address: None
            for address in self.touched
            if address not in unmarked and address in slots and slots[address].state is not None
        }
        still_open = {work.id for _, work in self.book.open_work()}
        self._forget_deleted()
        assigned = self.book.assigned
        self.book.assigned = {item: to for item, to in assigned.items() if item in still_open}

    def _forget_deleted(self) -> None:
        """Forget what deleted entities have published where all of that is removed."""
        entity, slots = self.book.entity, self.book.slots
        gone = {
            (prefix_of(entity.name, address), left.subject)
            for address in (self.touched if self.book.deleted else ())
            for left in entity.left(slots[address].state)
        }
        if gone:
            self.publications = [
                each
                for each in self.publications
                if ((each.id or "").rsplit(".", 3)[0], each.subject) not in gone
            ]

    def note(self, entries: list[Entry], publications: list[Publish]) -> None:
        """Remember what a commit led to, to send it again."""
        self.publications.extend(p for p in publications if p.stored)
        self.touched.update({(entry.tenant, entry.key): None for entry in entries if entry.events})


async def take_over(
    entity: Entity[Any, Any, Any],
    subject: str,
    process: str,
    *,
    journal: Journal,
    blobs: Blobs,
    states: States,
) -> Recovered:
    """Become the owner of a shard and return its state.

    Raises:
        FencedError: another process took it over in the same moment, or after.
        FullError: there is no room for the commit that would say so.
        CorruptJournalError: the journal has a gap.
        UnavailableError: the journal cannot be read to its end at present.
        StateVersionError: a newer version of the entity has written it; it stays as it is.
    """
    newest = await journal.last(subject)
    last = await _last_commit(journal, subject, newest) if newest else None
    if last is not None and last.version > entity.version:
        raise StateVersionError(subject, last.version, entity.version)
    claim = _owner_commit(last, entity.version, process)
    expected = newest.sequence if newest else 0
    try:
        sequence = await append(journal, subject, claim, expected)
    except FullError:
        if last is None or not await make_room(entity, subject, last, journal, blobs, states):
            raise
        sequence = await append(journal, subject, claim, expected)
    # Before anything is read: from here on no state of a former owner's replaces what is read.
    writer = await states.own(_shard(subject), claim.epoch)
    recovered = Recovered(ShardBook(entity), sequence, writer)
    await _rebuild(recovered, subject, claim, journal, _Stores(blobs, states))
    return recovered


def _shard(subject: str) -> int:
    return int(subject.rpartition(".")[2])


async def _last_commit(journal: Journal, subject: str, newest: StoredMessage) -> Commit | None:
    """Return the newest commit that can be read, numbered as if it were the newest of all.

    Mostly it is. Where nothing can be read of those above it, all are read once to count them.
    """
    if (commit := commit_of(newest.data)) is not None:
        return commit
    last, above = None, 0
    async for stored in journal.read(subject, start=1):
        commit = commit_of(stored.data)
        last, above = (last, above + 1) if commit is None else (commit, 0)
    if last is None:
        return Commit(n=above, epoch=above, turn="", at=NEVER)
    # Each of them may have been that of a new owner.
    return msgspec.structs.replace(last, n=last.n + above, epoch=last.epoch + above)


def _owner_commit(last: Commit | None, version: int, process: str) -> Commit:
    """Return the commit that shuts the previous owner out.

    Its moment is the last commit's: whether the clock here is right only shows when it is stored.
    """
    n, epoch = (last.n + 1, last.epoch + 1) if last else (1, 1)
    return Commit(
        n=n,
        epoch=epoch,
        turn=f"{process}.{epoch}.{n}",
        at=last.at if last else NEVER,
        version=version,
        owner=process,
        settled=last.settled if last else 0,
        snapshot=last.snapshot if last else None,
    )


class _Stores(NamedTuple):
    """What is read beside the journal."""

    blobs: Blobs
    states: States


async def _rebuild(
    recovered: Recovered, subject: str, claim: Commit, journal: Journal, stores: _Stores
) -> None:
    book = recovered.book
    oldest = await journal.first(subject)
    start = await load_snapshot(book, subject, claim, oldest, stores.blobs)
    skipped = 0
    async for stored in journal.read(subject, start=start):
        if stored.sequence > recovered.sequence:
            raise FencedError(subject, recovered.sequence)
        if stored.sequence == recovered.sequence:
            recovered.claim = stored
        found = read_commit(stored.data)
        if found.commit is None:
            skipped += 1
            await wake_all(book, subject, found.damaged, stores.states)
            condemn_all(book, found.damaged, book.n + skipped)
            log.critical("shard.commit_unreadable", subject=subject, sequence=stored.sequence)
            continue
        commit = found.commit
        if commit.n <= book.n:
            continue
        # Commits of which nothing can be read leave a gap of just as many numbers.
        if commit.n > book.n + 1 + skipped:
            await _expect_unpurged(journal, subject, oldest)
            raise CorruptJournalError(subject, _gap(book, commit, claim))
        recovered.unreadable, skipped = recovered.unreadable + commit.n - book.n - 1, 0
        if await _replay(recovered, subject, found, claim, stores):
            await _expect_unpurged(journal, subject, oldest)
    recovered.forget_closed()
    if book.n != claim.n:
        # Our claim is stored, so a server answered that has not learned of it: it was cut off.
        raise UnavailableError(subject, f"is shown up to commit {book.n}, not {claim.n}")


async def _replay(
    recovered: Recovered,
    subject: str,
    found: Salvaged,
    claim: Commit,
    stores: _Stores,
) -> bool:
    """Apply a commit; say whether entries of it are gone."""
    book, commit = recovered.book, cast("Commit", found.commit)
    entries, lost = await all_fetched(commit, stores.blobs)
    damaged = {**found.damaged, **lost}
    known = {(entry.tenant, entry.key) for entry in entries if entry.n > 1}
    await wake_all(book, subject, known | damaged.keys(), stores.states)
    # First: what follows on damage within the commit is not applied either.
    condemn_all(book, damaged, commit.n)
    publications = book.replay(commit, entries)
    if found.nameless:
        log.critical("shard.entries_unreadable", subject=subject, commit=commit.n)
    if commit.n > claim.settled:
        name, at = book.entity.name, commit.at
        letters = [
            dead_letter(name, (entry.tenant, entry.key), entry.corrupt, at)
            for entry in entries
            if entry.corrupt
        ]
        recovered.note(entries, [*publications, *letters])
    return bool(lost)


async def _expect_unpurged(journal: Journal, subject: str, oldest: StoredMessage | None) -> None:
    """Check that what is missing was not purged while it was read, by an owner of before.

    Raises:
        UnavailableError: it was, so there is a newer snapshot to begin with.
    """
    now = await journal.first(subject)
    if oldest is not None and now is not None and now.sequence != oldest.sequence:
        raise UnavailableError(subject, "was purged while it was read")


def _gap(book: ShardBook, commit: Commit, claim: Commit) -> str:
    if book.n == 0 and claim.snapshot is not None:
        return (
            f"the state before commit {commit.n} is only in a snapshot that cannot be read, or of "
            f"an older version of {book.entity.name}, from which there is no upgrade to version "
            f"{book.entity.version}"
        )
    return f"commit {commit.n} follows commit {book.n}"
