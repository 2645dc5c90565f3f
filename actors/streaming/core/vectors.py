"""Whether vectors are what was asked for: one for each text, finite, of one size, in order.

A vector in the wrong place or with a hole in it is found by nobody later, so it is refused here.
Another size than asked for is for the asker to judge: a warning, unless it wants to be strict.
"""

import math
import struct
from base64 import b64decode
from collections.abc import Sequence

from schemas.embeddings import Embed
from schemas.llm import AnswerWarning
from schemas.problems import Problem

Vector = list[float]


class UnreadableError(ValueError):
    """The answer is not what the format says."""


def decoded(embedding: Vector | str) -> Vector:
    """Return a vector that may come as base64 of little-endian numbers of 32 bits.

    Source: OpenAI's ``encoding_format``, whose SDKs ask for base64 unless told otherwise.

    Raises:
        UnreadableError: it is no base64, or not of whole numbers.
    """
    if not isinstance(embedding, str):
        return embedding
    try:
        return [
            number for (number,) in struct.iter_unpack("<f", b64decode(embedding, validate=True))
        ]
    except (ValueError, struct.error):
        raise UnreadableError("a vector in base64 that cannot be read") from None


def ordered(vectors: Sequence[Vector], indices: Sequence[int | None]) -> list[Vector]:
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


def checked(vectors: Sequence[Vector], texts: int) -> None:
    """Demand a vector for each text, all of one size and of finite numbers.

    Raises:
        UnreadableError: they are not.
    """
    if len(vectors) != texts:
        raise UnreadableError(f"{len(vectors)} vectors for {texts} texts")
    size(vectors)
    if not all(math.isfinite(sum(vector)) or _is_finite(vector) for vector in vectors):
        raise UnreadableError("a vector with a number that is not finite")


def size(vectors: Sequence[Vector]) -> int:
    """Return the one size that vectors have.

    Raises:
        UnreadableError: they have several, or none.
    """
    sizes = sorted({len(vector) for vector in vectors})
    if len(sizes) != 1 or 0 in sizes:
        shown = ", ".join(map(str, sizes[:4]))
        raise UnreadableError(f"vectors of different sizes: {shown}")
    return sizes[0]


def _is_finite(vector: Vector) -> bool:
    """Look at each number: the sum of finite ones may overflow."""
    return all(map(math.isfinite, vector))


def unreadable(error: UnreadableError) -> Problem:
    """Say what was wrong with an answer; nothing in it is the provider's own word."""
    return Problem(code="provider_error", message=f"The provider sent {error}.")


def otherwise(wanted: Embed, found: int) -> Problem | AnswerWarning | None:
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
