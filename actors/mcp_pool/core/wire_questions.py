"""What servers ask of the client: input of a person, a model's answer, folders.

No person waits at a tool call: what asks for one is told that the question was dismissed. The
revisions until 2025-11-25 ask by requests; 2026-07-28 asks in the result of the call, which is then
sent again with the answers (SEP-2322).
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from actors.mcp_pool.core.wire import MalformedFrameError, RpcFrame
from schemas import bounds
from schemas.base import Value

MAX_ROUNDS = 10
"""How often a call may ask for input."""

Person = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]
"""Answers a question (method, parameters) with a result; None where there is none."""

DISMISSED = {"action": "cancel"}
_PAUSES = (0.05, 0.1, 0.2, 0.25)
_ASKS = b"input_required"


class UnansweredError(ValueError):
    """A question cannot be answered here."""


class InputRequest(Value):
    """A question inside a result."""

    method: str
    params: dict[str, Any] = {}


class Interim(Value):
    """A result that is not the last one."""

    kind: str = msgspec.field(default="complete", name="resultType")
    requests: dict[str, InputRequest] | None = msgspec.field(default=None, name="inputRequests")
    state: str | None = msgspec.field(default=None, name="requestState")


def nobody(method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Answer where no person is."""
    del params
    return {"ping": {}, "elicitation/create": DISMISSED}.get(method)


def reply(frame: RpcFrame, person: Person) -> Mapping[str, Any] | None:
    """Return the result for a server's request; None where this client does not offer it."""
    method = frame.method or ""
    if method == "ping":
        return {}
    try:
        params = bounds.decode(frame.params, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return person(method, params)


def interim(raw: msgspec.Raw) -> Interim | None:
    """Return what a result asks for, None if it is the last one.

    Raises:
        MalformedFrameError: it is of a kind that is not known, or asks for nothing.
    """
    if b"resultType" not in bytes(raw):
        return None
    try:
        found = bounds.decode(raw, type=Interim)
    except msgspec.DecodeError:
        raise MalformedFrameError("the server's result is not what the protocol says") from None
    if found.kind == "complete":
        return None
    if found.kind != _ASKS.decode() or (not found.requests and found.state is None):
        raise MalformedFrameError("the server's result is of a kind that is not known")
    return found


def answered(asked: Interim, person: Person) -> dict[str, Any]:
    """Return what the call is sent again with.

    Raises:
        UnansweredError: the server asks for what nobody here can give.
    """
    again: dict[str, Any] = {}
    if asked.requests:
        again["inputResponses"] = {
            key: _result(question, person) for key, question in asked.requests.items()
        }
    if asked.state is not None:
        again["requestState"] = asked.state
    return again


def pause(asked: Interim, rounds: int) -> float:
    """Return how many seconds to wait before the call is sent again."""
    return 0.0 if asked.requests else _PAUSES[min(rounds, len(_PAUSES) - 1)]


def _result(question: InputRequest, person: Person) -> Mapping[str, Any]:
    result = person(question.method, question.params)
    if result is None:
        raise UnansweredError("The server asks for what nobody can answer during a tool call.")
    return result
