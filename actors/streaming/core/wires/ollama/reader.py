"""Reading a stream of Ollama's lines.

An answer is whole at the line that says ``done``. That line may still bring tool calls or text.
Calls come whole, with their arguments as an object, and usually without an id. An error is a line
of its own, after a status that promised success.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts
from actors.streaming.core.faults import fail_on
from actors.streaming.core.ndjson import NdjsonParser
from actors.streaming.core.reader import GarbledError, Reader
from actors.streaming.core.wires.ollama.chunks import CallPart, Line, MessagePart, decode
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no line.", retryable=True
)

_FINISH: dict[str, FinishReason] = {"": "stop", "stop": "stop", "length": "length"}

_NOTHING_GENERATED = frozenset({"load", "unload"})

_COUNTS = (
    "prompt_eval_count",
    "eval_count",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)


class OllamaReader(Reader[bytes]):
    """Collects one answer of chat or generate; see the module's docstring for its end."""

    WIRE = "ollama"

    def __init__(self, request: GenerateRequest) -> None:
        super().__init__(request, NdjsonParser())

    def _event(self, event: bytes) -> None:
        line = _read(event)
        self._model = line.model or self._model
        message = line.message if isinstance(line.message, MessagePart) else None
        if thought := (message and message.thinking) or line.thinking:
            self._think(thought)
        if text := (message and message.content) or line.response:
            self._say(text)
        for call in (message and message.tool_calls) or ():
            self._take_call(call)
        if line.done:
            self._end(line)

    def _take_call(self, part: CallPart) -> None:
        function = part.function
        call = self._calls.begin(part.id or "", (function and function.name) or "")
        arguments = function.arguments if function is not None else None
        if isinstance(arguments, dict):
            call.grow(msgspec.json.encode(arguments).decode())
        elif arguments:
            call.grow(arguments)

    def _end(self, line: Line) -> None:
        self._finish_word = line.done_reason
        self._finish = _FINISH.get(line.done_reason or "", "other")
        told = {name: getattr(line, name) for name in _COUNTS}
        self._usage = {name: count for name, count in told.items() if count is not None}
        self.done = True

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        """Put the counts into buckets.

        One missing count is a zero that Ollama leaves out: where the prompt was still in memory,
        none of it was evaluated. Without both nothing was counted, unless nothing was generated.
        """
        counted = "eval_count" in raw or "prompt_eval_count" in raw
        if not counted and self._finish_word not in _NOTHING_GENERATED:
            return None
        return Usage(
            input=counts.at(raw, "prompt_eval_count"),
            output=counts.at(raw, "eval_count"),
            quality=quality,
        )


def _read(event: bytes) -> Line:
    try:
        line = decode(event)
    except (msgspec.DecodeError, RecursionError):
        fail_on(event)
        raise GarbledError(GARBLED) from None
    has_answer = isinstance(line.message, MessagePart) or line.response is not None
    if not (has_answer or line.done) or line.error or line.base_resp:
        fail_on(event)
    return line
