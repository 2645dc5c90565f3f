"""Reading a stream of OpenAI Chat Completions chunks.

When is an answer whole? The terminal event is a chunk whose choice carries a non-empty
``finish_reason``: the model's own word that it has ended, and why. ``data: [DONE]`` is only the
server's word that it sends no more. It ends the reading, it may be missing (several servers leave
it out, Groq does after an error), and for OpenAI and Groq it proves nothing by itself. Compatible
servers exist that never send a finish reason; for them (``done_suffices``) [DONE] after some
content is the end, and the reason is taken to be a stop.

After the terminal event a stream goes on for one reason, the usage chunk (with no choices). An
error object fails the call wherever it stands, also beside choices or after a finish reason:
OpenRouter reports an upstream failure as finish reason "length", then an error, then [DONE].
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts
from actors.streaming.core.deltas import Delta
from actors.streaming.core.faults import ProviderFaultError, failure_in_stream, fault
from actors.streaming.core.framing import Framing
from actors.streaming.core.reader import GarbledError, Place, Reader
from actors.streaming.core.sse import SseEvent, SseParser
from actors.streaming.core.wires.openai_chat.chunks import (
    CallPart,
    Choice,
    Chunk,
    ContentPart,
    DeltaPart,
    decode,
)
from actors.streaming.core.wires.openai_chat.details import DETAILS, ReasoningDetails
from actors.streaming.core.wires.openai_chat.fragments import EXTRAS, CallFragments
from schemas import bounds
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "complete": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
}

_BROKEN_OFF = frozenset({"error", "abort", "insufficient_system_resource"})
"""What servers give as the reason where they, and not the model, have ended an answer."""


class ChatReader(Reader[SseEvent]):
    """Collects one answer from Chat Completions chunks; see the module's docstring for its end."""

    WIRE = "openai_chat"

    def __init__(
        self,
        request: GenerateRequest,
        *,
        done_suffices: bool = False,
        framing: Framing[SseEvent] | None = None,
    ) -> None:
        super().__init__(request, framing or SseParser())
        self._done_suffices = done_suffices
        self._fragments = CallFragments(self._calls)
        self._details = ReasoningDetails()
        self._refused = False
        self._wants_back = False

    def finish(self) -> list[Delta]:
        """Return the tool calls; see ``Reader``.

        The servers that send ``reasoning_content``, or details of it, want them back beside the
        calls they led to, and what they have sent beside a call, such as a signature, on that call.
        """
        deltas = super().finish()
        if self._wants_back and deltas:
            self._keep({"reasoning_content": "".join(self._reasoning)}, Place(0, 0))
        if deltas and (details := self._details.pieces()):
            self._keep({DETAILS: details}, Place(0, 0))
        if extras := self._fragments.extras:
            self._keep({EXTRAS: extras}, Place(0, 0))
        return deltas

    def _event(self, event: SseEvent) -> None:
        data = event.data
        if data[:1] != "{" and data.strip() == "[DONE]":
            self._end()
        elif data:
            self._chunk(_decode(event))

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        if not counts.told(raw, "prompt_tokens", "completion_tokens", quality):
            return None
        return usage_of(raw, quality)

    def _reason(self) -> FinishReason:
        return "refusal" if self._refused else super()._reason()

    def _end(self) -> None:
        self.done = True
        if self._finish is None and self._done_suffices and (self._size or len(self._calls)):
            self._finish = "stop"

    def _chunk(self, chunk: Chunk) -> None:
        self._model = chunk.model or self._model
        self._serve(chunk.service_tier)
        self._usage = chunk.usage or (chunk.x_groq and chunk.x_groq.usage) or self._usage
        for choice in chunk.choices or ():
            if not choice.index:
                self._choice(choice)

    def _choice(self, choice: Choice) -> None:
        if choice.delta is not None:
            self._grow(choice.delta)
        elif choice.message is not None and not self._size and not len(self._calls):
            # Some servers do not stream, and some repeat the whole answer at its end.
            self._grow(choice.message)
        if choice.error:
            raise ProviderFaultError(failure_in_stream(choice.error))
        if choice.finish_reason in _BROKEN_OFF:
            raise fault("provider_error", "The provider broke off its answer.")
        if choice.finish_reason:
            self._usage = self._usage or choice.usage
            self._finish_word = choice.finish_reason
            self._finish = _FINISH.get(choice.finish_reason.lower(), "other")

    def _grow(self, delta: DeltaPart) -> None:
        if delta.reasoning_content:
            self._wants_back = True
        if reasoning := delta.reasoning_content or delta.reasoning:
            self._think(reasoning)
        if delta.reasoning_details:
            self._weigh(self._details.add(delta.reasoning_details))
        if isinstance(delta.content, list):
            self._parts(delta.content)
        elif delta.content:
            self._say(delta.content)
        if delta.refusal:
            self._refused = True
            self._say(delta.refusal)
        if calls := delta.tool_calls:
            self._fragments.add([calls] if isinstance(calls, CallPart) else calls)
        if delta.function_call:
            self._fragments.add([CallPart(index=0, function=delta.function_call)])

    def _parts(self, parts: list[ContentPart]) -> None:
        for part in parts:
            if thinking := part.thinking or part.summary:
                self._think(_plain(thinking))
            elif part.text:
                self._say(part.text)


def _decode(event: SseEvent) -> Chunk:
    """Read a chunk, or raise the error that it carries."""
    try:
        chunk = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        if event.name == "error":
            raise ProviderFaultError(failure_in_stream(None)) from None
        raise GarbledError(GARBLED) from None
    error: Any = chunk.error or (chunk.x_groq and chunk.x_groq.error)
    if chunk.object == "error":
        error = error or bounds.decode(event.data)
    if error or event.name == "error":
        raise ProviderFaultError(failure_in_stream(error))
    return chunk


GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no chunk.", retryable=True
)


def _plain(thinking: list[ContentPart] | str) -> str:
    if isinstance(thinking, str):
        return thinking
    return "".join(part.text or "" for part in thinking)


def usage_of(raw: Mapping[str, Any], quality: Quality) -> Usage:
    """Put the counts into buckets that do not overlap.

    Cached, cache-written and audio tokens lie inside ``prompt_tokens``, unless they are more than
    that; of audio and cached tokens that overlap, that much is cached audio. Audio lies inside
    ``completion_tokens``, and so does reasoning, but for those who count it beside them.
    """
    prompt, heard = counts.at(raw, "prompt_tokens"), counts.at(raw, _DETAILS, "audio_tokens")
    read, written = _first(raw, _READ), _first(raw, _WRITTEN)
    plain = prompt - read - written if read + written <= prompt else prompt
    told = counts.at(raw, _DETAILS, "cached_tokens_details", "audio_tokens")
    heard_again = min(max(told, heard - plain), heard, read)
    spoken = counts.at(raw, "completion_tokens_details", "audio_tokens")
    output, reasoning, citation = _answer(raw)
    return Usage(
        input=max(plain - heard + heard_again, 0),
        cache_read=read - heard_again,
        cache_write=written,
        output=max(output - spoken, reasoning + citation),
        reasoning=reasoning,
        audio_input=heard - heard_again,
        audio_cached=heard_again,
        audio_output=spoken,
        searches=counts.at(raw, "num_search_queries"),
        citation=citation,
        quality=quality,
    )


_DETAILS = "prompt_tokens_details"
_READ = (
    (_DETAILS, "cached_tokens"),
    # DeepSeek's older name for it stands beside the details, or alone, and so do those of others.
    ("prompt_cache_hit_tokens",),
    ("cached_tokens",),
    ("cache_read_input_tokens",),
)
_WRITTEN = (
    (_DETAILS, "cache_write_tokens"),
    (_DETAILS, "cache_creation_tokens"),
    ("cache_creation_input_tokens",),
)
_REASONING = (("completion_tokens_details", "reasoning_tokens"), ("reasoning_tokens",))


def _first(raw: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> int:
    """Return the first count that there is one of, by all names of the same."""
    return next((count for path in paths if (count := counts.at(raw, *path))), 0)


def _answer(raw: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return all tokens of the answer, with the reasoning and the citations among them.

    Perplexity counts both beside ``completion_tokens`` and in no total; of others the total shows
    whether reasoning was.
    """
    output, reasoning = counts.at(raw, "completion_tokens"), _first(raw, _REASONING)
    if "citation_tokens" in raw:
        citation = counts.at(raw, "citation_tokens")
        return output + reasoning + citation, reasoning, citation
    total = counts.at(raw, "prompt_tokens") + output + reasoning
    is_beside = reasoning > output or counts.at(raw, "total_tokens") == total
    return output + reasoning * is_beside, reasoning, 0
