"""Reading a stream of Anthropic Messages events.

The terminal event is ``message_stop``; the reason for the end and the last usage come just before,
with ``message_delta``. Usage is told at the start and again at the end: it is cumulative, and of
each count the largest holds. Blocks may interleave and are told apart by index. Text and calls of
the caller's tools are read; every other block (thinking with its signature, redacted thinking, the
provider's own tools and what they found) is kept to be sent back unchanged. What a delta is, its
own type says and not its block's: compatible servers put text into blocks of tools and of thinking,
leave out the beginning or the end of a block, and use an index twice.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core.aws.framings import METRICS
from actors.streaming.core.decoding import counts
from actors.streaming.core.decoding.arguments import text_of
from actors.streaming.core.framing.protocol import Framing
from actors.streaming.core.framing.wrapping import event_framing
from actors.streaming.core.reading.fragments import Fragment, Place, place_of
from actors.streaming.core.reading.garbled import GarbledError, typed
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.tokens.reckoning import Shape, bounded
from actors.streaming.core.wires.anthropic.blocks import GrowingBlock, kind_of, kind_of_block
from actors.streaming.core.wires.anthropic.events import (
    AnthropicDelta,
    AnthropicEvent,
    AnthropicMessage,
    decode,
)
from actors.streaming.core.wires.anthropic.whole import events as events_of
from schemas import bounds
from schemas.llm import GenerateRequest
from schemas.sse import SseEvent, marker
from schemas.usage import Quality, Usage

_KNOWN = frozenset(
    {
        *("message_start", "message_delta", "message_stop", "ping", "error"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)
_KNOWN_DELTAS = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})

_PING = re.compile(r'\s*\{\s*"type"\s*:\s*"ping"')
"""A ping without the event's name."""

_WRITTEN = "cache_creation_input_tokens"
_HOUR = ("cache_creation", "ephemeral_1h_input_tokens")
_MINUTES = ("cache_creation", "ephemeral_5m_input_tokens")
_THOUGHT = ("output_tokens_details", "thinking_tokens")
_COUNTED = (("cache_read_input_tokens",), (_WRITTEN,), _HOUR, _MINUTES, _THOUGHT)

_decode = typed(decode, AnthropicEvent(type="unknown"), _KNOWN, _KNOWN_DELTAS)


class MessagesReader(Reader[SseEvent]):
    """Collects one answer from Messages events."""

    WIRE = "anthropic"
    SHAPE = Shape(prompt="input_tokens", output="output_tokens", details=_COUNTED)

    def __init__(
        self, request: GenerateRequest, *, framing: Framing[SseEvent] | None = None
    ) -> None:
        super().__init__(request, framing or event_framing())
        self._open_blocks: dict[Place, GrowingBlock] = {}
        self._latest: Place = 0
        self._stop_reason: str | None = None

    def _event(self, event: SseEvent) -> None:
        if _is_ping(event):
            self.steps -= 1
        if event.data[:1] != "{" and (said := marker(event.data)) is not None:
            if said == "done":
                self._stop_early()
            return
        read = _decode(event)
        if event.name == METRICS:
            self._overrule(counts.members(read.usage))
        elif read.type == "message":
            self._whole(event)
        else:
            self._read(read, event.name)

    def _whole(self, event: SseEvent) -> None:
        """Read a message that the server has not streamed."""
        try:
            for read in events_of(counts.members(bounds.decode(event.data))):
                self._read(read, "")
        except (msgspec.DecodeError, RecursionError):
            raise GarbledError from None

    def _read(self, read: AnthropicEvent, name: str) -> None:
        match read.type or name:
            case "content_block_delta" if read.delta is not None:
                self._grow(self._at(read.index), read.delta)
            case "content_block_start" if read.content_block is not None:
                self._begin(self._at(read.index), read.content_block)
            case "content_block_stop":
                self._close(self._at(read.index))
            case "message_start" if isinstance(read.message, AnthropicMessage):
                self._model = read.message.model or self._model
                self._tell(read.message.usage)
            case "message_delta":
                self._tell(read.usage)
                if read.delta is not None and read.delta.stop_reason:
                    self._stop_reason = read.delta.stop_reason
            case "message_stop":
                self._end()
            case _:
                return

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        return usage_of(raw, quality)

    def _side_usage(self) -> dict[str, Usage]:
        return side_usage_of(self._usage or {}, self._model or "")

    def _at(self, index: float | str | None) -> Place:
        """Return the place of a block; without an index, that of the last one that was told."""
        place = index if type(index) is int else place_of(index)
        if place is not None:
            self._latest = place
        return self._latest

    def _begin(self, place: Place, block: dict[str, Any]) -> None:
        self._close(place)
        match kind_of_block(block):
            case "text":
                if text := block.get("text"):
                    self._say(str(text))
            case "tool_use":
                self._call(place, block)
            case kind:
                if kind == "fallback":
                    self._hand_over(block)
                self._weigh(len(msgspec.json.encode(block)))
                self._open_blocks[place] = GrowingBlock(block, self._place())
                if text := block.get("thinking"):
                    self._think(str(text))

    def _call(self, place: Place, block: dict[str, Any]) -> None:
        call_id, name = block.get("id"), block.get("name")
        part = Fragment(place, str(call_id or ""), str(name or ""), text_of(block.get("input")))
        self._fragments.begin(part)

    def _hand_over(self, block: dict[str, Any]) -> None:
        """Take note that another model goes on where the one that was asked has declined."""
        model = counts.members(block.get("to")).get("model")
        self._model = model if isinstance(model, str) and model else self._model

    def _grow(self, place: Place, delta: AnthropicDelta) -> None:
        block = self._open_blocks.get(place)
        match kind_of(delta):
            case "text":
                if delta.text:
                    self._say(delta.text)
            case "thinking":
                if delta.thinking:
                    self._think_on(place, block, delta)
            case "input_json" if block is None or not block.takes_input:
                text = delta.partial_json
                if text and (type(text) is str or (text := text_of(text))):
                    self._fragments.put(Fragment(place, arguments=text))
            case "signature" if block is None or not block.is_thinking:
                thoughts = (one for one in self._open_blocks.values() if one.is_thinking)
                if (thought := next(thoughts, None)) is not None:
                    self._weigh(thought.grow(delta))
            case _:
                if block is not None:
                    self._weigh(block.grow(delta))

    def _think_on(self, place: Place, block: GrowingBlock | None, delta: AnthropicDelta) -> None:
        """Grow the reasoning; where no block of it has begun, one is implied."""
        if block is None:
            begun = {"type": "thinking", "thinking": "", "signature": ""}
            block = self._open_blocks[place] = GrowingBlock(begun, self._place(), implied=True)
        if block.is_thinking:
            block.grow(delta)
        self._think(delta.thinking or "")

    def _close(self, place: Place) -> None:
        block = self._open_blocks.pop(place, None)
        if block is not None and block.is_kept:
            self._keep(block.finished(), block.place)

    def _tell(self, usage: object) -> None:
        told = {name: one for name, one in counts.members(usage).items() if one is not None}
        if told:
            self._account(told)
            self._serve("fast" if told.get("speed") == "fast" else told.get("service_tier"))

    def _stop_early(self) -> None:
        """End at the mark of the end that other wires have; it says nothing of the answer."""
        if self._stop_reason is not None:
            self._end()
        self.done = True

    def _end(self) -> None:
        for place in list(self._open_blocks):
            self._close(place)
        self._closes(self._stop_reason)
        self.done = True


def _is_ping(event: SseEvent) -> bool:
    """Whether an event is a sign of life and no more."""
    return event.name == "ping" or (event.name == "message" and _PING.match(event.data) is not None)


def usage_of(raw: Mapping[str, Any], quality: Quality) -> Usage:
    """Put the counts into buckets: they overlap only where reasoning is a part of the output.

    Writes to the cache whose time is not told are of the usual five minutes.
    """
    hour, minutes = counts.at(raw, *_HOUR), counts.at(raw, *_MINUTES)
    # Without a sum, the split is all that is told.
    written = counts.at(raw, _WRITTEN) or hour + minutes
    hour = min(hour, written)
    return bounded(
        Usage(
            input=counts.at(raw, "input_tokens"),
            cache_read=counts.at(raw, "cache_read_input_tokens"),
            cache_write_5m=written - hour,
            cache_write_1h=hour,
            output=counts.at(raw, "output_tokens"),
            reasoning=counts.at(raw, *_THOUGHT),
            searches=counts.at(raw, "server_tool_use", "web_search_requests"),
            quality=quality,
        )
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
