"""What an HTTP answer means to the action that has asked for it. Pure."""

from typing import Any, NamedTuple

import msgspec

from schemas.callbacks import MOST_TOLD_BYTES, EndOutcome
from schemas.ids import whole
from schemas.problems import Problem, ProblemCode

MOST_REDIRECTS = 5
_ERRORS, _SERVER_ERRORS, _REDIRECTS = 400, 500, range(301, 309)
_LIMITED, _AWAY = 429, 503
_LONGEST_WAIT = 86_400

_CODES: dict[int, ProblemCode] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    410: "not_found",
    429: "rate_limited",
    503: "provider_overloaded",
    504: "timeout",
}
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The same request may succeed later."""


class AnswerRefusal(NamedTuple):
    """Why an answer is a failure; ``sent`` is False where the server says that it did nothing."""

    problem: Problem
    sent: bool


def refusal_of(status: int, expect: list[int], retry_after: str) -> AnswerRefusal | None:
    """Return why a status is a failure; None if it is none.

    ``retry_after`` is the header of that name: only its form in seconds is looked at.
    """
    if status in expect or (status < _ERRORS and status not in _REDIRECTS):
        return None
    seconds = whole(retry_after.strip())
    wait = None if seconds is None else float(min(seconds, _LONGEST_WAIT))
    is_held_off = status == _LIMITED or (status == _AWAY and wait is not None)
    said = "redirects this request" if status in _REDIRECTS else "refuses the request"
    said = "has failed" if status >= _SERVER_ERRORS else said
    problem = Problem(
        code=_CODES.get(status, "provider_error"),
        message=f"The server {said}: status {status}.",
        retryable=status in _PASSING,
        retry_after=wait if status in _PASSING else None,
        details={"status": status},
    )
    return AnswerRefusal(problem, sent=not is_held_off)


def is_redirect(status: int, method: str, expect: list[int]) -> bool:
    """Say whether to ask where an answer points: only what has no effect goes elsewhere."""
    return status in _REDIRECTS and method == "GET" and status not in expect


def outcome_of(status: int, body: Any, *, truncated: bool) -> EndOutcome:
    """Return what an action is told of an answer; its text is cut where its JSON is too long."""
    value = _encoded(status, body)
    while len(value) > MOST_TOLD_BYTES and body:
        # A control character takes six bytes in JSON, and what is no text loses its form.
        text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
        body, truncated = text[: len(text) * MOST_TOLD_BYTES // (len(value) + 1)], True
        value = _encoded(status, body)
    return EndOutcome(value=msgspec.Raw(value), truncated=truncated)


def _encoded(status: int, body: Any) -> bytes:
    return msgspec.json.encode({"status": status, "body": body})
