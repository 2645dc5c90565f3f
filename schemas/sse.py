"""Server-sent events from bytes, however the bytes are cut.

The grammar is the one of the WHATWG HTML standard. Lines end at CR, LF or CRLF and nowhere else; a
text API that splits "lines" would also cut at U+2028 and U+0085, which JSON strings may hold. It
differs from the standard where servers do, and where no sound event is read otherwise:

- An event at the end of the stream counts even without its blank line.
- Without a blank line between them, data that is JSON alone ends where the next data begins.
- A line that begins with a brace is data without the word for it.
- JSON that was split in the middle of a string is joined without the line feed.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from schemas.bounds import is_json

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""An event beyond this is refused: the largest honest ones (whole images) stay far below."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_RETRY_DIGITS = 10

_GAP = b"\n\n"
_DATA = b"data: "
_MESSAGE = "message"


class FramingError(ValueError):
    """The bytes are not in their framing, or exceed its bounds. The parser is spent."""


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event. ``name`` is "message" unless the stream says otherwise."""

    data: str
    name: str = "message"
    id: str = ""


def marker(data: str) -> Literal["done", "idle"] | None:
    """Return what data is that is no event: the mark of the end, or a sign of life."""
    text = data.strip().strip('"').lower()
    if text == "[done]":
        return "done"
    return "idle" if text in {"", "null"} else None


class EventTooLargeError(FramingError):
    """An event or a line is larger than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a server-sent event is larger than {limit} bytes")
        self.limit = limit


class SseParser:
    """Turn byte chunks into events; the same events come out for every way of cutting the bytes.

    Memory is bounded by ``limit`` bytes and the chunk at hand. A parser that has raised is spent,
    and each feed must be read to its end before the next.
    ``retry_ms`` is the last reconnection time the server asked for. A stream that goes on where
    another one broke begins with that one's ``last_id`` and ``retry_ms``.
    """

    def __init__(
        self, *, limit: int = MAX_EVENT_BYTES, last_id: str = "", retry_ms: int | None = None
    ) -> None:
        self.retry_ms = retry_ms
        self._limit = limit
        self._partial = bytearray()
        self._after_carriage_return = False
        self._at_start = True
        self._data: list[str] = []
        self._size = 0
        self._name = ""
        self._first_name: str | None = None
        self._is_plain = False
        self._id = last_id

    def feed(self, chunk: bytes) -> Iterable[SseEvent]:
        """Take the next bytes and return the events they complete.

        Raises:
            EventTooLargeError: an event exceeds the limit.
        """
        if not (
            chunk[-2:] == _GAP
            and b"\r" not in chunk
            and self._between_events
            and len(chunk) <= self._limit
        ):
            return self._lines(chunk)
        if chunk[:6] == _DATA and chunk.find(b"\n") == len(chunk) - 2:
            return (SseEvent(chunk[6:-2].decode("utf-8", "replace"), _MESSAGE, self._id),)
        events: list[SseEvent] = []
        for block in chunk[:-2].split(_GAP):
            if block.startswith(_DATA) and b"\n" not in block:
                events.append(SseEvent(block[6:].decode("utf-8", "replace"), _MESSAGE, self._id))
            else:
                events += self._block(block)
        return events

    def _lines(self, chunk: bytes) -> Iterator[SseEvent]:
        if self._after_carriage_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_carriage_return = False
        if not chunk:
            return
        lines = chunk.splitlines()
        rest = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        self._after_carriage_return = chunk.endswith(b"\r")
        if lines and self._partial:
            lines[0] = bytes(self._partial) + lines[0]
            self._partial.clear()
        yield from self._read(lines)
        self._partial += rest
        self._demand(len(self._partial))

    @property
    def last_id(self) -> str:
        """The last id that the server gave, also without data; "" where it gave none."""
        return self._id

    @property
    def _between_events(self) -> bool:
        return (
            not (self._partial or self._data or self._name or self._after_carriage_return)
            and not self._at_start
        )

    def _block(self, block: bytes) -> Iterable[SseEvent]:
        """Read the lines between two blank ones: mostly one of a name and one of data."""
        if block.startswith(b"event: "):
            line, _, data = block.partition(b"\n")
            name = line[7:].decode("utf-8", "replace")
            if name and data.startswith(_DATA) and b"\n" not in data:
                return [SseEvent(data[6:].decode("utf-8", "replace"), name, self._id)]
        return self._read([*block.split(b"\n"), b""])

    def finish(self) -> Iterator[SseEvent]:
        """Say that the stream has ended; yield the last event if it lacked its blank line."""
        last = bytes(self._partial)
        self._partial.clear()
        yield from self._read([last, b""] if last else [b""])

    def _read(self, lines: list[bytes]) -> Iterator[SseEvent]:
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            if not line:
                if self._data:
                    yield SseEvent(self._joined(), self._name or _MESSAGE, self._id)
                self._reset()
                continue
            if self._data and self._ends_before(line):
                yield self._apart()
            self._demand(len(line))
            self._field(line)

    def _joined(self) -> str:
        """Return the data of all lines as one text."""
        text = "\n".join(self._data)
        if len(self._data) > 1 and text[:1] == "{" and not is_json(text):
            unsplit = "".join(self._data)
            return unsplit if is_json(unsplit) else text
        return text

    def _ends_before(self, line: bytes) -> bool:
        """Whether the event at hand is at its end though no blank line came: see the module."""
        if self._is_plain or not _begins_anew(line):
            return False
        if self._data[-1].rstrip()[-1:] not in {"}", "]"}:
            return False
        text = "\n".join(self._data)
        # Asked once an event: for many lines it would cost the square of their number.
        self._is_plain = marker(text) != "done" and not is_json(text)
        return not self._is_plain

    def _apart(self) -> SseEvent:
        """Return the event at hand; a name that came behind its data is the next one's."""
        name, later = self._name, ""
        if self._first_name is not None:
            name, later = self._first_name, self._name
        event = SseEvent(self._joined(), name or _MESSAGE, self._id)
        self._reset()
        self._name = later
        return event

    def _reset(self) -> None:
        self._data.clear()
        self._size = 0
        self._name = ""
        self._first_name = None
        self._is_plain = False

    def _demand(self, line_bytes: int) -> None:
        if self._size + line_bytes > self._limit:
            raise EventTooLargeError(self._limit)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data" or line[:1] == b"{":
            # The whole line counts, or a flood of empty data lines would be free.
            self._size += len(line)
            data = value if name == b"data" else line
            self._data.append(data.decode("utf-8", "replace"))
        elif name == b"event":
            if self._data and self._first_name is None:
                self._first_name = self._name
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < _RETRY_DIGITS:
            self.retry_ms = int(value)


def _begins_anew(line: bytes) -> bool:
    """Whether a line is data that begins with an object, or is the mark of the end."""
    if line[:5] != b"data:":
        return line[:1] == b"{"
    data = line[5:].strip()
    return data[:1] == b"{" or marker(data.decode("utf-8", "replace")) == "done"
