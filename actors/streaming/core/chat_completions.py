"""Reading a stream of OpenAI Chat Completions chunks into deltas and one whole answer.

When is an answer whole? The terminal event is a chunk whose choice carries a non-empty
``finish_reason``: the model's own word that it has ended, and why. ``data: [DONE]`` is only the
server's word that it sends no more. It ends the reading, it may be missing (several servers leave
it out, Groq does after an error), and for OpenAI and Groq it proves nothing by itself. Compatible
servers exist that never send a finish reason; for them (``Dialect.done_suffices``) [DONE] after
some content is the end, and the reason is taken to be a stop. A stream that ends in any other way
was cut: that is a failure which may be retried, never a short success.

After the terminal event a stream goes on for one reason, the usage chunk (with no choices). An
error object fails the call wherever it stands, also beside choices or after a finish reason:
OpenRouter reports an upstream failure as finish reason "length", then an error, then [DONE].
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.streaming.core import estimate
from actors.streaming.core.chat_chunks import (
    Choice,
    Chunk,
    ContentPart,
    Count,
    DeltaPart,
    UsagePart,
    decode,
)
from actors.streaming.core.chat_request import DIALECTS
from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.faults import ProviderFaultError, failure_in_stream, fault
from actors.streaming.core.sse import SseEvent
from actors.streaming.core.tool_calls import ToolCallAssembly
from schemas.llm import Answer, FinishReason, GenerateRequest
from schemas.usage import Quality, Usage

MAX_ANSWER_CHARACTERS = 8 * 1024 * 1024
"""Text and reasoning together; ten times what the longest output limits allow."""

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "refusal",
}


class ChatReader:
    """Collects one answer. Feed it every event of the stream, then say ``finish`` or ``cut``.

    ``done`` turns true at [DONE], ``whole`` at the terminal event (see the module's docstring).
    """

    def __init__(self, request: GenerateRequest) -> None:
        self.done = False
        self._request = request
        self._done_suffices = DIALECTS[type(request.provider)].done_suffices
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._characters = 0
        self._calls = ToolCallAssembly()
        self._finish: FinishReason | None = None
        self._refused = False
        self._usage: UsagePart | None = None
        self._model: str | None = None

    @property
    def whole(self) -> bool:
        """Whether the terminal event has come."""
        return self._finish is not None

    def feed(self, events: Iterable[SseEvent]) -> list[Delta]:
        """Take events in order and return what the answer grows by.

        Raises:
            ProviderFaultError: the provider reports an error or speaks nonsense.
        """
        deltas: list[Delta] = []
        for event in events:
            if self.done:
                break
            if event.data.strip() == "[DONE]":
                self._end()
            elif event.data:
                self._chunk(event, deltas)
        return deltas

    def finish(self, rest: Iterable[SseEvent] = ()) -> list[Delta]:
        """Say that the stream has ended, with what was left of it; return the tool calls, whole.

        Raises:
            ProviderFaultError: it ended before its terminal event.
        """
        deltas: list[Delta] = []
        try:
            deltas += self.feed(rest)
        except ProviderFaultError:
            # Half a chunk at the cut says nothing about an answer that was already whole.
            if not self.whole:
                raise
        if not self.whole:
            raise fault("provider_error", "The provider ended the stream in mid-answer.")
        return [*deltas, *self._calls.finished()]

    def answer(self) -> Answer:
        """Return the whole answer; only after ``finish``. Missing usage is estimated."""
        return Answer(
            text="".join(self._text),
            finish_reason=self._reason(),
            usage=self._spent("exact"),
            reasoning="".join(self._reasoning),
            tool_calls=self._calls.finished(),
            model_served=self._model,
        )

    def spent(self) -> Usage:
        """Return what the call has used so far: the provider's last word, else an estimate."""
        return self._spent("exact" if self.whole else "partial_stream")

    def _spent(self, quality: Quality) -> Usage:
        if self._usage is not None:
            return usage_of(self._usage, quality)
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        return estimate.usage(self._request, text, reasoning, self._calls.finished())

    def _reason(self) -> FinishReason:
        if self._refused:
            return "refusal"
        # Some servers say "stop" also where the model waits for its tools.
        if self._calls and self._finish in {"stop", "other"}:
            return "tool_calls"
        return self._finish or "other"

    def _end(self) -> None:
        self.done = True
        began = self._characters or self._calls
        if self._finish is None and self._done_suffices and began:
            self._finish = "stop"

    def _chunk(self, event: SseEvent, deltas: list[Delta]) -> None:
        chunk = _decode(event)
        self._model = chunk.model or self._model
        self._usage = chunk.usage or (chunk.x_groq and chunk.x_groq.usage) or self._usage
        for choice in chunk.choices or ():
            if not choice.index:
                self._choice(choice, deltas)

    def _choice(self, choice: Choice, deltas: list[Delta]) -> None:
        if choice.delta is not None:
            self._grow(choice.delta, deltas)
        if choice.finish_reason == "error":
            raise fault("provider_error", "The provider broke off its answer.")
        if choice.finish_reason:
            self._finish = _FINISH.get(choice.finish_reason, "other")

    def _grow(self, delta: DeltaPart, deltas: list[Delta]) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            self._think(reasoning, deltas)
        if isinstance(delta.content, list):
            self._parts(delta.content, deltas)
        elif delta.content:
            self._say(delta.content, deltas)
        if delta.refusal:
            self._refused = True
            self._say(delta.refusal, deltas)
        if delta.tool_calls:
            self._calls.add(delta.tool_calls)

    def _parts(self, parts: list[ContentPart], deltas: list[Delta]) -> None:
        for part in parts:
            if part.thinking:
                self._think(_plain(part.thinking), deltas)
            elif part.text:
                self._say(part.text, deltas)

    def _say(self, text: str, deltas: list[Delta]) -> None:
        self._count(text)
        self._text.append(text)
        deltas.append(TextDelta(text))

    def _think(self, text: str, deltas: list[Delta]) -> None:
        self._count(text)
        self._reasoning.append(text)
        deltas.append(ReasoningDelta(text))

    def _count(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise fault("provider_error", "The provider's answer is too large.", retryable=False)


def _decode(event: SseEvent) -> Chunk:
    """Read a chunk, or raise the error that it carries."""
    try:
        chunk = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        raise fault("provider_error", "The provider sent something that is no chunk.") from None
    error: Any = chunk.error or (chunk.x_groq and chunk.x_groq.error)
    if error or event.name == "error":
        raise ProviderFaultError(failure_in_stream(error))
    return chunk


def _plain(thinking: list[ContentPart] | str) -> str:
    if isinstance(thinking, str):
        return thinking
    return "".join(part.text or "" for part in thinking)


def usage_of(part: UsagePart, quality: Quality) -> Usage:
    """Put the counts into buckets that do not overlap.

    Cached and cache-written tokens lie inside ``prompt_tokens``, reasoning inside
    ``completion_tokens``, except where the total shows that reasoning was counted beside them.
    """
    prompt, details = _count(part.prompt_tokens), part.prompt_tokens_details
    read = _count(details.cached_tokens) if details else 0
    written = _count(details.cache_write_tokens) if details else 0
    output, total = _count(part.completion_tokens), _count(part.total_tokens)
    within = part.completion_tokens_details
    reasoning = _count(within.reasoning_tokens) if within else 0
    if reasoning and total == prompt + output + reasoning:
        output += reasoning
    return Usage(
        input=max(prompt - read - written, 0),
        cache_read=read,
        cache_write=written,
        output=max(output, reasoning),
        reasoning=reasoning,
        quality=quality,
    )


def _count(count: Count) -> int:
    return max(int(count), 0) if count else 0
