"""Reading a stream of ConverseStream events.

An answer is whole at ``messageStop``, which carries the reason. The usage comes after it, in
``metadata``, and then nothing. Content blocks are told apart by their index; only those of tool
calls have a beginning of their own. Reasoning is signed, and its blocks are kept for the next call,
which must bring them back unchanged. What a delta is, its own member says, whatever block it is in;
servers in between leave out the beginning or the end of blocks, or their index.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core.aws.framings import BedrockEvent, ConverseFraming
from actors.streaming.core.decoding import counts
from actors.streaming.core.decoding.arguments import text_of
from actors.streaming.core.errors.faults import fail_on
from actors.streaming.core.framing.protocol import Framing
from actors.streaming.core.reading import finish_words
from actors.streaming.core.reading.finish_words import UNSURE
from actors.streaming.core.reading.fragments import Fragment, identifier, place_of
from actors.streaming.core.reading.fragments import Place as Index
from actors.streaming.core.reading.garbled import garbled
from actors.streaming.core.reading.reader import Reader, StreamPlace
from actors.streaming.core.tokens.reckoning import Shape, topped
from actors.streaming.core.wires.converse.chunks import (
    BlockDelta,
    Body,
    ReasoningPart,
    decode,
)
from schemas.llm import GenerateRequest
from schemas.usage import Quality, Usage

_READ = (("cacheReadInputTokens",), ("cacheReadInputTokenCount",))
_WRITTEN = (("cacheWriteInputTokens",), ("cacheWriteInputTokenCount",))
_COUNTED = (*_READ, *_WRITTEN)


_SERVERS = frozenset({"server_tool_use", "mcp_tool_use"})
"""The types of calls that the server itself answers. Any other, "tool_use", is the caller's."""


class _ReasoningBlock:
    """A block of reasoning while it grows."""

    def __init__(self, place: StreamPlace) -> None:
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
    SHAPE = Shape(
        prompt="inputTokens", output="outputTokens", total="totalTokens", details=_COUNTED
    )

    def __init__(
        self, request: GenerateRequest, framing: Framing[BedrockEvent] | None = None
    ) -> None:
        super().__init__(request, framing or ConverseFraming())
        self._model = request.provider.model
        self._of_server: set[Index] = set()
        self._thoughts: dict[Index, _ReasoningBlock] = {}
        self._latest: Index = 0

    def _event(self, event: BedrockEvent) -> None:
        match event.kind:
            case "contentBlockStart":
                self._begin(_read(event))
            case "contentBlockDelta":
                body = _read(event)
                if body.delta is not None:
                    self._grow(self._at(body), body.delta)
            case "contentBlockStop":
                self._close(self._at(_read(event)))
            case "messageStop":
                self._stop(_read(event).stop_reason or "")
            case "metadata":
                self._end(_read(event))
            case _:
                # The beginning of the message says nothing; what is unknown is for newer readers.
                fail_on(event.body, named=event.kind == "error" or event.kind.endswith("Exception"))

    def _at(self, body: Body) -> Index:
        """Return the place of a block; without an index, that of the last one that was told."""
        index = body.content_block_index
        place = index if type(index) is int else place_of(index)
        if place is not None:
            self._latest = place
        return self._latest

    def _begin(self, body: Body) -> None:
        index, start = self._at(body), body.start
        self._close(index)
        self._of_server.discard(index)
        tool = start.tool_use if start is not None else None
        if tool is None:
            return
        if tool.type in _SERVERS:
            self._of_server.add(index)
        elif tool.tool_use_id or tool.name:
            call_id, name = identifier(tool.tool_use_id), tool.name or ""
            self._fragments.begin(Fragment(index, call_id, name, text_of(tool.input)))

    def _grow(self, index: Index, delta: BlockDelta) -> None:
        if delta.text:
            self._say(delta.text)
        if delta.tool_use is not None and index not in self._of_server:
            self._fragments.put(Fragment(index, arguments=text_of(delta.tool_use.input)))
        if delta.reasoning_content is not None:
            self._reason_on(index, delta.reasoning_content)

    def _reason_on(self, index: Index, part: ReasoningPart) -> None:
        if index not in self._thoughts:
            self._thoughts[index] = _ReasoningBlock(self._place())
        self._weigh(len(part.signature or "") + len(part.redacted_content or b""))
        self._thoughts[index].grow(part)
        if part.text:
            self._think(part.text)

    def _close(self, index: Index) -> None:
        thought = self._thoughts.pop(index, None)
        raw = thought.raw() if thought is not None else None
        if thought is not None and raw is not None:
            self._keep(raw, thought.place)

    def _stop(self, reason: str) -> None:
        for index in [*self._thoughts]:
            self._close(index)
        self._ends_as(finish_words.ending(self.WIRE, reason) or UNSURE, reason)

    def _end(self, body: Body) -> None:
        if told := counts.members(body.usage):
            self._account(told)
        self._serve(counts.members(body.service_tier).get("type"))
        router = body.trace.prompt_router if body.trace is not None else None
        self._model = (router and router.invoked_model_id) or self._model
        if self._settling.ending is not None:
            self._settling.seal()
            self.done = True

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        return usage_of(raw, quality)


def usage_of(raw: Mapping[str, Any], quality: Quality) -> Usage:
    """Put the counts into buckets. ``inputTokens`` excludes what the caches served or stored."""
    written = {detail.get("ttl"): counts.at(detail, "inputTokens") for detail in _details(raw)}
    short, long = written.get("5m", 0), written.get("1h", 0)
    total = max(counts.at(raw, *path) for path in _WRITTEN) or short + long
    long = min(long, total)
    short = min(short, total - long)
    usage = Usage(
        input=counts.at(raw, "inputTokens"),
        cache_read=max(counts.at(raw, *path) for path in _READ),
        cache_write=total - short - long,
        cache_write_5m=short,
        cache_write_1h=long,
        output=counts.at(raw, "outputTokens"),
        quality=quality,
    )
    return topped(usage, counts.at(raw, "totalTokens"))


def _details(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [counts.members(detail) for detail in counts.items(raw.get("cacheDetails"))]


def _read(event: BedrockEvent) -> Body:
    try:
        body = decode(event.body)
    except (msgspec.DecodeError, RecursionError):
        raise garbled(event.body) from None
    if body.error or body.base_resp:
        fail_on(event.body)
    return body
