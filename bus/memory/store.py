"""Streams in memory: what is published on a subject that one of them captures is kept there."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import anyio

from bus.errors import FencedError, FullError
from bus.ports import Fill, StoredMessage
from bus.streams.spec import StreamSpec
from bus.subjects import matches
from schemas.decision import Left

MESSAGE_BYTES = 100
"""What a server stores with a message: its subject, a header, its place and time."""

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def moment(at: float) -> datetime:
    """Return the time of day that is ``at`` on the event loop's clock, virtual or real."""
    return _BEGINNING + timedelta(seconds=at)


class _Kept(NamedTuple):
    at: float
    data: bytes


def _size(data: bytes) -> int:
    return len(data) + MESSAGE_BYTES


class _Stream:
    """One stream. Sequences count over all subjects; a lost message's sequence is used again."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.sequence = 0
        self.bytes = 0
        self.subjects: dict[str, dict[int, _Kept]] = {}
        self._seen: dict[str, float] = {}

    def keep(self, subject: str, data: bytes, message_id: str | None) -> int:
        now = anyio.current_time()
        if message_id is not None and self._repeats(message_id, now):
            return self.sequence
        self.sequence += 1
        messages = self.subjects.setdefault(subject, {})
        messages[self.sequence] = _Kept(now, data)
        self.bytes += _size(data)
        while 0 < self.spec.per_subject < len(messages):
            self.bytes -= _size(messages.pop(next(iter(messages))).data)
        return self.sequence

    def has_room(self, data: bytes) -> bool:
        return not self.spec.refuse_when_full or self.bytes + _size(data) <= self.spec.max_bytes

    def purge(self, subject: str, below: int) -> None:
        messages = self.subjects.get(subject, {})
        for sequence in [sequence for sequence in messages if sequence < below]:
            self.bytes -= _size(messages.pop(sequence).data)

    def erase(self, left: Left) -> None:
        messages = self.subjects.get(left.subject, {})
        is_its = left.is_its
        gone = [place for place, kept in messages.items() if is_its is None or is_its(kept.data)]
        for sequence in gone:
            self.bytes -= _size(messages.pop(sequence).data)

    def lose(self, since: float) -> None:
        """Lose what was stored after a moment, as a server that is killed does."""
        for subject, messages in list(self.subjects.items()):
            kept = {sequence: kept for sequence, kept in messages.items() if kept.at <= since}
            self.subjects[subject] = kept
        self.bytes = sum(
            _size(kept.data) for each in self.subjects.values() for kept in each.values()
        )
        self.sequence = max((max(kept, default=0) for kept in self.subjects.values()), default=0)
        self._seen = {name: at for name, at in self._seen.items() if at <= since}

    def _repeats(self, message_id: str, now: float) -> bool:
        oldest = now - self.spec.duplicate_window
        while self._seen and next(iter(self._seen.values())) < oldest:
            del self._seen[next(iter(self._seen))]
        if message_id in self._seen:
            return True
        self._seen[message_id] = now
        return False


class MemoryStore:
    """The streams of a bus. Honours filters, messages per subject and message ids; nothing ages."""

    def __init__(self, specs: Iterable[StreamSpec] = ()) -> None:
        self._streams = {spec.name: _Stream(spec) for spec in specs}
        self._captured: dict[str, str | None] = {}

    def provide(self, spec: StreamSpec) -> None:
        """Add a stream if there is none of its name."""
        if spec.name not in self._streams:
            self._streams[spec.name] = _Stream(spec)
            self._captured.clear()

    def keep(self, subject: str, data: bytes, *, message_id: str | None = None) -> bool:
        """Store a message if a stream captures its subject; say whether one did."""
        if subject not in self._captured:
            self._captured[subject] = self._captor(subject)
        name = self._captured[subject]
        if name is not None:
            self._streams[name].keep(subject, data, message_id)
        return name is not None

    def _captor(self, subject: str) -> str | None:
        """Return the name of the stream that captures a subject."""
        captors = (name for name, each in self._streams.items() if each.spec.captures(subject))
        return next(captors, None)

    def append(self, name: str, subject: str, data: bytes, expected: int) -> int:
        """Store a message if the subject's last sequence is ``expected``.

        Raises:
            FencedError: it is another one.
            FullError: there is no room.
        """
        stream = self._streams[name]
        if max(stream.subjects.get(subject, {}), default=0) != expected:
            raise FencedError(subject, expected)
        if not stream.has_room(data):
            raise FullError(subject, "maximum bytes exceeded")
        return stream.keep(subject, data, None)

    def read(self, name: str, subject: str, start: int = 0) -> Iterator[StoredMessage]:
        """Yield what a stream holds of a subject from a sequence on, as it stands now.

        Of all subjects that match, where it has wildcards.
        """
        subjects = self._streams[name].subjects
        found = dict(subjects.get(subject, {}))
        if "*" in subject or ">" in subject:
            matching = [each for key, each in subjects.items() if matches(subject, key)]
            found = dict(sorted(item for each in matching for item in each.items()))
        for sequence, kept in found.items():
            if sequence >= start:
                yield StoredMessage(sequence, kept.data, moment(kept.at).isoformat())

    def everything(self, name: str) -> Iterator[tuple[str, StoredMessage]]:
        """Yield all that a stream holds, with its subjects."""
        for subject in self._streams[name].subjects:
            for stored in self.read(name, subject):
                yield subject, stored

    def last(self, name: str, subject: str) -> StoredMessage | None:
        """Return the newest message of a subject."""
        messages = self._streams[name].subjects.get(subject)
        if not messages:
            return None
        sequence = next(reversed(messages))
        kept = messages[sequence]
        return StoredMessage(sequence, kept.data, moment(kept.at).isoformat())

    def purge(self, name: str, subject: str, below: int) -> None:
        """Remove the messages of a subject below a sequence."""
        self._streams[name].purge(subject, below)

    def erase(self, left: Left) -> None:
        """Remove what a deleted entity has left."""
        name = self._captor(left.subject)
        if name is not None:
            self._streams[name].erase(left)

    def first(self, name: str, subject: str, since: datetime | None) -> StoredMessage | None:
        """Return the oldest message of a subject, or the oldest since a moment."""
        for sequence, kept in self._streams[name].subjects.get(subject, {}).items():
            if since is None or moment(kept.at) >= since:
                return StoredMessage(sequence, kept.data, moment(kept.at).isoformat())
        return None

    def newest(self, name: str) -> int:
        """Return the newest sequence of a stream, 0 where there is none."""
        stream = self._streams.get(name)
        return stream.sequence if stream else 0

    def weigh(self, name: str, size: int) -> None:
        """Count so many bytes more that lie in a stream beside its messages."""
        if name in self._streams:
            self._streams[name].bytes += size

    def fill(self, name: str) -> Fill:
        """Say how full a stream is; one that there is not has no bound."""
        stream = self._streams.get(name)
        return Fill(stream.bytes, stream.spec.max_bytes) if stream else Fill(0, 0)

    def restart(self, lost_seconds: float) -> None:
        """Lose what a killed server loses: the newest messages of lazy streams."""
        since = anyio.current_time() - lost_seconds
        for stream in self._streams.values():
            if stream.spec.lazy:
                stream.lose(since)
