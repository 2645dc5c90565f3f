"""What is read of a Messages event: only the needed fields, all of them optional."""

from typing import Any

import msgspec

from actors.streaming.core.decoding.surrogates import EventDecoder


class AnthropicMessage(msgspec.Struct, frozen=True):
    """The message as it begins. What is no usage is passed over, so it may be anything."""

    model: str | None = None
    usage: Any = None


class AnthropicDelta(msgspec.Struct, frozen=True, gc=False):
    """What a block or the message grows by, in any of its kinds."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | dict[str, Any] | list[Any] | None = None
    content: Any = None
    encrypted_content: str | None = None
    stop_reason: str | None = None


class AnthropicEvent(msgspec.Struct, frozen=True):
    """One event of the stream. MiniMax says in ``base_resp`` how the call fares.

    A ``message`` that is a text is no event's of Anthropic, but what some server has to say.
    """

    type: str | None = None
    index: int | float | str | None = None
    delta: AnthropicDelta | None = None
    content_block: dict[str, Any] | None = None
    message: AnthropicMessage | str | None = None
    usage: Any = None
    error: Any = None
    base_resp: Any = None


decode = EventDecoder(AnthropicEvent).decode
"""Reads one event; raises msgspec.DecodeError."""
