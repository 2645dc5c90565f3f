"""Decoding JSON in which a character is cut in half, or a number is none.

Servers that cut texts by UTF-16 units write half of an astral character as an escape of its own,
which is JSON by the grammar, but no text. Each half becomes U+FFFD, the mark of what is lost.
Servers in Python write ``NaN`` and ``Infinity``, in usage and probabilities: each becomes null.
"""

import re
from typing import TypeVar

import msgspec

from schemas import bounds

T = TypeVar("T")

MAX_REPAIRED_CHARACTERS = 256 * 1024
"""Larger texts are not repaired: each of their escapes would be looked at, which takes long."""

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

_NO_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\b(NaN|Infinity)\b', re.DOTALL)


def decode(decoder: bounds.Decoder[T], data: str) -> T:
    """Decode, repairing halves of characters, and numbers that are none, where there are some.

    Raises:
        msgspec.DecodeError: the text is no JSON, or of another shape.
    """
    try:
        return decoder.decode(data)
    except msgspec.DecodeError:
        if len(data) > MAX_REPAIRED_CHARACTERS:
            raise
        repaired = _NO_NUMBER.sub(_null, _ESCAPE.sub(_whole, data))
        if repaired == data:
            raise
    return decoder.decode(repaired)


def _null(token: re.Match[str]) -> str:
    return "null" if token[1] else token[0]


def _whole(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape[1] else escape[0]
