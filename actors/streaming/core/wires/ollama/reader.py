"""Reading a stream of Ollama's lines.

An answer is whole at the line that says ``done``. That line may still bring tool calls or text.
Calls come whole, with their arguments as an object, and usually without an id. An error is a line
of its own, after a status that promised success.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core.decoding import counts
from actors.streaming.core.errors.faults import fail_on
from actors.streaming.core.framing.wrapping import LineFraming
from actors.streaming.core.reading.finish_words import STOP, normal
from actors.streaming.core.reading.fragments import Fragment, identifier, place_of
from actors.streaming.core.reading.garbled import garbled
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.tokens.reckoning import Shape
from actors.streaming.core.wires.ollama.chunks import (
    OllamaCall,
    OllamaFunction,
    OllamaLine,
    OllamaMessage,
    decode,
)
from schemas.llm import GenerateRequest
from schemas.sse import marker
from schemas.usage import Quality, Usage

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
    SHAPE = Shape(prompt="prompt_eval_count", output="eval_count", omits_zeros=True)

    def __init__(self, request: GenerateRequest) -> None:
        super().__init__(request, LineFraming())

    def _event(self, event: bytes) -> None:
        if event[:1] != b"{" and (said := marker(event.decode("utf-8", "replace"))):
            self.done = said == "done"
            return
        line = _read(event)
        self._model = line.model or self._model
        message = line.message if isinstance(line.message, OllamaMessage) else None
        if thought := (message and message.thinking) or line.thinking:
            self._think(thought)
        if text := (message and message.content) or line.response:
            self._say(text)
        if calls := message and message.tool_calls:
            told = [calls] if isinstance(calls, OllamaCall) else calls
            self._fragments.add([_fragment(call) for call in told])
        if line.done:
            self._end(line)

    def _end(self, line: OllamaLine) -> None:
        told = {name: getattr(line, name) for name in _COUNTS}
        self._account({name: count for name, count in told.items() if count is not None})
        # Older versions give no reason.
        self._closes(line.done_reason, wordless=STOP)
        self.done = True

    def _counted(self, quality: Quality) -> Usage:
        """Return what was used: nothing where the model was only loaded."""
        usage = self._usage or {}
        is_counted = "eval_count" in usage or "prompt_eval_count" in usage
        if not is_counted and normal(self._settling.word or "") in _NOTHING_GENERATED:
            return Usage()
        return super()._counted(quality)

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        """Put the counts into buckets.

        A missing count of the prompt is a zero that Ollama leaves out: where the prompt was still
        in memory, none of it was evaluated. Without both nothing was counted.
        """
        return Usage(
            input=counts.at(raw, "prompt_eval_count"),
            output=counts.at(raw, "eval_count"),
            quality=quality,
        )


def _fragment(part: OllamaCall) -> Fragment:
    """Read a call. An index may stand beside it or in its function; arguments are whole."""
    function = part.function or OllamaFunction()
    given = function.arguments or {}
    whole = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    index = part.index if function.index is None else function.index
    name = function.name or ""
    return Fragment(place_of(index), identifier(part.id), name, whole if name else "")


def _read(event: bytes) -> OllamaLine:
    try:
        line = decode(event)
    except (msgspec.DecodeError, RecursionError):
        raise garbled(event) from None
    has_answer = isinstance(line.message, OllamaMessage) or line.response is not None
    if not (has_answer or line.done) or line.error or line.base_resp:
        fail_on(event)
    return line
