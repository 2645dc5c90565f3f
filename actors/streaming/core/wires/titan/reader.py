"""Reading a stream of Titan's chunks, as InvokeModel brings them.

An answer is whole at the chunk that says why it is complete. A guardrail's own answer says nothing
of that kind: there it is the chunk that counts the output.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts, surrogates
from actors.streaming.core.bedrock import InvokeFraming
from actors.streaming.core.reader import GarbledError, Reader
from actors.streaming.core.sse import SseEvent
from schemas import bounds
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no chunk.", retryable=True
)

_METRICS = "amazon-bedrock-invocationMetrics"
_GUARDRAIL = "amazon-bedrock-guardrailAction"

_FINISH: dict[str, FinishReason] = {
    "FINISH": "stop",
    "FINISHED": "stop",
    "STOP_CRITERIA_MET": "stop",
    "LENGTH": "length",
    "CONTENT_FILTERED": "content_filter",
    "INTERVENED": "content_filter",
}


class Chunk(msgspec.Struct, frozen=True, rename="camel"):
    """One event of the stream."""

    output_text: str | None = None
    completion_reason: str | None = None
    input_text_token_count: int | float | None = None
    total_output_text_token_count: int | float | None = None
    metrics: dict[str, Any] | None = msgspec.field(name=_METRICS, default=None)
    guardrail_action: str | None = msgspec.field(name=_GUARDRAIL, default=None)


_decoder = bounds.Decoder(Chunk)


class TitanReader(Reader[SseEvent]):
    """Collects one answer from Titan's chunks; see the module's docstring for its end."""

    WIRE = "titan"

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
        reason = chunk.completion_reason or (output is not None and chunk.guardrail_action)
        if reason:
            self._finish_word, self._finish = reason, _FINISH.get(reason, "other")
            told = {"inputTokenCount": self._input, "outputTokenCount": output}
            self._usage = chunk.metrics or told

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        """Put the counts into buckets; Bedrock's own where they have come."""
        if raw.get("outputTokenCount") is None:
            return None
        return Usage(
            input=counts.at(raw, "inputTokenCount"),
            output=counts.at(raw, "outputTokenCount"),
            quality=quality,
        )


def _read(event: SseEvent) -> Chunk:
    try:
        return surrogates.decode(_decoder, event.data)
    except (msgspec.DecodeError, RecursionError):
        raise GarbledError(GARBLED) from None
