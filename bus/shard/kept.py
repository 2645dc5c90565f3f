"""A journal of which nothing is purged that its archive does not hold."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import structlog

from bus.codec import decode
from bus.errors import ProblemError
from bus.ports import Bus, Feed, Fill, Journal, StoredMessage
from bus.subjects import archived_subject, parse
from schemas.archive import Archived
from schemas.entity import Entity

log = structlog.get_logger()

_SUBJECT = "_cb.journal.{entity}.{shard}"


def journal_of(entity: Entity[Any, Any, Any], bus: Bus) -> Journal:
    """Return the journal of an entity type, kept as its declaration says."""
    journal = bus.journal(entity.name)
    return KeptJournal(journal, bus.archive, bus.feed(entity.name)) if entity.archives else journal


class KeptJournal:
    """See ``Journal``. Whoever purges it, and for whatever reason: what is archived goes, no more.

    The archive speaks of one incarnation of the journal's stream. Of a stream that was made anew
    nothing is archived yet.
    """

    def __init__(self, journal: Journal, archive: Journal, feed: Feed) -> None:
        self._journal = journal
        self._archive = archive
        self._feed = feed

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        """See ``Journal.append``."""
        return await self._journal.append(subject, data, expected=expected)

    async def last(self, subject: str) -> StoredMessage | None:
        """See ``Journal.last``."""
        return await self._journal.last(subject)

    async def first(self, subject: str, *, since: datetime | None = None) -> StoredMessage | None:
        """See ``Journal.first``."""
        return await self._journal.first(subject, since=since)

    async def fill(self) -> Fill:
        """See ``Journal.fill``."""
        return await self._journal.fill()

    def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        """See ``Journal.read``."""
        return self._journal.read(subject, start=start)

    async def purge(self, subject: str, *, below: int) -> None:
        """Remove the messages below a sequence, as far as they are archived.

        Raises:
            UnavailableError: not known to be done.
        """
        archived = await self._archived(subject)
        if archived:
            await self._journal.purge(subject, below=min(below, archived + 1))

    async def _archived(self, subject: str) -> int:
        """Return the sequence of the last commit that is archived, 0 if none is."""
        tokens = parse(_SUBJECT, subject)
        if tokens is None:
            return 0
        incarnation = (await self._feed.end()).incarnation
        name = archived_subject(tokens["entity"], int(tokens["shard"]), incarnation)
        newest = await self._archive.last(name)
        try:
            return decode(Archived, newest.data).sequence if newest else 0
        except ProblemError as error:
            # What cannot be read permits nothing; the journal fills, and the archiver says why.
            log.critical("archive.unreadable", subject=name, error=error.problem.message)
            return 0
