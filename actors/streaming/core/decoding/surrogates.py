"""Decoding JSON in which a character is cut in half, or a number is none.

Servers that cut texts by UTF-16 units write half of an astral character as an escape of its own,
which is JSON by the grammar, but no text. Each half becomes U+FFFD, the mark of what is lost.
Servers in Python write ``NaN`` and ``Infinity``, in usage and probabilities: each becomes null.
"""

import re
from typing import Generic, TypeVar

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


class EventDecoder(Generic[T]):
    """Decodes the events of one type, of a text, or of bytes in which what is no text is U+FFFD.

    Halves of characters, and numbers that are none, are repaired where there are some.
    """

    __slots__ = ("_decode",)

    def __init__(self, kind: type[T]) -> None:
        self._decode = bounds.Decoder(kind).decode

    def decode(self, event: str | bytes) -> T:
        """Decode one event.

        Raises:
            msgspec.DecodeError: it is no JSON, or of another shape.
        """
        data = event if isinstance(event, str) else event.decode("utf-8", "replace")
        try:
            return self._decode(data)
        except msgspec.DecodeError:
            if len(data) > MAX_REPAIRED_CHARACTERS:
                raise
            repaired = _NO_NUMBER.sub(_null, _ESCAPE.sub(_whole, data))
            if repaired == data:
                raise
        return self._decode(repaired)


def _null(token: re.Match[str]) -> str:
    return "null" if token[1] else token[0]


def _whole(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape[1] else escape[0]
