"""Ids that stand in subjects: one pattern, checked wherever a message is decoded."""

from typing import Annotated

import msgspec

TOKEN_PATTERN = r"^[A-Za-z0-9_-]{1,64}(?![\s\S])"
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

Label = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Whom a request is for, in the words of whoever makes it; it stands in no subject."""

PLATFORM = "$platform"
"""Stands where a tenant does, for all tenants together.

No tenant can have this name, since it is no token: it is operators who ask in it."""
