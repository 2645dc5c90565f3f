"""Taking a shard over: first shut the previous owner out, then rebuild the book."""

from datetime import UTC, datetime
from typing import Any

from bus.codec import decode
from bus.errors import (
    CorruptJournalError,
    FencedError,
    ProblemError,
    StateVersionError,
    UnavailableError,
)
from bus.ports import Blobs, Journal, Stored
from bus.shard.append import append
from bus.shard.book import Address, Book
from bus.shard.entity import Entity
from schemas.decision import Publish
from schemas.journal import Commit, Entry, Snapshot

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before the first turn of a shard."""


class Recovered:
    """A shard as its new owner finds it.

    ``sequence`` is the stream sequence of the owner's first commit, ``claim`` that commit as it is
    stored. ``publications`` may be lost, as may the records of the entities at ``touched``.
    ``assigned`` is what the commits say of open items of work: the one worker to which each may
    have been offered, or none, and the life of the queue at that time.
    """

    def __init__(self, book: Book, sequence: int) -> None:
        self.book = book
        self.sequence = sequence
        self.claim = Stored(sequence, b"")
        self.publications: list[Publish] = []
        self.touched: dict[Address, None] = {}
        self.assigned: dict[str, tuple[str, str]] = {}

    def note_assigned(self, commit: Commit) -> None:
        """Remember to whom the work of a commit may have gone."""
        for item, worker in commit.assigned.items():
            self.assigned[item] = (worker, commit.generation)

    def forget_closed(self) -> None:
        """Forget to whom work may have gone that is open no more."""
        still_open = {work.id for _, work in self.book.open_work()}
        self.assigned = {item: to for item, to in self.assigned.items() if item in still_open}

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
) -> Recovered:
    """Become the owner of a shard and return its state.

    Raises:
        FencedError: another process took it over in the same moment.
        CorruptJournalError: the journal has a gap.
        UnavailableError: the journal cannot be read to its end at present.
        StateVersionError: a newer version of the entity has written it; it stays as it is.
    """
    newest = await journal.last(subject)
    last = _commit_of(subject, newest) if newest else None
    if last is not None and last.version > entity.version:
        raise StateVersionError(subject, last.version, entity.version)
    claim = _owner_commit(last, entity.version, process)
    sequence = await append(journal, subject, claim, newest.sequence if newest else 0)
    recovered = Recovered(Book(entity), sequence)
    await _rebuild(recovered, subject, claim, journal, blobs)
    return recovered


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
        generation=last.generation if last else "",
        settled=last.settled if last else 0,
        snapshot=last.snapshot if last else None,
    )


async def _rebuild(
    recovered: Recovered, subject: str, claim: Commit, journal: Journal, blobs: Blobs
) -> None:
    book = recovered.book
    start = await _load_snapshot(book, subject, claim, blobs)
    async for stored in journal.read(subject, start=start):
        if stored.sequence > recovered.sequence:
            raise FencedError(subject, recovered.sequence)
        if stored.sequence == recovered.sequence:
            recovered.claim = stored
        commit = _commit_of(subject, stored)
        if commit.n <= book.n:
            continue
        if commit.n != book.n + 1:
            raise CorruptJournalError(subject, _gap(book, commit, claim))
        entries = await _fetched(subject, commit, blobs)
        publications = _replay(book, subject, commit, entries)
        recovered.note_assigned(commit)
        if commit.n > claim.settled:
            recovered.note(entries, publications)
    recovered.forget_closed()
    if book.n != claim.n:
        # Our claim is stored, so a server answered that has not learned of it: it was cut off.
        raise UnavailableError(subject, f"is shown up to commit {book.n}, not {claim.n}")


async def _load_snapshot(book: Book, subject: str, claim: Commit, blobs: Blobs) -> int:
    if claim.snapshot is None:
        return 1
    try:
        snapshot = decode(Snapshot, await blobs.get(claim.snapshot.blob))
        if not book.entity.can_read(snapshot.version):
            return 1
        book.load(snapshot)
    except ProblemError as error:
        raise CorruptJournalError(subject, f"snapshot: {error}") from error
    return claim.snapshot.sequence


def _gap(book: Book, commit: Commit, claim: Commit) -> str:
    if book.n == 0 and claim.snapshot is not None:
        return (
            f"the state before commit {commit.n} is only in a snapshot of an older version of "
            f"{book.entity.name}, from which there is no upgrade to version {book.entity.version}"
        )
    return f"commit {commit.n} follows commit {book.n}"


def _commit_of(subject: str, stored: Stored) -> Commit:
    try:
        return decode(Commit, stored.data)
    except ProblemError as error:
        raise CorruptJournalError(subject, f"sequence {stored.sequence}: {error}") from error


def _replay(book: Book, subject: str, commit: Commit, entries: list[Entry]) -> list[Publish]:
    try:
        return book.replay(commit, entries)
    except (ProblemError, ValueError) as error:
        raise CorruptJournalError(subject, f"commit {commit.n}: {error}") from error


async def _fetched(subject: str, commit: Commit, blobs: Blobs) -> list[Entry]:
    try:
        return [await fetched(entry, blobs) for entry in commit.entries]
    except ProblemError as error:
        raise CorruptJournalError(subject, f"commit {commit.n}: {error}") from error


async def fetched(entry: Entry, blobs: Blobs) -> Entry:
    """Return an entry with its events in place, however large they are.

    Raises:
        ProblemError: the blob is gone, or holds no entry.
    """
    if entry.blob is None:
        return entry
    return decode(Entry, await blobs.get(entry.blob))
