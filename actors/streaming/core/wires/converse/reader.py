"""Reading a stream of ConverseStream events.

An answer is whole at ``messageStop``, which carries the reason. The usage comes after it, in
``metadata``, and then nothing. Content blocks are told apart by their index; only those of tool
calls have a beginning of their own. Reasoning is signed, and its blocks are kept for the next call,
which must bring them back unchanged.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts
from actors.streaming.core.bedrock import BedrockEvent, ConverseFraming
from actors.streaming.core.faults import fail_on
from actors.streaming.core.framing import Framing
from actors.streaming.core.reader import GarbledError, Place, Reader
from actors.streaming.core.tool_calls import GrowingCall
from actors.streaming.core.wires.converse.chunks import (
    BlockDelta,
    Body,
    ReasoningPart,
    ToolInput,
    ToolStart,
    decode,
)
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no event.", retryable=True
)

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


class _ReasoningBlock:
    """A block of reasoning while it grows."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._text: list[str] = []
        self._signature: list[str] = []
        self._redacted: list[bytes] = []

    def grow(self, part: ReasoningPart) -> None:
        self._text.append(part.text or "")
        self._signature.append(part.signature or "")
        self._redacted.append(part.redacted_content or b"")

    def raw(self) -> dict[str, Any] | None:
        """Write the block as a next call must bring it back; None if it need not."""
        if redacted := b"".join(self._redacted):
            return {"reasoningContent": {"redactedContent": b64encode(redacted).decode()}}
        if signature := "".join(self._signature):
            told = {"text": "".join(self._text), "signature": signature}
            return {"reasoningContent": {"reasoningText": told}}
        return None


class ConverseReader(Reader[BedrockEvent]):
    """Collects one answer from Converse events; see the module's docstring for its end."""

    WIRE = "converse"

    def __init__(
        self, request: GenerateRequest, framing: Framing[BedrockEvent] | None = None
    ) -> None:
        super().__init__(request, framing or ConverseFraming())
        self._model = request.provider.model
        self._tools: dict[int, GrowingCall] = {}
        self._thoughts: dict[int, _ReasoningBlock] = {}

    def _event(self, event: BedrockEvent) -> None:
        match event.kind:
            case "contentBlockStart":
                self._begin(_read(event))
            case "contentBlockDelta":
                body = _read(event)
                if body.delta is not None:
                    self._grow(body.content_block_index, body.delta)
            case "contentBlockStop":
                self._close(_read(event).content_block_index)
            case "messageStop":
                self._stop(_read(event).stop_reason or "")
            case "metadata":
                self._end(_read(event))
            case _:
                # The beginning of the message says nothing; what is unknown is for newer readers.
                fail_on(event.body, named=event.kind == "error" or event.kind.endswith("Exception"))

    def _begin(self, body: Body) -> None:
        tool = body.start.tool_use if body.start is not None else None
        if tool is not None and not tool.type:
            self._tools[body.content_block_index] = self._call(tool)

    def _call(self, tool: ToolStart) -> GrowingCall:
        return self._calls.begin(tool.tool_use_id or "", tool.name or "")

    def _grow(self, index: int, delta: BlockDelta) -> None:
        if delta.text:
            self._say(delta.text)
        if delta.tool_use is not None and index in self._tools:
            self._tools[index].grow(_json(delta.tool_use))
        if delta.reasoning_content is not None:
            self._reason_on(index, delta.reasoning_content)

    def _reason_on(self, index: int, part: ReasoningPart) -> None:
        if index not in self._thoughts:
            self._thoughts[index] = _ReasoningBlock(self._place())
        self._weigh(len(part.signature or "") + len(part.redacted_content or b""))
        self._thoughts[index].grow(part)
        if part.text:
            self._think(part.text)

    def _close(self, index: int) -> None:
        thought = self._thoughts.pop(index, None)
        raw = thought.raw() if thought is not None else None
        if thought is not None and raw is not None:
            self._keep(raw, thought.place)

    def _stop(self, reason: str) -> None:
        for index in sorted(self._thoughts):
            self._close(index)
        self._finish_word = reason
        self._finish = _FINISH.get(reason, "other")

    def _end(self, body: Body) -> None:
        self._usage = body.usage
        self._serve(counts.members(body.service_tier).get("type"))
        router = body.trace.prompt_router if body.trace is not None else None
        self._model = (router and router.invoked_model_id) or self._model
        self.done = self.whole

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        if not counts.told(raw, "inputTokens", "outputTokens", quality):
            return None
        return usage_of(raw, quality)


def usage_of(raw: Mapping[str, Any], quality: Quality) -> Usage:
    """Put the counts into buckets. ``inputTokens`` excludes what the caches served or stored."""
    written = {detail.get("ttl"): counts.at(detail, "inputTokens") for detail in _details(raw)}
    total = counts.at(raw, "cacheWriteInputTokens") or counts.at(raw, "cacheWriteInputTokenCount")
    short, long = written.get("5m", 0), written.get("1h", 0)
    return Usage(
        input=counts.at(raw, "inputTokens"),
        cache_read=counts.at(raw, "cacheReadInputTokens")
        or counts.at(raw, "cacheReadInputTokenCount"),
        cache_write=max(total - short - long, 0),
        cache_write_5m=short,
        cache_write_1h=long,
        output=counts.at(raw, "outputTokens"),
        quality=quality,
    )


def _details(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [counts.members(detail) for detail in counts.items(raw.get("cacheDetails"))]


def _json(part: ToolInput) -> str:
    if isinstance(part.input, dict):
        return msgspec.json.encode(part.input).decode()
    return part.input or ""


def _read(event: BedrockEvent) -> Body:
    try:
        body = decode(event.body)
    except (msgspec.DecodeError, RecursionError):
        fail_on(event.body)
        raise GarbledError(GARBLED) from None
    if body.error or body.base_resp:
        fail_on(event.body)
    return body
