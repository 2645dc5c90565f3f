"""What is read of a Responses event: only the needed fields, all of them optional."""

from typing import Any

import msgspec

from actors.streaming.core.decoding.surrogates import EventDecoder

PHASE = "phase"
"""Newer models say of each message whether it is a comment or the answer, and want that back."""


Index = int | float | str | None


class IncompleteReason(msgspec.Struct, frozen=True, gc=False):
    """Why a response stopped before its end."""

    reason: str | None = None


class ResponsePart(msgspec.Struct, frozen=True):
    """The response as it stands. Its output is long and seldom needed, so it stays as it came."""

    model: str | None = None
    service_tier: Any = None
    status: str | None = None
    incomplete_details: IncompleteReason | None = None
    usage: Any = None
    error: Any = None
    output: msgspec.Raw = msgspec.Raw(b"")


class ResponsesEvent(msgspec.Struct, frozen=True):
    """One event of the stream, of any of its many types.

    MiniMax says in ``base_resp`` how the call fares.
    """

    type: str | None = None
    object: Any = None
    delta: Any = None
    output_index: Index = None
    content_index: Index = None
    summary_index: Index = None
    item_id: Any = None
    name: str | None = None
    call_id: Any = None
    part: Any = None
    text: str | None = None
    refusal: str | None = None
    arguments: Any = None
    input: Any = None
    item: dict[str, Any] | None = None
    response: ResponsePart | None = None
    error: Any = None
    base_resp: Any = None


decode = EventDecoder(ResponsesEvent).decode
"""Reads one event; raises msgspec.DecodeError."""

decode_response = EventDecoder(ResponsePart).decode
"""Reads a response that comes whole, not streamed; raises msgspec.DecodeError."""
