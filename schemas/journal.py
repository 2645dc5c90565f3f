"""The journal of a shard.

Commits of whole turns, snapshots, and the envelope that leads to them.
"""

from datetime import datetime

import msgspec

from schemas.base import Internal
from schemas.replies import ReplyPages

NOTHING = msgspec.Raw(b"null")
"""Stands for an absent raw value and is left out when encoded (compare with ``is``)."""


class CommandEnvelope(Internal):
    """A command on its way to the owner of an entity.

    ``id`` is unique within the entity; the same id asks for the same answer, and another ``digest``
    under the same id is a conflict. ``fresh`` promises that the key was never used before, which
    spares the owner a look at the states at rest.

    ``by`` is the principal who commands, empty where the fleet does so on its own account.
    ``cause`` names what led to the command where its id does not: the commit of the entity that
    asks. After ``deadline`` nobody waits for the answer, and the command is not decided any more.
    ``seal`` names the key that the entity's data is sealed with.

    What is ``redriven`` is a dead letter that an operator hands in again. That a core raised on it
    before is no answer to it.
    """

    id: str
    tenant: str
    key: str
    body: msgspec.Raw
    digest: str = ""
    fresh: bool = False
    trace: str | None = None
    by: str = ""
    cause: str = ""
    deadline: datetime | None = None
    seal: str = ""
    redriven: bool = False


class Entry(Internal):
    """What one command did: its events and the reply kept for repeats of its id.

    ``kind`` is the command's tag. ``base`` is the state the events start from, where they do not
    follow on the entry before: at the beginning and end of a quarantine, and where an ended entity
    was at rest, whose state there may be gone. ``blob`` names the stored
    entry where it is too large for the journal. ``corrupt`` says why the entity takes no commands
    from here on, in the state of ``base`` and ``events``; where it is empty, it takes them again.

    ``n`` counts the entries of the entity, from 1. ``after`` is the number of the commit with the
    entity's entry before, 0 for its first: by it a repeat or a gap shows.

    ``by``, ``cause``, ``trace`` and ``seal`` are those of the command. Its deadline is not kept,
    because only a command that was in time has an entry.
    """

    tenant: str
    key: str
    command: str
    kind: str = ""
    digest: str = ""
    base: msgspec.Raw = NOTHING
    events: list[msgspec.Raw] = []
    reply: msgspec.Raw = NOTHING
    blob: str | None = None
    corrupt: str | None = None
    n: int = 0
    after: int = 0
    by: str = ""
    cause: str = ""
    trace: str | None = None
    seal: str = ""


class SkipCorrupt(Internal, tag="skip_corrupt"):
    """An operator's command to any entity: go on from the last state that can be read."""


class CorruptSkipped(Internal, tag="corrupt_skipped"):
    """The answer: the entity takes commands again, ``anew`` where no state of it can be read."""

    anew: bool = False


class SnapshotRef(Internal):
    """Where a snapshot lies: the blob's name and the commit it was taken after."""

    blob: str
    n: int
    sequence: int


class Commit(Internal):
    """One turn of a shard, appended as one message.

    ``n`` counts the shard's commits without gaps. ``turn`` tells our own append from another's.
    ``settled`` is the last commit whose publications are known to be stored. ``snapshot`` is the
    newest snapshot, repeated in every commit so that the last commit alone leads to it.
    ``version`` is that of the entity's state and events; it never decreases within a shard.
    ``assigned`` names the one worker to which an open item of work may be offered from now on; an
    item that no commit names waits, and nobody has begun it.
    """

    n: int
    epoch: int
    turn: str
    at: datetime
    version: int = 1
    owner: str | None = None
    settled: int = 0
    snapshot: SnapshotRef | None = None
    entries: list[Entry] = []
    assigned: dict[str, str] = {}


class Owner(Internal):
    """Who owns a shard: the message whose sequence every write of a state at rest expects."""

    epoch: int


class AtRest(Internal):
    """An entity that has left memory.

    ``n`` and ``last`` are the number of its last entry, and of the commit with that; ``version`` is
    that of the state.
    """

    version: int
    n: int
    last: int
    state: msgspec.Raw
    replies: ReplyPages = {}
    seal: str = ""


class SlotImage(Internal):
    """One entity as a snapshot stores it; ``corrupt`` says why it takes no commands, if it does.

    ``n`` and ``last`` are the number of its last entry, and of the commit with that. ``parts`` are
    the blobs with what the state lacks here.
    """

    tenant: str
    key: str
    state: msgspec.Raw
    replies: ReplyPages = {}
    corrupt: str = ""
    n: int = 0
    last: int = 0
    seal: str = ""
    parts: list[str] = []


class Sleeper(Internal):
    """An entity at rest that has not ended: how many entries its state holds, and its timer."""

    tenant: str
    key: str
    n: int
    due: datetime | None = None


class Snapshot(Internal):
    """The entities of a shard after commit ``n``: those in memory, and where the others are.

    Of those that have ended and left memory nothing is said: their states at rest tell of them.
    ``assigned`` is what commits up to this one say of open items of work, ``deleted`` the newest of
    them that has deleted an entity.
    """

    entity: str
    version: int
    n: int
    at: datetime
    slots: list[SlotImage]
    sleepers: list[Sleeper] = []
    assigned: dict[str, str] = {}
    deleted: int = 0
