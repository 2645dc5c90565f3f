"""Dead letters: where each tenant's lie, and that they fit into a message of the bus. Pure."""

from typing import Any

import msgspec

from bus.codec import encode
from bus.subjects import is_token
from schemas.fleet import DEAD_SUBJECT, DeadLetter
from schemas.ids import PLATFORM

NOBODY = "_"
"""Stands for the tenant of a letter where what was read names none that could be one."""

ROOM = 4096
"""Bytes left for headers and subject."""

CUT_CHARACTERS = 65_536
"""What is kept of a body that does not fit: as JSON a character takes six bytes at most."""

REASON_CHARACTERS = 2048


def dead_subject(tenant: str, *kind: str) -> str:
    """Return where a dead letter is stored: each tenant has a share of the stream."""
    whose = tenant if is_token(tenant) or tenant == PLATFORM else NOBODY
    return ".".join((DEAD_SUBJECT, whose, *kind))


def encoded(body: Any, most: int) -> bytes:
    """Encode a message; a dead letter is cut so that ``most`` bytes hold it.

    Everything that lays a letter aside encodes it by this, since one that does not fit is lost.
    """
    data = encode(body)
    if len(data) <= most - ROOM or not isinstance(body, DeadLetter):
        return data
    return encode(_cut(body))


def _cut(letter: DeadLetter) -> DeadLetter:
    """Return a letter with the beginning of its body.

    JSON writes a control character as six bytes, and what is no UTF-8 becomes longer as well: what
    came in as a message need not fit into one again. A cut letter shows what was there; handed in
    again, it is refused again.
    """
    reason = letter.reason[:REASON_CHARACTERS]
    reason = f"{reason} (cut: the body has {len(letter.body)} characters)"
    return msgspec.structs.replace(letter, body=letter.body[:CUT_CHARACTERS], reason=reason)
