"""Long arrays of numbers, cut out of the JSON text that holds them.

An answer may hold a million numbers, and a decoder does not pause: so each array is decoded on its
own. What is left of the text is small and is decoded at once. In place of each array stands its
mark, an array of one number, whichever field the array was in.

Strings are not told apart, which would take longer than all the rest: an array of numbers inside a
string is cut out as well, and changes nothing but that string. A server that sends a mark itself
refers to an array of its own.
"""

from typing import NamedTuple

from actors.streaming.core.embeddings.vectors import UnreadableError
from schemas.bounds import MAX_CONTAINERS
from schemas.steps import Steps

LEAST_BYTES = 256
"""Shorter arrays stay where they are."""

_FIRST_MARK = -(2**52)
"""No number that a model would compute, and whole as a float, like those that follow."""

_PAUSE_BYTES = 64 * 1024
_PAUSE_ARRAYS = 64
_ROW = b"0123456789+-.eE, \t\r\n[]"


class Cut(NamedTuple):
    """A text without its long arrays of numbers, and these by the numbers of their marks."""

    rest: bytes
    rows: dict[float, bytes]


def cut(text: bytes, *, most_rest: int, most_row: int) -> Steps[Cut]:
    """Cut out every array of numbers that has from ``LEAST_BYTES`` to ``most_row`` bytes.

    Raises:
        UnreadableError: more than ``most_rest`` bytes are left, or too many arrays.
    """
    rest: list[bytes] = []
    rows: dict[float, bytes] = {}
    start = seen = taken = arrays = paused = 0
    while (end := text.find(b"]", seen) + 1) and seen - taken <= most_rest:
        row = _row(text, text.rfind(b"[", seen, end), end, most_row)
        arrays, seen = arrays + 1, end
        if row:
            mark = _FIRST_MARK + len(rows)
            rest += text[start : end - len(row)], b"[%d]" % mark
            rows[mark] = row
            start, taken = end, taken + len(row)
        if arrays > MAX_CONTAINERS:
            raise UnreadableError("more arrays than there can be vectors")
        if not arrays % _PAUSE_ARRAYS or seen - paused >= _PAUSE_BYTES:
            paused = seen
            yield
    if len(text) - taken > most_rest:
        raise UnreadableError("more than vectors")
    return Cut(b"".join((*rest, text[start:])), rows)


def _row(text: bytes, begin: int, end: int, most: int) -> bytes:
    """Return the array between two brackets if it is long and of numbers alone, or nothing."""
    if begin < 0 or not LEAST_BYTES <= end - begin <= most:
        return b""
    row = text[begin:end]
    return b"" if row.translate(None, _ROW) else row
