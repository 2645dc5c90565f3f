"""Messages of ``application/vnd.amazon.eventstream`` from bytes, however the bytes are cut.

A message is a prelude (its length, the length of its headers, a checksum of both), headers, a
payload, and a checksum of all before. Numbers are big-endian, checksums are CRC-32. Source: the
AWS event stream encoding, as botocore's ``eventstream`` module reads it; so are the bounds, but for
the payload's, which is ours.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from struct import Struct, error
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

from schemas.sse import FramingError

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""A payload beyond this is refused. The protocol allows 24 MiB; no model's event comes near."""

HeaderValue = bool | int | bytes | str
"""A timestamp is an int, in milliseconds since 1970; a UUID is its 16 bytes."""

_PRELUDE = Struct("!III")
_CHECKSUM = Struct("!I")
_BYTE = Struct("!B")
_LENGTH = Struct("!H")

_FRAME_BYTES = _PRELUDE.size + _CHECKSUM.size
_CHECKED_PRELUDE_BYTES = _PRELUDE.size - _CHECKSUM.size

_REMEMBERED, _REMEMBERED_BYTES = 64, 512
"""Blocks of headers, and the most bytes that one of them may have to be remembered."""

_CONSTANTS = {0: True, 1: False}
_INTEGERS = {2: Struct("!b"), 3: Struct("!h"), 4: Struct("!i"), 5: Struct("!q"), 8: Struct("!q")}
_BYTES, _TEXT, _UUID = 6, 7, 9
_UUID_BYTES = 16


class EventStreamError(FramingError):
    """The bytes are no event stream, in the way that ``reason`` says, or exceed its bounds."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"broken event stream: {reason}")
        self.reason = reason


class EventMessage(NamedTuple):
    """One message. ``headers`` hold its kind under names that begin with a colon."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class EventStreamParser:
    """Turn byte chunks into messages; the same come out for every way of cutting the bytes.

    Memory is bounded by one message, whose payload has at most ``limit`` bytes, and the chunk at
    hand. A parser that has raised is spent, and each feed must be read to its end before the next.
    """

    def __init__(self, *, limit: int = MAX_PAYLOAD_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._needed = _PRELUDE.size

    def feed(self, chunk: bytes) -> Iterator[EventMessage]:
        """Take the next bytes and yield the messages they complete.

        Raises:
            EventStreamError: a checksum is wrong, a bound is exceeded, or headers make no sense.
        """
        self._buffer += chunk
        start = 0
        while len(self._buffer) - start >= self._needed:
            if self._needed == _PRELUDE.size:
                self._needed = _demand_prelude(self._buffer, start, self._limit)
            else:
                end = start + self._needed
                yield _message(bytes(self._buffer[start:end]))
                start, self._needed = end, _PRELUDE.size
        del self._buffer[:start]

    def finish(self) -> Iterator[EventMessage]:
        """Say that the stream has ended. What is left is part of a message, and so nothing."""
        self._buffer.clear()
        return iter(())


def _demand_prelude(buffer: bytearray, start: int, limit: int) -> int:
    """Return how many bytes the message at ``start`` has, once its prelude is known to be sound."""
    length, headers, checksum = _PRELUDE.unpack_from(buffer, start)
    if crc32(buffer[start : start + _CHECKED_PRELUDE_BYTES]) != checksum:
        raise EventStreamError("the checksum of a prelude is wrong")
    if headers > MAX_HEADERS_BYTES:
        raise EventStreamError("the headers of a message are too large")
    payload = length - headers - _FRAME_BYTES
    if payload < 0:
        raise EventStreamError("a message is shorter than its headers")
    if payload > limit:
        raise EventStreamError("a message is too large")
    return length


def _message(frame: bytes) -> EventMessage:
    end = len(frame) - _CHECKSUM.size
    (checksum,) = _CHECKSUM.unpack_from(frame, end)
    if crc32(frame[:end]) != checksum:
        raise EventStreamError("the checksum of a message is wrong")
    _, headers, _ = _PRELUDE.unpack_from(frame)
    body = _PRELUDE.size + headers
    block = frame[_PRELUDE.size : body]
    read = _headers_again if headers <= _REMEMBERED_BYTES else _headers
    return EventMessage(read(block), frame[body:end])


@lru_cache(maxsize=_REMEMBERED)
def _headers_again(block: bytes) -> Mapping[str, HeaderValue]:
    """Read headers, remembering the last ones: those of a stream's events are mostly the same."""
    return MappingProxyType(_headers(block))


def _headers(block: bytes) -> dict[str, HeaderValue]:
    found: dict[str, HeaderValue] = {}
    place = 0
    while place < len(block):
        name, place = _text(block, place, _BYTE)
        value, place = _value(block, place)
        if name in found:
            raise EventStreamError("a header comes twice")
        found[name] = value
    return found


def _value(block: bytes, place: int) -> tuple[HeaderValue, int]:
    kind, place = _number(block, place, _BYTE)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], place
    if kind in _INTEGERS:
        return _number(block, place, _INTEGERS[kind])
    if kind in _VALUES:
        return _VALUES[kind](block, place)
    raise EventStreamError("a header has an unknown type")


def _number(block: bytes, place: int, form: Struct) -> tuple[int, int]:
    try:
        (number,) = form.unpack_from(block, place)
    except error:
        raise EventStreamError("the headers are cut short") from None
    return number, place + form.size


def _bytes(block: bytes, place: int, form: Struct = _LENGTH) -> tuple[bytes, int]:
    """Read bytes whose length stands before them."""
    length, place = _number(block, place, form)
    return _slice(block, place, length)


def _text(block: bytes, place: int, form: Struct = _LENGTH) -> tuple[str, int]:
    raw, place = _bytes(block, place, form)
    try:
        return raw.decode(), place
    except UnicodeDecodeError:
        raise EventStreamError("a header is no UTF-8") from None


def _uuid(block: bytes, place: int) -> tuple[bytes, int]:
    return _slice(block, place, _UUID_BYTES)


def _slice(block: bytes, place: int, length: int) -> tuple[bytes, int]:
    end = place + length
    if end > len(block):
        raise EventStreamError("the headers are cut short")
    return block[place:end], end


_VALUES: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    _BYTES: _bytes,
    _TEXT: _text,
    _UUID: _uuid,
}
