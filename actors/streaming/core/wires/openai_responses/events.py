"""What is read of a Responses event: only the needed fields, all of them optional."""

from typing import Any

import msgspec

from actors.streaming.core import surrogates
from schemas import bounds

PHASE = "phase"
"""Newer models say of each message whether it is a comment or the answer, and want that back."""


class Incomplete(msgspec.Struct, frozen=True, gc=False):
    """Why a response stopped before its end."""

    reason: str | None = None


class ResponsePart(msgspec.Struct, frozen=True):
    """The response as it stands. Its output is long and seldom needed, so it stays as it came."""

    model: str | None = None
    service_tier: Any = None
    status: str | None = None
    incomplete_details: Incomplete | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    output: msgspec.Raw = msgspec.Raw(b"")


class Event(msgspec.Struct, frozen=True):
    """One event of the stream, of any of its many types."""

    type: str = ""
    delta: Any = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: Any = None
    item: dict[str, Any] | None = None
    response: ResponsePart | None = None
    error: Any = None
    code: Any = None


_decoder = bounds.Decoder(Event)


def decode(data: str) -> Event:
    """Read one event.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return surrogates.decode(_decoder, data)
