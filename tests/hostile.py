"""Values that somebody may send who means harm, put in the place of each field of a message."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from schemas.bounds import MAX_DEPTH

MARK = "@hostile@"


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]", inner: bytes = b"") -> bytes:
    """Return so many arrays, or objects, within each other."""
    return opening * depth + inner + closing * depth


FRAGMENTS: dict[str, bytes] = {
    "nested within the bound": nested(MAX_DEPTH - 12),
    "objects within the bound": nested(MAX_DEPTH - 12, b'{"k":', b"}", b"1"),
    "nested to the bound": nested(MAX_DEPTH),
    "nested beyond the bound": nested(MAX_DEPTH + 1),
    "nested beyond all reading": nested(972, b'{"k":', b"}", b"1"),
    "never closed": b"[" * 3000,
    "a huge text": b'"%b"' % (b"x" * 5_000),
    "a huge integer": b"9" * 400,
    "an integer of 5000 digits": b"-" + b"1" * 5000,
    "an integer of 65 bits": b"18446744073709551616",
    "an integer of 64 bits": b"9223372036854775808",
    "the greatest integer": b"9223372036854775807",
    "the least integer": b"-9223372036854775807",
    "an exponent that overflows": b"-1e400",
    "an exponent that vanishes": b"1e-400",
    "a fraction of 5000 digits": b"0." + b"1" * 5000,
    "minus zero": b"-0.0",
    "NaN": b"NaN",
    "infinity": b"Infinity",
    "half a surrogate pair": b'"\\ud83d"',
    "a pair the wrong way round": b'"\\ude00\\ud83d"',
    "a null character": b'"a\\u0000b"',
    "control characters": b'"\\u001b]0;x\\u0007\\u009b2J\\r\\n\\u202e"',
    "a bare control character": b'"\x01"',
    "bytes that are no text": b'"\xff\xfe"',
    "a text that ends with a line feed": b'"1.2\\n"',
    "digits of another script": '"١٢.٣"'.encode(),
    "a subject's wildcards": b'"a.*.>"',
    "nothing": b"null",
    "true": b"true",
    "a number": b"7",
    "an empty text": b'""',
    "an empty list": b"[]",
    "an empty object": b"{}",
    "keys that are strange": b'{"":1,"\\u0000":2,"type":"x","$where":3}',
    "a key twice": b'{"a":1,"a":[2]}',
}
"""JSON by name; some of it is none."""


def places(
    value: Any, whole: Collection[bytes] = (), before: tuple[Any, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field and item in a plain object, but for those in ``whole`` ones."""
    inner: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, Mapping):
        inner = iter(value.items())
    elif isinstance(value, list):
        inner = iter(enumerate(value))
    for step, each in inner:
        yield (*before, step)
        if not whole or msgspec.json.encode(each) not in whole:
            yield from places(each, whole, (*before, step))


def marked(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a plain object with the mark at a place."""
    if not path:
        return MARK
    if isinstance(value, Mapping):
        return {**value, path[0]: marked(value[path[0]], path[1:])}
    return [marked(each, path[1:]) if at == path[0] else each for at, each in enumerate(value)]


def texts(plain: Any, whole: Collection[bytes] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield JSON texts of an object, each with one hostile value in one place, with its name.

    Objects in it that are encoded as one of ``whole`` are taken as one value.
    """
    for path in places(plain, whole):
        text = msgspec.json.encode(marked(plain, path))
        before, _, after = text.partition(f'"{MARK}"'.encode())
        for name, fragment in FRAGMENTS.items():
            yield name, before + fragment + after


def depth(text: bytes) -> int:
    """Return how deep a text is nested, by a slow way of its own."""
    level = most = 0
    inside = escaped = False
    for byte in text:
        if inside:
            escaped, inside = byte == 92 and not escaped, escaped or byte != 34
        elif byte == 34:
            inside = True
        elif byte in b"[{":
            level += 1
            most = max(most, level)
        elif byte in b"]}":
            level -= 1
    return most
