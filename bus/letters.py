"""Dead letters that fit into a message of the bus. Pure."""

import msgspec

from bus.codec import encode
from schemas.fleet import DeadLetter

ROOM = 4096
"""Bytes left for headers and subject."""

CUT_CHARACTERS = 65_536
"""What is kept of a body that does not fit: as JSON a character takes six bytes at most."""


def fitting(letter: DeadLetter, most: int) -> DeadLetter:
    """Return a letter that ``most`` bytes can hold, its body cut where it would be larger.

    JSON writes a control character as six bytes, and what is no UTF-8 becomes longer as well: what
    came in as a message need not fit into one again. A cut letter shows what was there; handed in
    again, it is refused again.
    """
    if len(encode(letter)) <= most - ROOM:
        return letter
    reason = f"{letter.reason} (cut: the body has {len(letter.body)} characters)"
    return msgspec.structs.replace(letter, body=letter.body[:CUT_CHARACTERS], reason=reason)
