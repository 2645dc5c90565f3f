"""Reading a stream of Titan's chunks, as InvokeModel brings them.

An answer is whole at the chunk that says why it is complete. A guardrail's own answer says nothing
of that kind: there it is the chunk that counts the output.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core.aws.framings import METRICS, InvokeFraming
from actors.streaming.core.decoding import counts
from actors.streaming.core.decoding.surrogates import EventDecoder
from actors.streaming.core.errors.faults import fail_on
from actors.streaming.core.reading.finish_words import is_word
from actors.streaming.core.reading.garbled import garbled
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.tokens.reckoning import Shape
from schemas.llm import GenerateRequest
from schemas.sse import SseEvent
from schemas.usage import Quality, Usage

_GUARDRAIL = "amazon-bedrock-guardrailAction"

_GUARDED = frozenset({"INTERVENED", "GUARDRAIL_INTERVENED"})
"""The words of a guardrail that has answered itself; of any other it says "NONE"."""


class TitanChunk(msgspec.Struct, frozen=True, rename="camel"):
    """One event of the stream."""

    output_text: str | None = None
    completion_reason: str | None = None
    results: Any = None
    input_text_token_count: Any = None
    total_output_text_token_count: Any = None
    metrics: Any = msgspec.field(name=METRICS, default=None)
    guardrail_action: str | None = msgspec.field(name=_GUARDRAIL, default=None)
    error: Any = None
    base_resp: Any = msgspec.field(name="base_resp", default=None)


_decode = EventDecoder(TitanChunk).decode


class TitanReader(Reader[SseEvent]):
    """Collects one answer from Titan's chunks; see the module's docstring for its end."""

    WIRE = "titan"
    SHAPE = Shape(prompt="inputTokenCount", output="outputTokenCount")

    def __init__(self, request: GenerateRequest) -> None:
        super().__init__(request, InvokeFraming())
        self._model = request.provider.model
        self._input: int | float | None = None

    def _event(self, event: SseEvent) -> None:
        chunk = _read(event)
        if chunk.output_text:
            self._say(chunk.output_text)
        if chunk.input_text_token_count is not None:
            self._input = chunk.input_text_token_count
        output = chunk.total_output_text_token_count
        is_guarded = output is not None and chunk.guardrail_action in _GUARDED
        reason = chunk.completion_reason or (is_guarded and chunk.guardrail_action)
        if reason and is_word(reason):
            told = {"inputTokenCount": self._input, "outputTokenCount": output}
            self._account(counts.members(chunk.metrics) or told)
            self._closes(reason)

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        """Put the counts into buckets; Bedrock's own where they have come."""
        return Usage(
            input=counts.at(raw, "inputTokenCount"),
            output=counts.at(raw, "outputTokenCount"),
            quality=quality,
        )


def _read(event: SseEvent) -> TitanChunk:
    try:
        chunk = _decode(event.data)
        result = next(iter(counts.items(chunk.results)), None)
        chunk = chunk if result is None else _whole(chunk, counts.members(result))
    except (msgspec.DecodeError, RecursionError):
        raise garbled(event.data) from None
    if chunk.output_text is None or chunk.error or chunk.base_resp:
        fail_on(event.data)
    return chunk


def _whole(answer: TitanChunk, result: dict[str, Any]) -> TitanChunk:
    """Return an answer that has not been streamed as the one chunk of a stream.

    Raises:
        msgspec.ValidationError: it is none.
    """
    told = {name: result.get(name) for name in ("outputText", "completionReason")}
    count = {"totalOutputTextTokenCount": result.get("tokenCount")}
    asked = {"inputTextTokenCount": answer.input_text_token_count}
    return msgspec.convert(told | count | asked, TitanChunk)
