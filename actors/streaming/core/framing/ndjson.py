"""Lines of newline-delimited JSON from bytes, however the bytes are cut.

A line ends at LF; a CR before it belongs to the line end, and lines without content are nothing.
Text APIs that split "lines" would also cut at U+2028 and U+0085, which JSON strings may hold.
"""

from collections.abc import Iterator

from schemas.sse import FramingError

MAX_LINE_BYTES = 8 * 1024 * 1024
"""A line beyond this is refused: the largest honest ones stay far below."""


class LineTooLargeError(FramingError):
    """A line is larger than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a line is larger than {limit} bytes")
        self.limit = limit


class NdjsonParser:
    """Turn byte chunks into lines; the same lines come out for every way of cutting the bytes.

    Memory is bounded by ``limit`` bytes and the chunk at hand. A parser that has raised is spent,
    and each feed must be read to its end before the next.
    """

    def __init__(self, *, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        return len(self._partial)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes and yield the lines they complete, without their ends.

        Raises:
            LineTooLargeError: a line exceeds the limit.
        """
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._partial += line
            yield from self._line()
        self._partial += rest
        self._demand()

    def finish(self) -> Iterator[bytes]:
        """Say that the stream has ended; yield the last line if it lacked its end."""
        yield from self._line()

    def _line(self) -> Iterator[bytes]:
        self._demand()
        line = bytes(self._partial).strip()
        self._partial.clear()
        if line:
            yield line

    def _demand(self) -> None:
        if len(self._partial) > self._limit:
            raise LineTooLargeError(self._limit)
