"""Framings that decide by the first bytes what the stream is: whatever its content type says.

Servers answer with one JSON object where a stream was asked for, or with JSON lines that are no
events, on every wire. An event's field name begins with no brace and no bracket, and the length of
a binary message not either: so the first byte that is no white space decides.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from actors.streaming.core.errors.faults import fault
from actors.streaming.core.framing.json_values import JsonValues
from actors.streaming.core.framing.ndjson import MAX_LINE_BYTES, NdjsonParser
from actors.streaming.core.framing.protocol import Framing
from schemas.sse import MAX_EVENT_BYTES, SseEvent, SseParser

E = TypeVar("E")

_BEFORE = b"\xef\xbb\xbf \t\r\n"
"""What says nothing at the beginning: white space and a byte order mark."""

_FIELDS = b"deir:"
"""How the lines of server-sent events begin: data, event, id, retry, comments."""


class EitherFraming(Generic[E]):
    """A wire's usual framing, or JSON objects where the stream begins with one.

    Where the usual one ``is_binary``, its messages may also come as server-sent events.
    ``of_value`` makes events of an object. ``feed`` is the one of what was decided, so that a
    stream as it should be costs nothing more.
    """

    def __init__(
        self,
        usual: Framing[E],
        of_value: Callable[[bytes], Iterable[E]],
        *,
        limit: int = MAX_LINE_BYTES,
        is_binary: bool = False,
    ) -> None:
        self._usual = usual
        self._is_binary = is_binary
        self._events = SseParser(limit=limit)
        self._of_value = of_value
        self._values = JsonValues(limit=limit)
        self.feed: Callable[[bytes], Iterable[E]] = self._undecided
        """Take the next bytes and return the events they complete; raises FramingError."""
        self.finish: Callable[[], Iterable[E]] = usual.finish
        """Say that the stream has ended; return what was complete but for its end."""

    def _undecided(self, chunk: bytes) -> Iterable[E]:
        rest = chunk.lstrip(_BEFORE)
        if rest[:1] in {b"{", b"["}:
            self.feed, self.finish = self._read, self._end
            return self._read(rest)
        if rest and self._is_binary and rest[0]:
            return self._text(rest)
        if rest:
            self.feed = self._usual.feed
        return self._usual.feed(chunk)

    def _text(self, rest: bytes) -> Iterable[E]:
        """Take a text in the place of binary messages, whose first byte is 0: events, or nothing.

        Raises:
            ProviderFaultError: ``provider_error``, it is another text, such as a proxy's page.
        """
        if rest[0] not in _FIELDS:
            raise fault("provider_error", "The provider sent something that is no stream.")
        self.feed, self.finish = self._of_events, self._last_event
        return self._of_events(rest)

    def _of_events(self, chunk: bytes) -> Iterator[E]:
        for event in self._events.feed(chunk):
            yield from self._of_value(event.data.encode())

    def _last_event(self) -> Iterator[E]:
        for event in self._events.finish():
            yield from self._of_value(event.data.encode())

    def _read(self, chunk: bytes) -> Iterator[E]:
        for value in self._values.feed(chunk):
            yield from self._of_value(value)

    def _end(self) -> Iterator[E]:
        for value in self._values.finish():
            yield from self._of_value(value)


def event_framing(*, limit: int = MAX_EVENT_BYTES) -> EitherFraming[SseEvent]:
    """Return the framing of a wire of server-sent events."""
    return EitherFraming(SseParser(limit=limit), as_event, limit=limit)


class LineFraming:
    """The framing of a wire of JSON lines, which may also come as server-sent events."""

    def __init__(self) -> None:
        self._values = JsonValues()
        self._events = SseParser()
        self._lines = NdjsonParser()
        self.feed: Callable[[bytes], Iterable[bytes]] = self._undecided
        """Take the next bytes and return the lines they complete; raises FramingError."""
        self.finish: Callable[[], Iterable[bytes]] = self._lines.finish
        """Say that the stream has ended; return what was complete but for its end."""

    def _undecided(self, chunk: bytes) -> Iterable[bytes]:
        rest = chunk.lstrip(_BEFORE)
        if not rest:
            return ()
        if rest[:1] in {b"{", b"["}:
            self.feed, self.finish = self._values.feed, self._values.finish
        elif rest[0] in _FIELDS:
            self.feed, self.finish = self._of_events, self._last_event
        else:
            self.feed = self._lines.feed
        return self.feed(rest)

    def _of_events(self, chunk: bytes) -> Iterator[bytes]:
        return (event.data.encode() for event in self._events.feed(chunk))

    def _last_event(self) -> Iterator[bytes]:
        return (event.data.encode() for event in self._events.finish())


def as_event(value: bytes) -> tuple[SseEvent]:
    """Return an object as the data of an event without a name."""
    return (SseEvent(value.decode("utf-8", "replace")),)
