"""The streams as data: which subjects each stores, for how long, and what an ack of it means."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bus.config import Durability, Timing
from bus.subjects import journal_filter, matches

JOURNALS = "JOURNAL_"
INBOXES = "INBOX_"
"""Each tenant's submitted commands lie in a stream of its own, see ``inbox_stream``."""

RECORDS = "EXECUTIONS"
EVENTS = "EVENTS"
LIVE = "STREAMS"
LIVE_MARK = "cb._.stream._"
"""A subject of that stream on which nothing is said: its receipts speak for what came before."""

CONVERSATIONS = "CONVERSATIONS"
DEAD = "DEAD"
BILLS = "BILLS"
BLOBS = "BLOBS"
ARCHIVE = "ARCHIVE"
"""What journals held before they were purged, of entities whose history is kept."""

BILL_MAX_BYTES = 1024**3
"""Over a million bills that wait for a pricing process; then the oldest are lost."""

BLOB_MAX_BYTES = 4 * 1024**3
"""Snapshots, large entries and bodies; what does not fit is refused, because none may be lost."""

CONVERSATION_TURNS = 100
"""Turns kept of one session: more do not fit a model's window."""

_REPLICAS: dict[Durability, int] = {"r1": 1, "r3": 3}
_NANOSECONDS = 1_000_000_000
_UPPER_CASE = re.compile("[A-Z]")
_ESCAPED = re.compile("=([a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """One stream. ``max_age`` is in seconds, 0 for ever; ``per_subject`` is a count, -1 unlimited.

    ``lazy`` lets one server acknowledge before the message is on disk: quick, and no receipt; a
    cluster has no such mode. ``refuse_when_full`` keeps what is stored instead of what arrives.
    ``consumed`` removes what was acknowledged. ``dated`` is for a stream whose sequences stand in
    names that outlive it: another of its name goes on with higher ones. ``expires`` lets a message
    expire by itself. ``states`` lets a message replace the one before it, expire by itself, and be
    stored together with others or not at all.
    ``tenants`` is the filter of one tenant's messages in a stream in which each has a share, and
    ``quota`` the term of ``Terms`` that says how large it is.
    """

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    max_age: float = 0
    per_subject: int = -1
    lazy: bool = False
    consumed: bool = False
    refuse_when_full: bool = False
    duplicate_window: float = 120
    key_value: bool = False
    dated: bool = False
    expires: bool = False
    states: bool = False
    tenants: str = ""
    quota: str = ""

    def settings(self, durability: Durability) -> dict[str, Any]:
        """Return the configuration as JetStream's API spells it; durations are nanoseconds."""
        settings: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "storage": "file",
            "retention": "workqueue" if self.consumed else "limits",
            "discard": "new" if self.refuse_when_full else "old",
            "max_bytes": self.max_bytes,
            "max_age": _nanoseconds(self.max_age),
            "max_msgs_per_subject": self.per_subject,
            "max_consumers": -1,
            "duplicate_window": _nanoseconds(self._window()),
            "num_replicas": _REPLICAS[durability],
            "allow_direct": True,
        }
        if self.lazy and durability == "r1":
            settings["persist_mode"] = "async"
        if self.key_value:
            settings |= {"allow_rollup_hdrs": True, "deny_delete": True, "allow_msg_ttl": True}
        if self.expires:
            settings["allow_msg_ttl"] = True
        if self.states:
            settings |= {"allow_rollup_hdrs": True, "allow_atomic": True, "allow_msg_ttl": True}
        return settings

    def captures(self, subject: str) -> bool:
        """Say whether a message on this subject is stored here."""
        return any(matches(pattern, subject) for pattern in self.subjects)

    def _window(self) -> float:
        """The server refuses to remember message ids for longer than the messages."""
        return min(self.duplicate_window, self.max_age) if self.max_age else self.duplicate_window


def journal_stream(entity: str) -> str:
    """Return the name of the stream that holds the journals of an entity type."""
    return f"{JOURNALS}{entity.upper()}"


def journal_spec(entity: str, timing: Timing) -> StreamSpec:
    """Return the journal of an entity type. It has no age: owners purge below their snapshots.

    The states at rest lie in the same stream, because only there can the log itself refuse those of
    a former owner. A purge names the subject of a shard's commits and leaves the states alone, or
    names those of what has ended.
    """
    return StreamSpec(
        name=journal_stream(entity),
        subjects=(
            journal_filter(entity),
            f"_cb.state.{entity}.>",
            f"_cb.ended.{entity}.>",
            f"_cb.owner.{entity}.*",
        ),
        max_bytes=timing.journal_max_bytes,
        refuse_when_full=True,
        states=True,
    )


def inbox_stream(tenant: str) -> str:
    """Return the name of the stream that holds a tenant's submitted commands.

    nats-server compares ``Nats-Msg-Id`` with all of a stream, so tenants that shared one could
    swallow each other's commands. No two names differ in case alone, because a stream is a folder
    and some disks cannot tell them apart: an upper-case letter is written ``=`` and the lower-case
    one, the dollar of the platform ``==``. Neither can stand in a tenant's name.
    """
    return INBOXES + _UPPER_CASE.sub(lambda found: f"={found[0].lower()}", tenant).replace(
        "$", "=="
    )


def inbox_tenant(stream: str) -> str:
    """Return whose inbox a stream is: the inverse of ``inbox_stream``."""
    name = stream.removeprefix(INBOXES).replace("==", "$")
    return _ESCAPED.sub(lambda found: found[1].upper(), name)


def inbox_spec(tenant: str, timing: Timing) -> StreamSpec:
    """Return the inbox of a tenant. It has no age: its reader refuses what is too old."""
    return StreamSpec(
        name=inbox_stream(tenant),
        subjects=(f"cb.{tenant}.submit.>",),
        max_bytes=timing.inbox_max_bytes,
        consumed=True,
        refuse_when_full=True,
        duplicate_window=timing.duplicate_window_seconds,
        dated=True,
    )


def key_value_spec(bucket: str, *, max_bytes: int, history: int = 1) -> StreamSpec:
    """Return the stream below a key-value bucket, as NATS clients lay it out."""
    return StreamSpec(
        name=f"KV_{bucket}",
        subjects=(f"$KV.{bucket}.>",),
        max_bytes=max_bytes,
        per_subject=history,
        refuse_when_full=True,
        key_value=True,
    )


def stream_specs(entities: Iterable[str], timing: Timing) -> tuple[StreamSpec, ...]:
    """Return all streams of a fleet with these entity types, but for the inboxes of tenants."""
    journals = tuple(journal_spec(entity, timing) for entity in entities)
    return (*journals, *_public(timing), *_internal(timing))


def _public(timing: Timing) -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(
            name=RECORDS,
            subjects=("cb.*.record.>",),
            max_bytes=timing.record_max_bytes,
            max_age=_days(timing.record_retention_days),
            per_subject=1,
            lazy=True,
            expires=True,
        ),
        StreamSpec(
            name=EVENTS,
            subjects=("cb.*.events.>",),
            max_bytes=timing.events_max_bytes,
            max_age=_days(timing.events_retention_days),
            lazy=True,
            duplicate_window=timing.duplicate_window_seconds,
            tenants="cb.{tenant}.events.>",
            quota="event_bytes",
        ),
        StreamSpec(
            name=LIVE,
            subjects=("cb.*.stream.*",),
            max_bytes=timing.stream_max_bytes,
            max_age=timing.stream_retention_seconds,
            lazy=True,
            tenants="cb.{tenant}.stream.*",
            quota="stream_bytes",
        ),
    )


def _internal(timing: Timing) -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(
            name=CONVERSATIONS,
            subjects=("_cb.conversation.>",),
            max_bytes=timing.conversation_max_bytes,
            max_age=_days(timing.record_retention_days),
            per_subject=CONVERSATION_TURNS,
            lazy=True,
            expires=True,
        ),
        StreamSpec(
            name=DEAD,
            subjects=("_cb.dead.>",),
            max_bytes=timing.dead_max_bytes,
            max_age=_days(timing.dead_retention_days),
            duplicate_window=timing.duplicate_window_seconds,
            tenants="_cb.dead.{tenant}.>",
            quota="dead_bytes",
        ),
        StreamSpec(
            name=BILLS,
            subjects=("_cb.bill.*",),
            max_bytes=BILL_MAX_BYTES,
            consumed=True,
            duplicate_window=timing.duplicate_window_seconds,
        ),
        StreamSpec(
            name=BLOBS,
            subjects=("_cb.blob.>",),
            max_bytes=BLOB_MAX_BYTES,
            per_subject=1,
            refuse_when_full=True,
            expires=True,
        ),
        StreamSpec(
            name=ARCHIVE,
            subjects=("_cb.archive.>",),
            max_bytes=timing.archive_max_bytes,
            refuse_when_full=True,
        ),
    )


@cache
def _captors() -> tuple[StreamSpec, ...]:
    return stream_specs((), Timing())


def captor(subject: str) -> str:
    """Return the name of the stream that stores a subject, of those every fleet has.

    Raises:
        LookupError: none does.
    """
    for spec in _captors():
        if spec.captures(subject):
            return spec.name
    raise LookupError(subject)


def shared_specs(timing: Timing) -> tuple[StreamSpec, ...]:
    """Return the streams in which each tenant has a share."""
    return tuple(spec for spec in stream_specs((), timing) if spec.tenants)


def filters(specs: Iterable[StreamSpec]) -> tuple[str, ...]:
    """Return every subject filter under which something is stored."""
    return tuple(pattern for spec in specs for pattern in spec.subjects)


def _days(days: float) -> float:
    return days * 86_400


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)
