"""Reading a stream of Anthropic Messages events.

The terminal event is ``message_stop``; the reason for the end and the last usage come just before,
with ``message_delta``. Usage is told at the start and again at the end: the later word replaces the
earlier one, field by field. Blocks may interleave and are told apart by index. Text and calls of
the caller's tools are read; every other block (thinking with its signature, redacted thinking, the
provider's own tools and what they found) is kept to be sent back unchanged.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts
from actors.streaming.core.faults import fail_on
from actors.streaming.core.foreign import is_foreign
from actors.streaming.core.framing import Framing
from actors.streaming.core.reader import GarbledError, Reader
from actors.streaming.core.sse import SseEvent, SseParser
from actors.streaming.core.tool_calls import GrowingCall
from actors.streaming.core.wires.anthropic.blocks import GrowingBlock
from actors.streaming.core.wires.anthropic.events import DeltaPart, Event, MessagePart, decode
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
    "compaction": "pause",
}

_KNOWN = frozenset(
    {
        *("message_start", "message_delta", "message_stop", "ping", "error"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)
_KNOWN_DELTAS = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})

_PING = re.compile(r'\s*\{\s*"type"\s*:\s*"ping"')
"""A ping without the event's name."""

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no event.", retryable=True
)


class MessagesReader(Reader[SseEvent]):
    """Collects one answer from Messages events."""

    WIRE = "anthropic"

    def __init__(
        self, request: GenerateRequest, *, framing: Framing[SseEvent] | None = None
    ) -> None:
        super().__init__(request, framing or SseParser())
        self._open_calls: dict[int, GrowingCall] = {}
        self._open_blocks: dict[int, GrowingBlock] = {}
        self._stop: FinishReason | None = None

    def _is_ping(self, event: SseEvent) -> bool:
        return event.name == "ping" or (
            event.name == "message" and _PING.match(event.data) is not None
        )

    def _event(self, event: SseEvent) -> None:
        if not event.data:
            return
        read = _decode(event)
        match read.type or event.name:
            case "content_block_delta" if read.delta is not None:
                self._grow(read.index, read.delta)
            case "content_block_start" if read.content_block is not None:
                self._begin(read.index, read.content_block)
            case "content_block_stop":
                self._close(read.index)
            case "message_start" if isinstance(read.message, MessagePart):
                self._model = read.message.model or self._model
                self._tell(read.message.usage)
            case "message_delta":
                self._tell(read.usage)
                if read.delta is not None and read.delta.stop_reason:
                    self._finish_word = read.delta.stop_reason
                    self._stop = _FINISH.get(read.delta.stop_reason, "other")
            case "message_stop":
                self._end()
            case _:
                return

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        if not counts.told(raw, "input_tokens", "output_tokens", quality):
            return None
        return usage_of(raw, quality)

    def _side_usage(self) -> dict[str, Usage]:
        return side_usage_of(self._usage or {}, self._model or "")

    def _begin(self, index: int, block: dict[str, Any]) -> None:
        match block.get("type"):
            case "text":
                if text := block.get("text"):
                    self._say(str(text))
            case "tool_use":
                call = self._calls.begin(str(block.get("id") or ""), str(block.get("name") or ""))
                self._open_calls[index] = call
                if given := block.get("input"):
                    call.grow(msgspec.json.encode(given).decode())
            case kind:
                if kind == "fallback":
                    self._hand_over(block)
                self._weigh(len(msgspec.json.encode(block)))
                self._open_blocks[index] = GrowingBlock(block, self._place())
                if text := block.get("thinking"):
                    self._think(str(text))

    def _hand_over(self, block: dict[str, Any]) -> None:
        """Take note that another model goes on where the one that was asked has declined."""
        model = counts.members(block.get("to")).get("model")
        self._model = model if isinstance(model, str) and model else self._model

    def _grow(self, index: int, delta: DeltaPart) -> None:
        if index in self._open_calls:
            self._open_calls[index].grow(delta.partial_json or "")
        elif index in self._open_blocks:
            size = self._open_blocks[index].grow(delta)
            if delta.thinking:
                self._think(delta.thinking)
            else:
                self._weigh(size)
        elif delta.text:
            self._say(delta.text)
        elif delta.thinking:
            self._think(delta.thinking)

    def _close(self, index: int) -> None:
        self._open_calls.pop(index, None)
        block = self._open_blocks.pop(index, None)
        if block is not None:
            self._keep(block.finished(), block.place)

    def _tell(self, usage: dict[str, Any] | None) -> None:
        told = {name: value for name, value in (usage or {}).items() if value is not None}
        if told:
            self._usage = {**(self._usage or {}), **told}
            self._serve("fast" if told.get("speed") == "fast" else told.get("service_tier"))

    def _end(self) -> None:
        for index in list(self._open_blocks):
            self._close(index)
        self._finish = self._stop or "other"
        self.done = True


def _decode(event: SseEvent) -> Event:
    """Read an event, or raise the error that it carries."""
    try:
        read = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        fail_on(event.data, named=event.name == "error")
        if is_foreign(event.data, _KNOWN, _KNOWN_DELTAS):
            return Event(type="unknown")
        raise GarbledError(GARBLED) from None
    is_error = read.type == "error" or event.name == "error"
    if is_error or not read.type or read.error or read.base_resp:
        fail_on(event.data, named=is_error)
    return read


def usage_of(raw: Mapping[str, Any], quality: Quality) -> Usage:
    """Put the counts into buckets: they overlap only where reasoning is a part of the output.

    Writes to the cache whose time is not told are of the usual five minutes.
    """
    written = counts.at(raw, "cache_creation_input_tokens")
    hour = counts.at(raw, "cache_creation", "ephemeral_1h_input_tokens")
    minutes = counts.at(raw, "cache_creation", "ephemeral_5m_input_tokens")
    return Usage(
        input=counts.at(raw, "input_tokens"),
        cache_read=counts.at(raw, "cache_read_input_tokens"),
        cache_write_5m=max(written - hour, minutes),
        cache_write_1h=hour,
        output=counts.at(raw, "output_tokens"),
        reasoning=counts.at(raw, "output_tokens_details", "thinking_tokens"),
        searches=counts.at(raw, "server_tool_use", "web_search_requests"),
        quality=quality,
    )


def side_usage_of(raw: Mapping[str, Any], model: str) -> dict[str, Usage]:
    """Return what the iterations used that the top-level counts leave out, by model.

    Those are an advisor's and a compaction's, and where another model has taken over, those of the
    models that declined; ordinary ones are in the counts already.
    """
    iterations = [*map(counts.members, counts.items(raw.get("iterations")))]
    served = next((one.get("model") for one in iterations if _took_over(one)), None)
    total: dict[str, Usage] = {}
    for one in iterations:
        name = str(one.get("model") or model)
        declined = bool(served) and name != served
        if declined or not (_took_over(one) or one.get("type", "message") == "message"):
            total[name] = total.get(name, Usage()) + usage_of(one, "exact")
    return total


def _took_over(iteration: Mapping[str, Any]) -> bool:
    return iteration.get("type") == "fallback_message"
