"""The one error taxonomy: what went wrong, for a program (code) and for a person (message).

A key that a provider does not accept is ``unauthorized``; one that lacks a right is ``forbidden``.
Only a ``forbidden`` of the fleet itself names a ``field``.
"""

from typing import Any, Literal

import msgspec

from schemas.base import Message

ProblemCode = Literal[
    "validation",
    "not_found",
    "conflict",
    "unauthorized",
    "forbidden",
    "rate_limited",
    "blocked",
    "budget_exceeded",
    "unpriced",
    "provider_error",
    "provider_overloaded",
    "outcome_unknown",
    "tool_limit",
    "corrupt",
    "timeout",
    "cancelled",
    "unavailable",
    "internal",
]

HTTP_STATUS: dict[ProblemCode, int] = {
    "validation": 400,
    "not_found": 404,
    "conflict": 409,
    "unauthorized": 401,
    "forbidden": 403,
    "rate_limited": 429,
    "blocked": 403,
    "budget_exceeded": 402,
    "unpriced": 422,
    "provider_error": 502,
    "provider_overloaded": 503,
    "outcome_unknown": 500,
    "tool_limit": 422,
    "corrupt": 500,
    "timeout": 504,
    "cancelled": 499,
    "unavailable": 503,
    "internal": 500,
}
"""The nearest HTTP status of each code; the ``Nats-Service-Error-Code`` of a refusal."""


class Problem(Message, tag="problem", omit_defaults=True):
    """A refusal or failure. Holds no secret, prompt or completion.

    ``field`` is the dotted path of the offending input field, ``retry_after`` is in seconds.
    """

    code: ProblemCode
    message: str
    field: str | None = None
    # Always written: "not retryable" must not look like a field that an older sender lacks.
    retryable: bool = msgspec.field(default_factory=bool)
    retry_after: float | None = None
    details: dict[str, Any] = {}
