"""Whether vectors are what was asked for: one for each text, finite, of one size, in order.

They are read one by one, and kept as they are stored: a list of a million numbers would hold up the
loop wherever it is encoded, decoded or freed.

A vector in the wrong place or with a hole in it is found by nobody later, so it is refused here.
Another size than asked for is for the asker to judge: a warning, unless it wants to be strict.
"""

import struct
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from schemas import bounds
from schemas.llm import AnswerWarning, EmbedRequest
from schemas.problems import Problem
from schemas.steps import Steps
from schemas.vectors import packed as stored

T = TypeVar("T")
Vector = list[float]
Coded = Vector | str
"""A vector as a provider sends it: as numbers, which may be the mark of a row, or in base64."""

Rows = Mapping[float, bytes]
"""What was cut out of an answer; see ``rows``."""

BASE64_BYTES = 6
"""Of a number of 32 bits, at most."""

_PAUSE_NUMBERS = 2048
_row: bounds.Decoder[Vector] = bounds.Decoder(Vector)


class UnreadableError(ValueError):
    """The answer is not what the format says."""


class PackedVectors(NamedTuple):
    """Vectors of one size, each as it is stored."""

    vectors: list[bytes]
    size: int


def packed(found: Sequence[Coded], rows: Rows, *, texts: int, most: int) -> Steps[PackedVectors]:
    """Demand a vector for each text, all of one size and of at most ``most`` finite numbers.

    Raises:
        UnreadableError: they are not.
        msgspec.DecodeError: one is no vector.
    """
    if len(found) != texts:
        raise UnreadableError(f"{len(found)} vectors for {texts} texts")
    vectors: list[bytes] = []
    sizes: set[int] = set()
    numbers = 0
    for one in found:
        if numbers >= _PAUSE_NUMBERS:
            numbers = 0
            yield
        vector = decoded(one, rows, most)
        if len(vector) > most:
            raise _too_many()
        sizes.add(len(vector))
        numbers += len(vector)
        vectors.append(_stored(vector))
    return PackedVectors(vectors, size(sizes))


def decoded(embedding: Coded, rows: Rows, most: int) -> Vector:
    """Return a vector that may come as base64 of little-endian numbers of 32 bits.

    Source: OpenAI's ``encoding_format``, whose SDKs ask for base64 unless told otherwise.

    Raises:
        UnreadableError: it is no base64, not of whole numbers, or of many more than ``most``.
        msgspec.DecodeError: it is the mark of a row that is no vector.
    """
    if not isinstance(embedding, str):
        row = rows.get(embedding[0]) if len(embedding) == 1 else None
        return embedding if row is None else _row.decode(row)
    if len(embedding) > most * BASE64_BYTES:
        raise _too_many()
    try:
        numbers = b64decode(embedding, validate=True)
        return list(struct.unpack(f"<{len(numbers) // 4}f", numbers))
    except (ValueError, struct.error):
        raise UnreadableError("a vector in base64 that cannot be read") from None


def _too_many() -> UnreadableError:
    return UnreadableError("more numbers than vectors can have")


def _stored(vector: Vector) -> bytes:
    try:
        return stored(vector)
    except ValueError:
        raise UnreadableError("a vector with a number that is not finite") from None


def ordered(vectors: Sequence[T], indices: Sequence[int | None]) -> list[T]:
    """Return vectors in the order of their indices; as they came, where no server has set one.

    Raises:
        UnreadableError: an index is missing, there twice, or that of no text.
    """
    if len(vectors) == 1 or all(index is None for index in indices):
        return list(vectors)
    placed = dict(zip(indices, vectors, strict=True))
    try:
        return [placed[place] for place in range(len(vectors))]
    except KeyError:
        raise UnreadableError("vectors whose indices are not those of the texts") from None


def size(sizes: Iterable[int]) -> int:
    """Return the one size that vectors have.

    Raises:
        UnreadableError: they have several, or none.
    """
    found = sorted(set(sizes))
    if len(found) != 1 or 0 in found:
        shown = ", ".join(map(str, found[:4]))
        raise UnreadableError(f"vectors of different sizes: {shown}")
    return found[0]


def unreadable(error: UnreadableError) -> Problem:
    """Say what was wrong with an answer; nothing in it is the provider's own word."""
    return Problem(code="provider_error", message=f"The provider sent {error}.")


def otherwise(wanted: EmbedRequest, found: int) -> Problem | AnswerWarning | None:
    """Say that vectors have another size than was asked for; None if they have not.

    A problem where the asker wants to be strict.
    """
    if wanted.dimensions in {None, found}:
        return None
    message = f"{wanted.dimensions} dimensions were asked for; the vectors have {found}."
    if not wanted.dimensions_strict:
        return AnswerWarning(field="dimensions", message=message)
    sizes = {"asked": wanted.dimensions, "found": found}
    return Problem(code="provider_error", message=message, field="dimensions", details=sizes)
