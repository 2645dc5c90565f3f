"""What the mechanisms need from the outside, as small protocols.

Each has two implementations under one shared test suite: one on NATS, and one in memory, which
lets whole systems of entities and workers run in one process under virtual time. Nothing here
knows NATS.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from schemas.decision import Left


class Clock(Protocol):
    """The time of day, in UTC."""

    def __call__(self) -> datetime:
        """Return the present moment."""
        ...


class Delivery(NamedTuple):
    """A message as it arrives; ``reply`` is empty where no answer is expected."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] | None = None

    @property
    def is_unheard(self) -> bool:
        """Whether the bus says that nobody listened to what wanted an answer here (ADR-26)."""
        return not self.data and self.headers is not None and self.headers.get("Status") == UNHEARD


MESSAGE_ID = "Nats-Msg-Id"
"""The header with the id of a message, by which a stream, and who listens, know a repeat."""

UNHEARD = "503"
"""The status with which the bus answers where nobody listens."""

Handler = Callable[[Delivery], Awaitable[None]]

Receiver = Callable[[Delivery], None]
"""Takes a message in the moment in which it is read from the bus: short, and never waiting."""


class Transport(Protocol):
    """Plain messages: at most once, ordered from one sender to one receiver."""

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send and forget. Where nobody listens, ``reply`` is told so: see ``is_unheard``.

        Raises:
            UnavailableError: the connection is closed for good.
        """
        ...

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        """Send and wait for one answer, at most ``timeout`` seconds.

        Raises:
            UnavailableError: nobody listens on the subject.
            DeadlineError: no answer came in time.
        """
        ...

    def tell(self, subject: str, data: bytes) -> None:
        """Send and forget at once, and from a ``Receiver`` too; lost if the bus is away."""
        ...

    def subscription(
        self, subject: str, handler: Handler, *, queue: str = ""
    ) -> AbstractAsyncContextManager[None]:
        """Deliver messages one after another to ``handler`` while the context is open.

        When it is entered, the server knows of the subscription.
        """
        ...

    def reception(self, subject: str, receiver: Receiver) -> AbstractAsyncContextManager[None]:
        """Subscribe as ``subscription`` does, and hand each message to ``receiver`` at once."""
        ...

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Call back each time the bus was lost and found again. Returns the way to stop it."""
        ...


class StoredMessage(NamedTuple):
    """A message of a journal with its stream sequence.

    ``time`` is when the server stored it, in RFC 3339; empty where that was not asked for.
    """

    sequence: int
    data: bytes
    time: str = ""


class Fill(NamedTuple):
    """How many bytes a store holds, and how many at most; ``most`` is 0 where it has no bound."""

    used: int
    most: int

    def leaves(self, size: int, *, reserve: float) -> bool:
        """Say whether so many bytes more would leave a share ``reserve`` of all room free."""
        return self.most <= 0 or self.used + size <= self.most * (1 - reserve)


class Journal(Protocol):
    """Append-only subjects, each fenced by its own last sequence, within one bound for all."""

    async def append(self, subject: str, data: bytes, *, expected: int) -> int:
        """Append if the subject's last sequence is ``expected`` (0 = empty); return the new one.

        Raises:
            FencedError: the last sequence is another one; nothing was stored.
            FullError: there is no room; nothing was stored.
            UnavailableError: the outcome is unknown; read the tail to learn it.
        """
        ...

    async def last(self, subject: str) -> StoredMessage | None:
        """Return the newest message of a subject, None if there is none."""
        ...

    async def first(self, subject: str, *, since: datetime | None = None) -> StoredMessage | None:
        """Return the oldest message of a subject, or the oldest that was stored ``since`` then.

        Raises:
            UnavailableError: no answer.
        """
        ...

    async def fill(self) -> Fill:
        """Say how full the journal is, all subjects together.

        Raises:
            UnavailableError: no answer.
        """
        ...

    def read(self, subject: str, *, start: int) -> AsyncIterator[StoredMessage]:
        """Yield the messages of a subject from stream sequence ``start`` to the newest one."""
        ...

    async def purge(self, subject: str, *, below: int) -> None:
        """Remove the messages of a subject whose stream sequence is below ``below``."""
        ...


class Resting(NamedTuple):
    """The state of an entity at rest, encoded. ``n`` counts the entries that led to it.

    It is kept for ``ttl`` seconds, at least one; for ever where that is None. Only the state of an
    ended entity has a ``ttl``. It replaces what was stored of the entity's life, too, unless
    ``slept`` says that nothing was.
    """

    tenant: str
    key: str
    n: int
    data: bytes
    ttl: int | None = None
    slept: bool = True


class StateWriter(Protocol):
    """Writes the states of one shard, for as long as its owner is the newest."""

    async def write(self, states: Sequence[Resting]) -> None:
        """Store states in place of earlier ones: all of them, or none.

        Raises:
            FencedError: somebody owns the shard since; nothing was stored.
            UnavailableError: the outcome is unknown. The write may still come to pass, after later
                ones of this writer, until the shard is owned anew.
        """
        ...


class States(Protocol):
    """The states at rest of one entity type, of each entity the newest."""

    async def own(self, shard: int, epoch: int) -> StateWriter:
        """Show that the owner of this epoch owns a shard; nobody before it writes from now on.

        Raises:
            FencedError: the owner of a later epoch has come before.
            UnavailableError: not known to be done.
        """
        ...

    async def read(self, shard: int, tenant: str, key: str) -> Resting | None:
        """Return the state of an entity by whoever decides on that; None if there is none.

        Raises:
            UnavailableError: no complete answer.
        """
        ...

    async def forget(self, shard: int, *, below: int) -> bool:
        """Remove the oldest states of ended entities, for want of room; say whether any were there.

        Of those that were stored before the journal's stream sequence ``below``, a part goes.

        Raises:
            UnavailableError: not known to be done.
        """
        ...

    def read_all(self, shard: int) -> AsyncIterator[Resting]:
        """Yield all states of a shard, those that change meanwhile as they were or as they are.

        Raises:
            UnavailableError: no complete answer; begin again.
        """
        ...


class Filed(NamedTuple):
    """A message of a journal as readers of all its subjects see it."""

    sequence: int
    subject: str
    data: bytes


class FeedEnd(NamedTuple):
    """Where a journal begins and ends: its first and newest sequence, 0 where it is empty.

    ``incarnation`` tells a journal from one that was made anew in its place.
    """

    first: int
    sequence: int
    incarnation: str


class Feed(Protocol):
    """A whole journal, all subjects in the order of their appends. Reading leaves no trace."""

    async def end(self) -> FeedEnd:
        """Return where the journal ends now, by whoever decides on that.

        Raises:
            UnavailableError: no answer, or there is no such journal.
        """
        ...

    async def page(self, *, start: int) -> list[Filed]:
        """Return the first messages from a sequence on, without gaps, bounded in count and bytes.

        Empty at the end; but who answers may lag behind, so that does not prove the end.

        Raises:
            UnavailableError: no complete answer.
        """
        ...


class Blobs(Protocol):
    """Large immutable bytes, named by their SHA-256 in hexadecimal, below what they belong to."""

    async def put(self, data: bytes, *, under: str = "", ttl: int | None = None) -> str:
        """Store the bytes durably and return their name. Storing the same twice is harmless.

        ``under`` names in tokens what they belong to (``execution.3``), by which ``names`` finds
        them: the name is that and the hash. With ``ttl`` they expire after so many seconds.

        Raises:
            FullError: there is no room; part of it may be stored.
            UnavailableError: not known to be stored.
        """
        ...

    async def names(self, under: str) -> list[str]:
        """Return the names of all blobs ``under`` something, also of those stored in part.

        Raises:
            UnavailableError: no answer.
        """
        ...

    async def fill(self) -> Fill:
        """Say how full the store is.

        Raises:
            UnavailableError: no answer.
        """
        ...

    async def get(self, name: str) -> bytes:
        """Return the bytes.

        Raises:
            ProblemError: ``not_found``, also where they are not all there, or are other bytes.
            UnavailableError: no answer.
        """
        ...

    async def newest(self, name: str) -> StoredMessage | None:
        """Return the part of a blob that was stored last, with its time; None if there is none.

        Raises:
            UnavailableError: no answer.
        """
        ...

    async def remove(self, name: str, *, below: int | None = None) -> None:
        """Forget the bytes; nothing happens if they are not there.

        With ``below`` only what was stored before that sequence goes, so that nothing is lost that
        is stored anew in the same moment.

        Raises:
            UnavailableError: not known to be removed.
        """
        ...


Still = Callable[[], Awaitable[bool]]
"""Says whether a message that was sent before may be sent again."""


async def voided(messages: Iterable[Still | None]) -> set[Still | None]:
    """Ask what goes with each of some messages, the same only once; return what says no."""
    asked = dict.fromkeys(messages)
    return {still for still in asked if still is not None and not await still()}


class Outbox(Protocol):
    """Publishing into streams without waiting for each acknowledgement, within a bounded window."""

    async def post(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str | None = None,
        still: Still | None = None,
        frequent: bool = False,
        ttl: int | None = None,
    ) -> None:
        """Send; waits only while the window of unacknowledged messages is full.

        ``frequent`` is for the stream of live events: a receipt may speak for many of these.
        ``ttl`` is for how many seconds it is stored, where its stream lets messages expire.

        What is not acknowledged is sent again, and after a restart of the bus so is everything of
        the last seconds, because an acknowledgement of a lazily synced stream is no receipt. Before
        that ``still`` is asked whether the message is to stand; where it is not, it is let go.
        """
        ...

    def offer(self, subject: str, data: bytes) -> bool:
        """Send a frequent message as ``post`` does, if that needs no waiting; say whether."""
        ...

    async def flush(self, *, timeout: float) -> None:
        """Wait until everything posted is acknowledged.

        Raises:
            DeadlineError: not within ``timeout`` seconds.
        """
        ...

    @property
    def posted(self) -> int:
        """How many messages were posted so far: the mark of the newest one."""
        ...

    @property
    def safe(self) -> int:
        """The mark up to which all messages are stored: acknowledged, and synced by their age."""
        ...

    @property
    def max_payload(self) -> int:
        """The bytes of the largest message that the bus takes, its headers included."""
        ...


Erase = Callable[[Left], Awaitable[None]]
"""Removes messages from the stream that captures their subject.

Raises ``UnavailableError`` where that is not known to be done.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """All that a process needs of the bus, on NATS or in memory.

    ``journal`` and ``states`` return those of an entity type and ``feed`` all of its shards, for
    readers. ``records`` reads the stored records, ``archive`` is what was stored of journals before
    a purge. ``erase`` removes what a deleted entity has left in streams.
    """

    transport: Transport
    outbox: Outbox
    blobs: Blobs
    clock: Clock
    journal: Callable[[str], Journal]
    states: Callable[[str], States]
    feed: Callable[[str], Feed]
    records: Journal
    archive: Journal
    erase: Erase
