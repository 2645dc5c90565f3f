"""Ids that stand in subjects: one pattern, checked wherever a message is decoded."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated
from uuid import UUID

import msgspec

END = r"(?![\s\S])"
"""The end of a text in a pattern, also in JSON Schema, which knows no ``\\Z``; ``$`` lets a line
feed follow."""

TOKEN_PATTERN = r"^[A-Za-z0-9_-]{1,64}" + END
"""A subject token: no dot, space, wildcard or dollar can come from a user."""

Token = Annotated[
    str,
    msgspec.Meta(
        pattern=TOKEN_PATTERN,
        description="1 to 64 letters, digits, hyphens or underscores",
    ),
]

TenantId = Token
AgentId = Token
ExecutionId = Token
SessionId = Token
TemplateId = Token


def derived_id(name: str, at: datetime) -> str:
    """Return the UUID of version 7 that the same name has at the same moment, and no other. Pure.

    So who decides twice names the same. Layout: RFC 9562, section 5.7.
    """
    seconds = round(at.timestamp() * 1000) & (2**48 - 1)
    other = int.from_bytes(sha256(name.encode()).digest()[:10], "big")
    high, low = other >> 68, other & (2**62 - 1)
    return str(UUID(int=seconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def whole(text: str, *, most_digits: int = 18) -> int | None:
    """Return the number that a text of ASCII digits writes, None of any other text. Pure.

    ``int`` and ``str.isdecimal`` take the digits of all scripts, spaces and underscores as well.
    """
    is_plain = text.isascii() and text.isdecimal() and len(text) <= most_digits
    return int(text) if is_plain else None


Label = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Whom a request is for, in the words of whoever makes it; it stands in no subject."""

LabelName = Token
"""The name of a label of one's own."""

PLATFORM = "$platform"
"""Stands where a tenant does, for all tenants together.

No tenant can have this name, since it is no token: it is operators who ask in it."""
