"""Bodies packed with gzip or deflate, unpacked a piece at a time."""

import zlib
from typing import Protocol

from bus.http.errors import HttpBrokenError, HttpTooLargeError
from bus.http.limits import PIECE_BYTES

_DEFLATED = 8
_TELLING_BYTES = 2

_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
PLAIN = frozenset({"", "identity"})
"""Values of ``Content-Encoding`` with which a body is as it is."""


class Unpacker(Protocol):
    """The part of zlib's object that is used."""

    @property
    def eof(self) -> bool:
        """Whether the end of the packed data was seen."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What comes behind the packed data."""
        ...

    @property
    def unconsumed_tail(self) -> bytes:
        """What was left because the output was full."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Unpack, into at most so many bytes."""
        ...


class BodyDecoder:
    """Unpacks one body of at most ``most`` bytes, whatever it is cut into."""

    def __init__(self, *, most: int) -> None:
        self._left = most
        self._waiting = b""
        self._unpacker: Unpacker | None = None

    def feed(self, data: bytes) -> None:
        """Add packed bytes; ``take`` returns what is in them."""
        self._waiting += data

    def take(self) -> bytes:
        """Return at most a piece of what is unpacked; b"" if more must come.

        Raises:
            HttpBrokenError: this is not packed so.
            HttpTooLargeError: there is more in it than allowed.
        """
        while (unpacker := self._current()) is not None:
            packed = self._waiting
            try:
                data = unpacker.decompress(packed, PIECE_BYTES)
            except zlib.error:
                raise HttpBrokenError("The body cannot be unpacked.") from None
            self._waiting = unpacker.unused_data or unpacker.unconsumed_tail
            if data or not packed:
                return self._counted(data)
        return b""

    def finish(self) -> None:
        """Demand that the body is whole.

        Raises:
            HttpBrokenError: it is cut off.
        """
        if self._waiting or not (self._unpacker is None or self._unpacker.eof):
            raise HttpBrokenError("The packed body is cut off.")

    def _current(self) -> "Unpacker | None":
        """Return what unpacks the next bytes; None where they are too few to tell."""
        if self._unpacker is not None and not self._unpacker.eof:
            return self._unpacker
        # At the start, or behind a member of a gzip body that has several (RFC 1952, section 2.2).
        if len(self._waiting) < _TELLING_BYTES:
            return None
        self._unpacker = zlib.decompressobj(_window(self._waiting[0], self._waiting[1]))
        return self._unpacker

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise HttpTooLargeError("The unpacked body is too large.")
        return data


def body_decoder(encoding: str, *, most: int) -> BodyDecoder:
    """Return what unpacks a body of this ``Content-Encoding``.

    Raises:
        HttpBrokenError: it is packed in another way, which the client has not asked for.
    """
    kind = encoding.strip().lower()
    if kind in _PACKED:
        return BodyDecoder(most=most)
    raise HttpBrokenError("The body is packed in a way that was not asked for.")


def _window(first: int, second: int) -> int:
    """Tell gzip and zlib from bare deflate data, which some servers send as ``deflate``."""
    is_gzip = (first, second) == (0x1F, 0x8B)
    # The header of zlib names method 8 and is a multiple of 31 (RFC 1950, section 2.2).
    is_zlib = first & 0x0F == _DEFLATED and (first * 256 + second) % 31 == 0
    return 32 + zlib.MAX_WBITS if is_gzip or is_zlib else -zlib.MAX_WBITS
