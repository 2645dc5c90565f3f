"""The archive of an entity's journals: what is purged from them was stored here before.

An entity that declares ``archives`` keeps all its history: it is read from the archive and, from
there on, from the journal. A shard's commits are archived in order, in batches that each lie within
one month. A batch is packed by tenant into parts; when all are stored, an ``Archived`` says so, in
a subject that is fenced like a journal's. What no ``Archived`` names does not count, so a process
may be killed at any point of it, or do it twice.

``packing``   entries to compressed parts and back. Pure
``batch``     which commits form a batch, and whether it is due. Pure
``reading``   the commits of a shard in order, archived or not
``archiver``  archives what is due of the shards that a process owns
"""

from bus.archive.archiver import Archiver
from bus.archive.reading import Archive, Numbered, archive_of

__all__ = ["Archive", "Archiver", "Numbered", "archive_of"]
