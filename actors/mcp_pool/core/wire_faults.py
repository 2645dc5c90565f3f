"""What a refusal means: whether the server has begun, and whether the session is lost.

Servers tell a lost session in five ways: 404, 400, 503, and the errors -32001 and -32600. Which
one, depends on the framework and on what stands in front of it.
"""

import re
from typing import NamedTuple

import msgspec

from actors.mcp_pool.core.upstream import ServerSaid, UpstreamError
from actors.mcp_pool.core.wire import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    RpcError,
)
from schemas import bounds
from schemas.base import Value
from schemas.printable import printable
from schemas.tools import UNSENT, ToolOutcome

MAX_REASON = 300
"""Characters of a server's own words that are told on."""

MAX_RETRY_SECONDS = 3600.0

_NO_SESSION = -32001
_ANY_FAULT = -32000
_TIMED_OUT = re.compile(r"time", re.IGNORECASE)
_OF_SESSION = re.compile(r"session|not initialized|initialize first|re-?initialize", re.IGNORECASE)
_BEFORE = (
    PARSE_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    HEADER_MISMATCH,
    MISSING_CAPABILITY,
    UNSUPPORTED_VERSION,
)
"""Errors that a server finds before it begins. Of invalid parameters some speak afterwards."""

_ABOUT_THE_REQUEST = (*_BEFORE[2:], PARSE_ERROR, INVALID_PARAMS)
_REFUSALS = range(400, 500)
_REDIRECTIONS = range(300, 400)
_UNAVAILABLE = 503
_LOST = (400, 404, 410)
_BUSY = (429, _UNAVAILABLE)


class HttpRefusal(NamedTuple):
    """The answer to a request that was not taken: status, its JSON-RPC error where it has one."""

    status: int
    error: RpcError | None = None
    retry_after: float | None = None


class _Versions(Value):
    supported: list[str] = []


def of_status(refusal: HttpRefusal, *, in_session: bool) -> UpstreamError:
    """Return the error of an HTTP status that is no success."""
    status, error = refusal.status, refusal.error
    lost = in_session and _loses_session(refusal)
    if status in _REFUSALS or status in _REDIRECTIONS or status == _UNAVAILABLE:
        outcome: ToolOutcome = "rejected"
    else:
        outcome = "outcome_unknown"
    if error is not None and status not in _BUSY:
        outcome = "rejected" if lost else of_error(error, in_session=in_session).outcome
    words = f": {told(error.message)}" if error is not None and error.message else ""
    return UpstreamError(
        outcome,
        f"The server answers with status {status}{words}",
        sent=outcome not in UNSENT,
        session_lost=lost,
        retry_after=refusal.retry_after,
        said=_said(error, status),
    )


def of_error(error: RpcError, *, in_session: bool) -> UpstreamError:
    """Return the error of an answer that is one."""
    lost = in_session and _says_lost(error)
    refused = error.code in _BEFORE or (lost and bool(_OF_SESSION.search(error.message)))
    outcome: ToolOutcome = "rejected" if refused else "protocol_error"
    message = f"The server refuses with code {error.code}: {told(error.message)}"
    return UpstreamError(
        outcome,
        message,
        sent=outcome not in UNSENT,
        session_lost=lost,
        said=_said(error),
    )


def told(words: str) -> str:
    """Return a server's words, short and safe to show."""
    return printable(words[:MAX_REASON], one_line=True)


def retry_after(value: str) -> float | None:
    """Return the seconds of a ``Retry-After``; a date in it is not read."""
    if not value.isascii() or not value.isdigit():
        return None
    return min(float(value[:9]), MAX_RETRY_SECONDS)


def _said(error: RpcError | None, status: int | None = None) -> ServerSaid:
    if error is None:
        return ServerSaid(status=status)
    return ServerSaid(error.code, status, _supported(error))


def _supported(error: RpcError) -> tuple[str, ...]:
    """Return the revisions that a server names which does not speak the one asked for."""
    if error.code != UNSUPPORTED_VERSION:
        return ()
    try:
        return tuple(bounds.decode(error.data, type=_Versions).supported)
    except msgspec.DecodeError:
        return ()


def _loses_session(refusal: HttpRefusal) -> bool:
    error = refusal.error
    if refusal.status == _UNAVAILABLE:
        # With a time to wait it is overload; without one the server behind has gone.
        return refusal.retry_after is None
    return refusal.status in _LOST and (error is None or error.code not in _ABOUT_THE_REQUEST)


def _says_lost(error: RpcError) -> bool:
    """Whether an error tells of a lost session; opening one more in vain is the lesser harm."""
    if error.code == _NO_SESSION:
        # The official TypeScript SDK has the same code for a request that timed out.
        return not _TIMED_OUT.search(error.message)
    if error.code == INVALID_REQUEST:
        return True
    return error.code == _ANY_FAULT and bool(_OF_SESSION.search(error.message))
