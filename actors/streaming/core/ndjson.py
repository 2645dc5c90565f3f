"""Lines of newline-delimited JSON from bytes, however the bytes are cut.

A line ends at LF; a CR before it belongs to the line end, and lines without content are nothing.
Text APIs that split "lines" would also cut at U+2028 and U+0085, which JSON strings may hold.
"""

MAX_LINE_BYTES = 8 * 1024 * 1024
"""A line beyond this is refused: the largest honest ones stay far below."""


class LineTooLargeError(ValueError):
    """A line is larger than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a line is larger than {limit} bytes")
        self.limit = limit


class NdjsonParser:
    """Turn byte chunks into lines; the same lines come out for every way of cutting the bytes.

    Memory is bounded by ``limit`` bytes and the chunk at hand. A parser that has raised is spent.
    """

    def __init__(self, *, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the lines they complete, without their ends.

        Raises:
            LineTooLargeError: a line exceeds the limit.
        """
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._partial) + lines[0]
            self._partial.clear()
        self._partial += rest
        for line in (*lines, self._partial):
            if len(line) > self._limit:
                raise LineTooLargeError(self._limit)
        return _filled(lines)

    def finish(self) -> list[bytes]:
        """Say that the stream has ended; return the last line if it lacked its end."""
        last = bytes(self._partial)
        self._partial.clear()
        return _filled([last])


def _filled(lines: list[bytes]) -> list[bytes]:
    return [stripped for line in lines if (stripped := line.strip())]
