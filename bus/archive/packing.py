"""Entries as the parts that are stored: JSON, cut to a bounded size, each compressed. Pure.

Deflate (RFC 1951 in the format of RFC 1950) makes journals of accounts about a tenth as large.
"""

import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from bus.codec import decode, encode
from bus.errors import ProblemError
from schemas.archive import ArchivedEntry

PART_BYTES = 480 * 1024
"""Of one part before it is compressed: what does not get smaller still fits into 512 KiB."""

CHECKSUM_DIGITS = 32

_LEVEL = 6


class PackedBatch(NamedTuple):
    """The parts of one tenant in a batch."""

    parts: list[bytes]
    checksum: str


def packed(entries: Sequence[ArchivedEntry]) -> PackedBatch:
    """Return the parts of some entries. The same entries have the same checksum, always."""
    data = encode(entries)
    pieces = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    return PackedBatch([zlib.compress(piece, _LEVEL) for piece in pieces], checksum_of(data))


def unpacked(parts: Sequence[bytes], checksum: str) -> list[ArchivedEntry]:
    """Return the entries of all parts of one tenant in a batch.

    Raises:
        ValueError: they are not those that were packed.
    """
    try:
        data = b"".join(map(_inflated, parts))
    except zlib.error:
        raise ValueError("a part cannot be uncompressed") from None
    if checksum_of(data) != checksum:
        raise ValueError("the parts do not have their checksum")
    try:
        return decode(list[ArchivedEntry], data)
    except ProblemError as error:
        raise ValueError(error.said()) from None


def checksum_of(data: bytes) -> str:
    """Return the first half of the SHA-256, in hexadecimal: short enough for a subject."""
    return sha256(data).hexdigest()[:CHECKSUM_DIGITS]


def _inflated(part: bytes) -> bytes:
    """Uncompress a part; one that is larger than any of ours ends up with a wrong checksum."""
    return zlib.decompressobj().decompress(part, PART_BYTES)
