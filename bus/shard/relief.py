"""Making room in a journal that is full up to its bound, before anybody owns the shard.

The rest of the bound that turns leave is for owner commits. Where that is used up as well, because
the bound was lowered for one, no new owner could begin, and none but an owner names snapshots. But
what a snapshot holds follows from the journal alone, whoever takes it.
"""

from typing import Any

import structlog

from bus.codec import encode
from bus.ports import Blobs, Journal, States
from bus.shard.blob_names import blobs_under
from bus.shard.book import ShardBook
from bus.shard.fetching import all_fetched, load_snapshot, wake_all
from bus.shard.salvage import read_commit
from schemas.entity import Entity
from schemas.journal import Commit

log = structlog.get_logger()


async def make_room(
    entity: Entity[Any, Any, Any],
    subject: str,
    last: Commit,
    journal: Journal,
    blobs: Blobs,
    states: States,
) -> bool:
    """Purge a shard's journal below what its ``last`` commit needs; say whether anything went.

    With it go some of the states of ended entities that were stored before.

    First below the snapshot that it names. If nothing is there, below a snapshot taken here: after
    the last commit of which is known that all it led to is stored.

    Raises:
        UnavailableError: not known to be done.
    """
    oldest = await journal.first(subject)
    if oldest is None:
        return False
    below = last.snapshot.sequence if last.snapshot else 0
    if below <= oldest.sequence:
        book = ShardBook(entity)
        start = await load_snapshot(book, subject, last, oldest, blobs)
        below = await _replayed(book, subject, start, last.settled, journal, blobs, states)
        if below:
            image = book.image()
            await blobs.put(encode(image), under=blobs_under(subject, "snapshot", image.n))
    shard = int(subject.rpartition(".")[2])
    forgot = bool(below) and await states.forget(shard, below=below)
    if below > oldest.sequence:
        await journal.purge(subject, below=below)
    elif not forgot:
        return False
    log.warning("shard.journal_full", subject=subject, purged_below=below)
    return True


async def _replayed(
    book: ShardBook,
    subject: str,
    start: int,
    to: int,
    journal: Journal,
    blobs: Blobs,
    states: States,
) -> int:
    """Apply what is stored up to commit ``to``; return its sequence, 0 if any cannot be read."""
    sequence = 0
    async for stored in journal.read(subject, start=start):
        commit, damaged, nameless = read_commit(stored.data)
        if commit is None or damaged or nameless:
            return 0
        if commit.n > to:
            break
        if commit.n > book.n:
            entries, lost = await all_fetched(commit, blobs)
            known = {(entry.tenant, entry.key) for entry in entries if entry.n > 1}
            await wake_all(book, subject, known, states)
            if lost or commit.n != book.n + 1:
                return 0
            book.replay(commit, entries)
        sequence = stored.sequence
    return sequence if book.n == to and not book.unmarked else 0
