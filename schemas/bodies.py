"""Large bodies by reference: stored once by the sender, and named in messages and states. Pure.

A prompt of some size would be encoded, sent, journalled and kept in memory with each message and
state that holds it. Above ``BY_REFERENCE_BYTES`` it is stored before the command that names it, and
only its ``BodyReference`` travels. The bytes below a reference never change, so every attempt at a
piece of work reads the same.
"""

from schemas.base import Value

BY_REFERENCE_BYTES = 16 * 1024
"""Encoded bytes above which a body goes by reference. Below it, storing a body apart costs more
(one write that is synced to disk) than carrying it along."""

REPEATED_BYTES = 4 * 1024
"""The same where most of a body was sent before, as the history of a session is with each of its
turns: what would be journalled again and again goes by reference sooner."""

MOST_BODY_BYTES = 16 * 1024**2
"""No body is larger: requests have a bound of 12 MiB, and a vector of floats is smaller."""


class BodyReference(Value):
    """Names a stored body. ``digest`` is the SHA-256 of its ``bytes`` bytes, in hexadecimal."""

    name: str
    digest: str
    bytes: int


def goes_by_reference(size: int, *, repeats: bool = False) -> bool:
    """Say whether a body of so many encoded bytes is to be stored apart.

    ``repeats`` says that most of it was sent before.
    """
    return size > (REPEATED_BYTES if repeats else BY_REFERENCE_BYTES)
