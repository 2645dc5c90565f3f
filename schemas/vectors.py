"""Vectors as they are stored, and as JSON. Pure.

Stored they are little-endian numbers of 32 bits, one vector after another, in parts of whole
vectors. JSON has ``DIGITS`` of each number: what 32 bits hold, and short.
"""

import math
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from schemas.steps import Steps

NUMBER_BYTES = 4

PART_BYTES = 2 * 1024**2
"""Of a part, unless one vector alone has more."""

DIGITS = 8

_FORMAT = f"%.{DIGITS}g,"
_PAUSE_NUMBERS = 2048


class Range(NamedTuple):
    """The vectors of a part that are wanted: ``stop`` is the first that is not."""

    part: int
    start: int
    stop: int


def packed(vector: Sequence[float]) -> bytes:
    """Return a vector as it is stored.

    Raises:
        ValueError: a number is not finite, in 32 bits.
    """
    try:
        data = _form(len(vector)).pack(*vector)
    except OverflowError:
        raise ValueError("a number that is not finite") from None
    # Numbers of 32 bits are summed up in 64: no sum of finite ones overflows.
    if not math.isfinite(sum(vector)):
        raise ValueError("a number that is not finite")
    return data


def unpacked(data: bytes) -> tuple[float, ...]:
    """Return the numbers of a stored vector.

    Raises:
        ValueError: the bytes are not those of whole numbers.
    """
    if len(data) % NUMBER_BYTES:
        raise ValueError("bytes that are no whole numbers")
    return _form(len(data) // NUMBER_BYTES).unpack(data)


def parts(rows: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the parts in which vectors of one size are stored."""
    size = rows_of_part(len(rows[0]) // NUMBER_BYTES)
    for start in range(0, len(rows), size):
        yield b"".join(rows[start : start + size])


def rows_of_part(dimensions: int) -> int:
    """Return how many vectors of a size are in each part but the last."""
    return max(PART_BYTES // (dimensions * NUMBER_BYTES), 1)


def ranges(dimensions: int, start: int, stop: int) -> Iterator[Range]:
    """Yield where vectors from place ``start`` to before ``stop`` are."""
    size = rows_of_part(dimensions)
    while start < stop:
        part, first = divmod(start, size)
        last = min(size, first + stop - start)
        yield Range(part, first, last)
        start += last - first


def as_json(data: bytes, dimensions: int, wanted: Range) -> Steps[list[bytes]]:
    """Write those vectors of a part that are wanted as JSON, each by itself.

    Raises:
        ValueError: the part does not hold so many.
    """
    size = dimensions * NUMBER_BYTES
    if len(data) % size or wanted.stop * size > len(data):
        raise ValueError("a part of another size")
    form, pause = _FORMAT * dimensions, max(_PAUSE_NUMBERS // dimensions, 1)
    rows: list[bytes] = []
    for row in range(wanted.start, wanted.stop):
        if rows and not len(rows) % pause:
            yield
        numbers = unpacked(data[row * size : (row + 1) * size])
        rows.append(f"[{(form % numbers)[:-1]}]".encode())
    return rows


def _form(dimensions: int) -> Struct:
    return Struct(f"<{dimensions}f")
