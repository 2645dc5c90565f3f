"""A message that comes whole, as the events that a stream of it would have had."""

from collections.abc import Iterator
from typing import Any

import msgspec

from actors.streaming.core.decoding import counts
from actors.streaming.core.wires.anthropic.events import AnthropicEvent


def events(message: dict[str, Any]) -> Iterator[AnthropicEvent]:
    """Return the events of a message.

    Raises:
        msgspec.ValidationError: it is none.
    """
    yield _event("message_start", message={"model": message.get("model")})
    for index, block in enumerate(map(counts.members, counts.items(message.get("content")))):
        yield _event("content_block_start", index=index, content_block=block)
        yield _event("content_block_stop", index=index)
    delta = {"stop_reason": message.get("stop_reason")}
    yield _event("message_delta", delta=delta, usage=message.get("usage"))
    if message.get("stop_reason"):
        yield _event("message_stop")


def _event(kind: str, **fields: Any) -> AnthropicEvent:
    return msgspec.convert({"type": kind, **fields}, AnthropicEvent)
