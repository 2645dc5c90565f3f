"""Ids that stand in subjects: one pattern, checked wherever a message is decoded."""

from typing import Annotated

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
