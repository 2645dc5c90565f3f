"""Getting back what a shard has stored: its snapshot, and entries too large for the journal."""

from collections.abc import Iterable, Mapping

import structlog

from bus.codec import decode
from bus.errors import ProblemError, UnavailableError
from bus.ports import Blobs, States, StoredMessage
from bus.shard.blob_names import shard_blobs, stored_snapshots
from bus.shard.book import ShardBook
from bus.shard.quarantine import reason_of
from bus.shard.salvage import commit_of, read_snapshot
from bus.subjects import state_subject
from schemas.entity import EntityAddress
from schemas.journal import Commit, Entry, SlotImage, SnapshotRef

log = structlog.get_logger()


async def load_snapshot(
    book: ShardBook, subject: str, newest: Commit, oldest: StoredMessage | None, blobs: Blobs
) -> int:
    """Fill an empty book from the snapshot to which the journal follows; return where to go on.

    That is mostly the one which the newest commit names. But where there was no room for a commit,
    the journal may be purged below one that none names: then it follows to a stored one.
    """
    first = commit_of(oldest.data) if oldest else None
    named = newest.snapshot
    if oldest is None or first is None or first.n <= (named.n if named else 0) + 1:
        return await _load(book, subject, named, blobs, newest.n) if named else 1
    for stored in stored_snapshots(await blobs.names(shard_blobs(subject)), first=first.n):
        ref = SnapshotRef(blob=stored.name, n=stored.n, sequence=oldest.sequence)
        await _load(book, subject, ref, blobs, newest.n)
        if book.n:
            return ref.sequence
    return await _load(book, subject, named, blobs, newest.n) if named else 1


async def _load(book: ShardBook, subject: str, ref: SnapshotRef, blobs: Blobs, newest: int) -> int:
    try:
        data = await blobs.get(ref.blob)
        snapshot, damaged = read_snapshot(data)
    except ProblemError as error:
        # As long as the journal reaches back to its beginning, nothing is lost without it.
        log.critical("shard.snapshot_unreadable", subject=subject, error=error.problem.message)
        return 1
    if not book.entity.can_read(snapshot.version):
        return 1
    book.load(snapshot, await parts_of(snapshot.slots, subject, blobs))
    condemn_all(book, damaged, newest)
    return ref.sequence


async def parts_of(slots: Iterable[SlotImage], subject: str, blobs: Blobs) -> dict[str, bytes]:
    """Return the parts of states that a snapshot names, without those that are gone."""
    found: dict[str, bytes] = {}
    for name in dict.fromkeys(name for slot in slots for name in slot.parts):
        try:
            found[name] = await blobs.get(name)
        except ProblemError as error:
            reason = error.problem.message
            log.critical("shard.part_unreadable", subject=subject, part=name, error=reason)
    return found


def condemn_all(book: ShardBook, damaged: Mapping[EntityAddress, str], n: int) -> None:
    """Put into quarantine what commit ``n`` would have changed, but not what is known beyond it."""
    for address, reason in damaged.items():
        if book.slot(address).last < n:
            book.condemn(address, reason)


async def wake_all(
    book: ShardBook, subject: str, known: Iterable[EntityAddress], states: States
) -> None:
    """Bring back what was at rest when the snapshot was taken, and was changed since.

    Raises:
        UnavailableError: a state cannot be read, or is older than the snapshot says.
    """
    shard = int(subject.rpartition(".")[2])
    for address in sorted(each for each in known if each not in book.slots):
        resting = await states.read(shard, *address)
        if book.is_stale(address, resting):
            raise UnavailableError(state_subject(book.entity.name, shard, *address), "is stale")
        if resting is not None:
            book.wake(resting)


async def all_fetched(commit: Commit, blobs: Blobs) -> tuple[list[Entry], dict[EntityAddress, str]]:
    """Return the entries with their events in place, and the entities of those that are gone."""
    entries: list[Entry] = []
    lost: dict[EntityAddress, str] = {}
    for entry in commit.entries:
        try:
            entries.append(await fetched(entry, blobs))
        except ProblemError as error:
            lost[entry.tenant, entry.key] = reason_of(error)
    return entries, lost


async def fetched(entry: Entry, blobs: Blobs) -> Entry:
    """Return an entry with its events in place, however large they are.

    Raises:
        ProblemError: the blob is gone, or holds no entry.
    """
    if entry.blob is None:
        return entry
    return decode(Entry, await blobs.get(entry.blob))
