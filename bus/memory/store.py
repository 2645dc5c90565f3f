"""Streams in memory: what is published on a subject that one of them captures is kept there."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import anyio

from bus.errors import FencedError
from bus.ports import Stored
from bus.streams.spec import StreamSpec

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def moment(at: float) -> datetime:
    """Return the time of day that is ``at`` on the event loop's clock, virtual or real."""
    return _BEGINNING + timedelta(seconds=at)


class _Kept(NamedTuple):
    at: float
    data: bytes


class _Stream:
    """One stream. Sequences count over all subjects; a lost message's sequence is used again."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.sequence = 0
        self.subjects: dict[str, dict[int, _Kept]] = {}
        self._seen: dict[str, float] = {}

    def keep(self, subject: str, data: bytes, message_id: str | None) -> int:
        now = anyio.current_time()
        if message_id is not None and self._repeats(message_id, now):
            return self.sequence
        self.sequence += 1
        messages = self.subjects.setdefault(subject, {})
        messages[self.sequence] = _Kept(now, data)
        while 0 < self.spec.per_subject < len(messages):
            del messages[next(iter(messages))]
        return self.sequence

    def lose(self, since: float) -> None:
        """Lose what was stored after a moment, as a server that is killed does."""
        for subject, messages in list(self.subjects.items()):
            kept = {sequence: kept for sequence, kept in messages.items() if kept.at <= since}
            self.subjects[subject] = kept
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
        """
        stream = self._streams[name]
        if max(stream.subjects.get(subject, {}), default=0) != expected:
            raise FencedError(subject, expected)
        return stream.keep(subject, data, None)

    def read(self, name: str, subject: str, start: int = 0) -> Iterator[Stored]:
        """Yield what a stream holds of a subject from a sequence on, as it stands now."""
        messages = self._streams[name].subjects.get(subject, {})
        for sequence, kept in list(messages.items()):
            if sequence >= start:
                yield Stored(sequence, kept.data, moment(kept.at).isoformat())

    def everything(self, name: str) -> Iterator[tuple[str, Stored]]:
        """Yield all that a stream holds, with its subjects."""
        for subject in self._streams[name].subjects:
            for stored in self.read(name, subject):
                yield subject, stored

    def last(self, name: str, subject: str) -> Stored | None:
        """Return the newest message of a subject."""
        messages = self._streams[name].subjects.get(subject)
        if not messages:
            return None
        sequence = next(reversed(messages))
        kept = messages[sequence]
        return Stored(sequence, kept.data, moment(kept.at).isoformat())

    def purge(self, name: str, subject: str, below: int) -> None:
        """Remove the messages of a subject below a sequence."""
        messages = self._streams[name].subjects.get(subject, {})
        for sequence in [sequence for sequence in messages if sequence < below]:
            del messages[sequence]

    def restart(self, lost_seconds: float) -> None:
        """Lose what a killed server loses: memory, and the newest messages of lazy streams."""
        since = anyio.current_time() - lost_seconds
        for name, stream in self._streams.items():
            if stream.spec.memory:
                self._streams[name] = _Stream(stream.spec)
            elif stream.spec.lazy:
                stream.lose(since)
