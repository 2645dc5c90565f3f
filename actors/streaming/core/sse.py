"""Server-sent events from bytes, however the bytes are cut.

The grammar is the one of the WHATWG HTML standard, with one difference: an event at the end of the
stream counts even without its blank line, because servers leave it out. Lines end at CR, LF or CRLF
and nowhere else; a text API that splits "lines" would also cut at U+2028 and U+0085, which JSON
strings may hold.
"""

from collections.abc import Iterable, Iterator

import msgspec

from actors.streaming.core.framing import FramingError

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""An event beyond this is refused: the largest honest ones (whole images) stay far below."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_RETRY_DIGITS = 10

_GAP = b"\n\n"
_DATA = b"data: "
_MESSAGE = "message"


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event. ``name`` is "message" unless the stream says otherwise."""

    data: str
    name: str = "message"
    id: str = ""


class EventTooLargeError(FramingError):
    """An event or a line is larger than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a server-sent event is larger than {limit} bytes")
        self.limit = limit


class SseParser:
    """Turn byte chunks into events; the same events come out for every way of cutting the bytes.

    Memory is bounded by ``limit`` bytes and the chunk at hand. A parser that has raised is spent,
    and each feed must be read to its end before the next.
    ``retry_ms`` is the last reconnection time the server asked for.
    """

    def __init__(self, *, limit: int = MAX_EVENT_BYTES) -> None:
        self.retry_ms: int | None = None
        self._limit = limit
        self._partial = bytearray()
        self._after_carriage_return = False
        self._at_start = True
        self._data: list[str] = []
        self._size = 0
        self._name = ""
        self._id = ""

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
            if line:
                self._demand(len(line))
                self._field(line)
            elif self._data:
                event = SseEvent("\n".join(self._data), self._name or "message", self._id)
                self._reset()
                yield event
            else:
                self._reset()

    def _reset(self) -> None:
        self._data.clear()
        self._size = 0
        self._name = ""

    def _demand(self, line_bytes: int) -> None:
        if self._size + line_bytes > self._limit:
            raise EventTooLargeError(self._limit)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            # The whole line counts, or a flood of empty data lines would be free.
            self._size += len(line)
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < _RETRY_DIGITS:
            self.retry_ms = int(value)
