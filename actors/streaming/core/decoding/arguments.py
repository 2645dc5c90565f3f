"""The JSON text of a tool call's arguments, put together from its pieces.

Some servers send the arguments twice: streamed and then whole, or with an opening brace or an empty
object before the whole. The pieces joined are no JSON then, which is what tells them from honest
ones: text that is JSON as it came is never touched.
"""

import re
from collections.abc import Sequence
from json import JSONDecoder
from typing import Any

import msgspec

from actors.streaming.core.decoding.counts import members
from schemas import bounds

_TRIES = 8
"""Places at which a repetition is looked for; a bound, since each costs a decoding."""

_SPACE = re.compile(r"\s*")
_decoder: bounds.Decoder[Any] = bounds.Decoder()
_scan = JSONDecoder().raw_decode


def text_of(told: object) -> str:
    """Return arguments as text, of servers that send them as an object; "" where none are told.

    What is empty is the default of a field whose pieces are still to come.
    """
    if isinstance(told, str):
        return told
    is_told = bool(told) and isinstance(told, dict | list)
    return msgspec.json.encode(told).decode() if is_told else ""


def is_whole(text: str) -> bool:
    """Whether a text is a JSON object, complete."""
    return text.lstrip()[:1] == "{" and bounds.is_json(text)


def is_same(one: str, other: str) -> bool:
    """Whether two texts are equal JSON objects, however they are spaced and ordered."""
    if not is_whole(one) or not is_whole(other):
        return False
    return _are_equal(_decoder.decode(one), _decoder.decode(other))


def settled(pieces: Sequence[str]) -> str:
    """Return the text of the arguments: the pieces joined, without a repetition among them."""
    text = "".join(pieces)
    if not text or text.lstrip()[:1] != "{" or is_whole(text):
        return text
    return _said_again(text) or _begun_again(pieces) or text


def _said_again(text: str) -> str | None:
    """Return the object that a text consists of, if it says it more than once.

    An empty object before another one was its placeholder.
    """
    found, value, at = "", None, _past_space(text, 0)
    while at < len(text):
        try:
            read, end = _scan(text, at)
        except (ValueError, RecursionError):
            return None
        if found and value != {} and not _are_equal(read, value):
            return None
        if not found or value == {}:
            found, value = text[at:end], read
        at = _past_space(text, end)
    return found if isinstance(value, dict) else None


def _past_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _begun_again(pieces: Sequence[str]) -> str | None:
    """Return the object that the last pieces are, if those before them are only its beginning.

    They are so together, or each for itself: some servers repeat all that came with each piece.
    """
    starts = [at for at, piece in enumerate(pieces) if at and piece.lstrip()[:1] == "{"]
    for at in dict.fromkeys([*starts[: _TRIES // 2], *starts[-_TRIES // 2 :]]):
        again, before = "".join(pieces[at:]).strip(), pieces[:at]
        begun = again.startswith("".join(before).strip())
        if (begun or all(map(again.startswith, before))) and is_whole(again):
            return again
    return None


def _are_equal(one: object, other: object) -> bool:
    """Whether two objects are equal as JSON; 1 and true are not, though Python says so."""
    try:
        return _canonical(one) == _canonical(other)
    except (OverflowError, RecursionError):
        return False


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(members(value), order="sorted")
