"""The archive of a journal: its entries by tenant and month, kept when the journal is purged."""

from datetime import datetime

from schemas.base import Internal
from schemas.journal import Entry


class ArchivedEntry(Internal):
    """An entry of a journal as its archive keeps it.

    ``n``, ``sequence``, ``epoch``, ``at`` and ``version`` are those of its commit, of which it was
    the entry at ``place``. Where a commit could not be read whole, ``commit`` is all its bytes, and
    there is no ``entry``.
    """

    n: int
    sequence: int
    epoch: int
    at: datetime
    version: int = 1
    place: int = 0
    entry: Entry | None = None
    commit: bytes | None = None


class TenantArchive(Internal):
    """What a batch of an archive holds of one tenant: so many entries in so many parts.

    ``checksum`` is the first half of the SHA-256 of the parts, uncompressed and joined, in
    hexadecimal. It stands in the subjects of the parts.
    """

    tenant: str
    entries: int
    parts: int
    checksum: str


class Archived(Internal, tag="archived"):
    """All entries of the commits ``first`` to ``through`` of a shard are in the archive.

    It is stored when all parts are, and what it covers may then be purged from the journal.
    ``period`` is the month in which they were committed, in UTC. ``sequence`` is the place of the
    last commit in the journal's stream, ``until`` its time. ``entries`` counts those of all
    ``tenants``; ``checksum`` is over theirs.
    """

    entity: str
    shard: int
    period: str
    first: int
    through: int
    sequence: int
    until: datetime
    entries: int
    checksum: str
    tenants: list[TenantArchive] = []
