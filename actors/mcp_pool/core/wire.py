"""The frames of MCP: JSON-RPC 2.0 requests, notifications and answers.

Protocol: https://www.jsonrpc.org/specification, and "Base Protocol" of every MCP revision.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from schemas import bounds
from schemas.base import Value
from schemas.steps import Steps

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""A frame beyond this is refused: what an execution may keep of it is a fraction."""

SHORT = bounds.SHORT
"""Characters up to which a text is read at once."""

MAX_BATCH = 1000
"""Frames in an array, as the revision 2025-03-26 allows."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

RequestId = int | str

_MALFORMED = "the server has sent what is no JSON-RPC message"
_HEAD = 200
_ID = re.compile(rb'"id"\s{0,9}:\s{0,9}(\d{1,15})\s{0,9},')


class MalformedFrameError(ValueError):
    """What came is no frame, or exceeds a bound."""


class RpcError(Value):
    """The error of an answer. ``message`` is the server's: it is not for logs."""

    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class RpcFrame(Value):
    """What a server sends: an answer has no method, a notification no id."""

    id: RequestId | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    result: msgspec.Raw = msgspec.Raw()
    error: RpcError | None = None

    @property
    def is_answer(self) -> bool:
        """Whether it answers a request."""
        return self.method is None and (len(self.result) > 0 or self.error is not None)


class RpcRequest(NamedTuple):
    """A request: its frame, and what a transport repeats of it in headers."""

    id: int
    method: str
    frame: bytes
    headers: Mapping[str, str] = {}
    may_repeat: bool = False


_frame: bounds.Decoder[RpcFrame] = bounds.Decoder(RpcFrame)
_frames: bounds.Decoder[list[RpcFrame]] = bounds.Decoder(list[RpcFrame])
_encode = msgspec.json.Encoder().encode


def request(
    number: int, method: str, params: Mapping[str, Any], headers: Mapping[str, str] = {}
) -> RpcRequest:
    """Return a request under an id."""
    frame = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return RpcRequest(number, method, _encode(frame), headers)


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """Return the frame of a notification."""
    return _encode({"jsonrpc": "2.0", "method": method, "params": params})


def ping(number: str) -> bytes:
    """Return the frame that asks for a sign of life, under an id that no request has."""
    return _encode({"jsonrpc": "2.0", "id": number, "method": "ping"})


def answer(to: RequestId, result: Mapping[str, Any] | None) -> bytes:
    """Return the frame that answers a server's request; None says that nobody here can."""
    if result is not None:
        return _encode({"jsonrpc": "2.0", "id": to, "result": result})
    error = {"code": METHOD_NOT_FOUND, "message": "This client does not offer it."}
    return _encode({"jsonrpc": "2.0", "id": to, "error": error})


def frames(text: bytes | str) -> list[RpcFrame]:
    """Read what a server has sent: a frame, or an array of them.

    Raises:
        MalformedFrameError: it is none, or exceeds a bound.
    """
    try:
        bounds.check_whole(text)
    except msgspec.DecodeError:
        raise MalformedFrameError(_MALFORMED) from None
    return _decoded(text)


def reading(text: bytes | str) -> Steps[list[RpcFrame]]:
    """Do as ``frames``, with pauses: for texts longer than ``SHORT``. Raises as it does."""
    try:
        yield from bounds.checking(text)
    except msgspec.DecodeError:
        raise MalformedFrameError(_MALFORMED) from None
    return _decoded(text)


def _decoded(text: bytes | str) -> list[RpcFrame]:
    try:
        if text[:64].lstrip()[:1] not in {b"[", "["}:
            return [_frame.decode(text)]
        found = _frames.decode(text)
    except (msgspec.DecodeError, RecursionError):
        # The decoder's words may repeat what the server has sent.
        raise MalformedFrameError(_MALFORMED) from None
    if len(found) > MAX_BATCH:
        raise MalformedFrameError(f"the server has sent over {MAX_BATCH} messages at once")
    return found


class Oversize(NamedTuple):
    """A line that was not kept, with its beginning."""

    head: bytes

    @property
    def number(self) -> int | None:
        """The id that seems to be its own: it stands before the result where it is told first."""
        match = _ID.search(self.head)
        return None if match is None else int(match[1])


class FrameLines:
    """Cuts what comes through a pipe into lines, one a frame; memory is bounded by ``limit``.

    A line beyond it is skipped to its end, so that it costs no other.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._skipped: Oversize | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes | Oversize]:
        """Take the next bytes and yield the lines they complete, empty ones left out."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            if line := self._skipped or bytes(self._partial).strip():
                yield line
            self._partial.clear()
            self._skipped = None
        self._keep(rest)

    def _keep(self, piece: bytes) -> None:
        if self._skipped is not None:
            return
        self._partial += piece
        if len(self._partial) > self._limit:
            self._skipped = Oversize(bytes(self._partial[:_HEAD]))
            self._partial.clear()
