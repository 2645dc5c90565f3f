"""What stands outside the strings of a JSON text, found piece by piece.

All is done by functions of ``bytes``, some nanoseconds a byte, and in time linear in the length.
Between two pieces there is a pause: see ``schemas.steps``.
"""

import re
from typing import NamedTuple

from schemas.steps import Steps

PIECE_BYTES = 128 * 1024
"""What is looked at between two pauses: a few milliseconds' work at the worst."""

MAX_INTEGER = 2**63 - 1
"""The greatest integer, and with a minus the least: what a column of 64 bits holds."""


class Outside(NamedTuple):
    """The brackets of a JSON text, and its numbers with the commas between them.

    ``strings`` and ``commas`` count. Where one exceeds its bound the rest was not looked at.
    """

    brackets: bytes
    numbers: bytes
    strings: int
    commas: int


def outside(data: bytes, *, most_strings: int, most_commas: int) -> Steps[Outside]:
    """Return what stands outside the strings of a JSON text.

    A text that is malformed reads the same up to there, where the decoder stops.
    """
    brackets: list[bytes] = []
    numbers: list[bytes] = []
    quotes = commas = start = 0
    while start < len(data) and quotes <= 2 * most_strings and commas <= most_commas:
        end = _end(data, start)
        # Behind escaped backslashes and quotes, each quote begins or ends a string.
        parts = _without_escapes(data[start:end]).split(b'"')
        plain = b"".join(parts[quotes % 2 :: 2])
        quotes += len(parts) - 1
        brackets.append(plain.translate(None, _NO_BRACKET))
        numbers.append(plain.translate(_NUMBERS, _NO_NUMBER))
        commas += numbers[-1].count(b",")
        if (start := end) < len(data):
            yield
    return Outside(b"".join(brackets), b"".join(numbers), quotes // 2, commas)


def holds_out_of_range(numbers: bytes) -> Steps[bool]:
    """Say whether there is an integer that 64 bits with a sign cannot hold, see ``Outside``."""
    start, numbers = 0, b"," + numbers
    while start < len(numbers):
        end = numbers.find(b",", start + PIECE_BYTES)
        end = end if end > 0 else len(numbers)
        piece = numbers[start:end]
        if _LONG_NUMBER in piece.translate(_DIGITS) and _OUT_OF_RANGE.search(piece):
            return True
        if (start := end) < len(numbers):
            yield
    return False


def may_be_out_of_range(text: bytes) -> bool:
    """Say at once whether a short text, strings and all, has enough digits in a row."""
    return _LONG_NUMBER in text.translate(_DIGITS)


def _end(data: bytes, start: int) -> int:
    """Return where a piece ends; what a backslash protects is in the same one."""
    end = min(start + PIECE_BYTES, len(data))
    if data[end - 1 : end] != b"\\" or end == len(data):
        return end
    piece = data[start:end]
    return end - (len(piece) - len(piece.rstrip(b"\\"))) % 2


def _without_escapes(piece: bytes) -> bytes:
    return piece.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in piece else piece


def _greater(digits: str) -> str:
    """Return a pattern of the numbers of as many digits that are greater."""
    if not digits:
        return "(?!)"
    first, rest = digits[0], digits[1:]
    same = f"{first}(?:{_greater(rest)})"
    return same if first == "9" else f"[{int(first) + 1}-9][0-9]{{{len(rest)}}}|{same}"


_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_NUMBERS = bytes.maketrans(b"eE", b"..")
_NO_NUMBER = bytes(set(range(256)) - set(b"0123456789.,+-eE"))
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_MOST_DIGITS = len(str(MAX_INTEGER))
_LONG_NUMBER = b"0" * _MOST_DIGITS
# In JSON each number stands behind a comma, where all that is no number was taken away. An exponent
# follows a point, as the e was made one, and a point follows what is no integer.
# The greatest integer itself is common, and is compared at once.
_OUT_OF_RANGE = re.compile(
    rf",-?(?!{MAX_INTEGER},)"
    rf"(?:[0-9]{{{_MOST_DIGITS + 1},}}+|{_greater(str(MAX_INTEGER))})(?![0-9.])".encode()
)
