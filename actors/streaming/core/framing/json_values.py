"""JSON objects from bytes that have no other framing, however the bytes are cut.

They may be one object over many lines, one object a line, one behind the other, or the items of one
array, as Gemini sends them where nobody asks for events. Once an object has come on a line of its
own, or is seen to be broken, lines are what counts, so that an unreadable one costs no other.
"""

import re
from collections.abc import Iterable, Iterator

from actors.streaming.core.framing.ndjson import MAX_LINE_BYTES, LineTooLargeError, NdjsonParser

_IN_TEXT = re.compile(rb'["\\\n]')
_OUTSIDE = re.compile(rb'["{}\[\]\n]')
_BETWEEN = b" \t\r\n,"
_BEFORE_OBJECT = b"[,:"


class JsonValues:
    """Turn byte chunks into the JSON texts of objects; the same ones for every way of cutting.

    Memory is bounded by ``limit`` bytes and the chunk at hand. A parser that has raised is spent,
    and each feed must be read to its end before the next.
    """

    def __init__(self, *, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._lines: NdjsonParser | None = None
        self._scanned = 0
        self._depth = 0
        self._floor: int | None = None
        """How deep objects stand: 1 within an array, None before the first byte."""
        self._in_text = False
        self._may_be_lines = False

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """Take the next bytes and return the objects they complete.

        Raises:
            LineTooLargeError: an object exceeds the limit.
        """
        return self._cut(chunk) if self._lines is None else self._lines.feed(chunk)

    def finish(self) -> Iterator[bytes]:
        """Say that the stream has ended; yield what is left, which is no object."""
        if self._lines is not None:
            yield from self._lines.finish()
        elif rest := bytes(self._partial).strip(_BETWEEN):
            yield rest

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        return len(self._partial) + (self._lines.held if self._lines else 0)

    def _cut(self, chunk: bytes) -> Iterator[bytes]:
        self._partial += chunk
        while (token := self._token()) is not None:
            self._demand(self._scanned)
            if self._ends(token):
                yield self._value()
            if self._is_broken(token) or (token == b"\n" and self._may_be_lines):
                self._lines = NdjsonParser(limit=self._limit)
                seen, rest = self._partial[: self._scanned], self._partial[self._scanned :]
                lines = bytes(seen.lstrip(_BETWEEN) + rest)
                self._partial.clear()
                yield from self._lines.feed(lines)
                return
        self._strip()
        self._demand(len(self._partial))

    def _token(self) -> bytes | None:
        """Return the next byte that structures the text, None where all were seen."""
        pattern = _IN_TEXT if self._in_text else _OUTSIDE
        match = pattern.search(self._partial, self._scanned)
        if match is None:
            self._scanned = len(self._partial)
            return None
        token = match[0]
        if token == b"\\" and match.end() == len(self._partial):
            self._scanned = match.start()
            return None
        # What an escape protects is no end of a text.
        self._scanned = match.end() + (token == b"\\")
        return token

    def _is_broken(self, token: bytes) -> bool:
        """Whether a token cannot be where it is: a line end in a text, an object behind a value."""
        if token == b"\n":
            return self._in_text
        if token != b"{" or self._in_text or self._depth <= 1 + (self._floor or 0):
            return False
        at = self._scanned - 2
        while at > 0 and self._partial[at] in b" \t\r\n":
            at -= 1
        return self._partial[at] not in _BEFORE_OBJECT

    def _ends(self, token: bytes) -> bool:
        """Follow a token; say whether an object ends with it."""
        if token == b'"':
            self._in_text = not self._in_text
        elif token in b"{[":
            self._may_be_lines = False
            if self._floor is None:
                self._floor = int(token == b"[")
                self._drop() if self._floor else None
            self._depth += 1
        elif token in b"}]" and self._depth > 0:
            self._depth -= 1
            if self._floor == 1 and self._depth == 0:
                self._floor = 0
                self._drop()
                return False
            return self._depth == self._floor
        return False

    def _value(self) -> bytes:
        value = bytes(self._partial[: self._scanned]).lstrip(_BETWEEN)
        self._drop()
        # An empty object has one line in every form.
        self._may_be_lines = self._floor == 0 and b"\n" not in value and b":" in value
        return value

    def _demand(self, size: int) -> None:
        """Refuse what is too large, as soon as so much of it was seen, however it is cut."""
        if size > self._limit and len(self._partial[:size].lstrip(_BETWEEN)) > self._limit:
            raise LineTooLargeError(self._limit)

    def _drop(self) -> None:
        del self._partial[: self._scanned]
        self._scanned = 0

    def _strip(self) -> None:
        """Forget what stands before an object."""
        rest = self._partial.lstrip(_BETWEEN)
        self._scanned -= len(self._partial) - len(rest)
        self._partial = rest
