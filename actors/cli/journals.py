"""The journals as an operator reads them: which there are, and how each ends."""

from actors.cli.session import Session
from bus.archive import Archive
from bus.connection import NatsTransport
from bus.errors import UnavailableError, problem
from bus.jetstream.blobs import StreamBlobs
from bus.jetstream.feed import JetStreamFeed
from bus.jetstream.journal import JetStreamJournal
from bus.jetstream.reading import StreamReader
from bus.jetstream.states import JetStreamStates
from bus.ports import Resting
from bus.shard.report import JournalHead, owned_shards
from bus.shard.salvage import commit_of, read_snapshot
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import ARCHIVE, journal_stream
from bus.subjects import journal_subject, matches
from schemas.entity import EntityAddress
from schemas.fleet import OwnedShards
from schemas.journal import Snapshot, SnapshotRef

SUBJECTS = "_cb.journal.>"

ASK_SECONDS = 1.5
"""An owner that is in the middle of a turn answers after it."""


async def entities_of(transport: NatsTransport) -> list[str]:
    """Return the entity types that have a journal."""
    try:
        answer = await JetStream(transport).call("STREAM.LIST", {"subject": SUBJECTS})
    except JetStreamError as error:
        raise UnavailableError(SUBJECTS, error.description) from None
    filters = [subject for info in answer["streams"] for subject in info["config"]["subjects"]]
    return sorted(pattern.split(".")[2] for pattern in filters if matches(SUBJECTS, pattern))


async def expect_journal(transport: NatsTransport, entity: str) -> None:
    """Check that an entity type has a journal.

    Raises:
        ProblemError: ``not_found``, with those that have one.
    """
    found = await entities_of(transport)
    if entity not in found:
        known = f"there are those of {', '.join(found)}" if found else "none was made on this bus"
        raise problem("not_found", f"there is no journal of {entity}; {known}")


async def shards_of(transport: NatsTransport, session: Session, entity: str) -> int:
    """Return how many shards an entity type has: as its owners say, or else the setting.

    Raises:
        ProblemError: ``not_found``: it has no journal.
    """
    await expect_journal(transport, entity)
    return count_of(entity, await owned_shards(transport, seconds=ASK_SECONDS), session)


def count_of(entity: str, said: list[OwnedShards], session: Session) -> int:
    """Return how many shards an entity type has, by what its owners said. Pure."""
    counts = [answer.shards for answer in said if answer.entity == entity]
    return max(counts, default=session.config.shards)


def blobs_of(transport: NatsTransport) -> StreamBlobs:
    """Return the store of large payloads and snapshots."""
    return StreamBlobs(transport, JetStream(transport))


async def snapshot_of(transport: NatsTransport, ref: SnapshotRef) -> tuple[Snapshot, int]:
    """Return a snapshot and its size in bytes.

    Raises:
        ProblemError: it is gone, or unreadable.
    """
    data = await blobs_of(transport).get(ref.blob)
    return read_snapshot(data).snapshot, len(data)


def journal_of(transport: NatsTransport, entity: str) -> JetStreamJournal:
    """Return the journal of an entity type."""
    return JetStreamJournal(transport, JetStream(transport), journal_stream(entity))


async def at_rest(
    transport: NatsTransport, entity: str, shard: int, address: EntityAddress
) -> Resting:
    """Return the state of an entity that has left memory.

    Raises:
        ProblemError: ``not_found``: there is none.
    """
    found = await JetStreamStates(transport, JetStream(transport), entity).read(shard, *address)
    if found is None:
        raise problem("not_found", f"there is no state at rest of {entity} {address[1]}")
    return found


def archive_of(transport: NatsTransport, entity: str) -> Archive:
    """Return the journal of an entity type together with what was archived of it."""
    jetstream = JetStream(transport)
    store = JetStreamJournal(transport, jetstream, ARCHIVE)
    feed = JetStreamFeed(transport, jetstream, entity)
    return Archive(entity, journal_of(transport, entity), store, feed)


async def head(transport: NatsTransport, entity: str, shard: int) -> JournalHead | None:
    """Return the end of a shard's journal, None where there is nothing that can be read.

    Raises:
        UnavailableError: there is no such journal, or no answer.
    """
    subject = journal_subject(entity, shard)
    last = await journal_of(transport, entity).last(subject)
    if last is None:
        return None
    newest = commit_of(last.data)
    if newest is None:
        return None
    if newest.snapshot is None:
        return JournalHead(newest=newest)
    found = await StreamReader(transport).read_subject(
        journal_stream(entity), subject, start=newest.snapshot.sequence, limit=1
    )
    taken_after = commit_of(found[0].data) if found else None
    return JournalHead(newest=newest, snapshot_at=(taken_after or newest).at)
