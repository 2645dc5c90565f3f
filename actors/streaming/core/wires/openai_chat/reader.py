"""Reading a stream of OpenAI Chat Completions chunks.

When is an answer whole? The terminal event is a chunk whose choice carries a non-empty
``finish_reason``: the model's own word that it has ended, and why (``core/reading/finish_words``).
Without [DONE] it is the end only where it makes sense and the server has not gone on behind one
before (``core/reading/settling``). ``data: [DONE]`` only says that the server sends no more. It
ends the reading, it may be missing (several servers leave it out, Groq does after an error), and
for OpenAI and Groq it proves nothing by itself. Compatible servers exist that never send a finish
reason; for them (``done_suffices``) [DONE] after some text or a call is the end, and the reason is
taken to be a stop.

After the terminal event a stream goes on for one reason, the usage chunk (with no choices). An
error object fails the call wherever it stands, also beside choices or after a finish reason:
OpenRouter reports an upstream failure as finish reason "length", then an error, then [DONE].
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core.aws.framings import METRICS
from actors.streaming.core.decoding import counts
from actors.streaming.core.deltas import Delta
from actors.streaming.core.errors import under_success
from actors.streaming.core.errors.faults import ProviderFaultError, fail_on, failure_in_stream
from actors.streaming.core.framing.protocol import Framing
from actors.streaming.core.framing.wrapping import event_framing
from actors.streaming.core.reading.finish_words import STOP
from actors.streaming.core.reading.fragments import identifier
from actors.streaming.core.reading.garbled import GarbledError, garbled
from actors.streaming.core.reading.reader import Reader, StreamPlace
from actors.streaming.core.tokens.reckoning import Shape, topped
from actors.streaming.core.wires.openai_chat.chunks import (
    CallPart,
    ChatChoice,
    ChatChunk,
    ContentPart,
    DeltaPart,
    decode,
)
from actors.streaming.core.wires.openai_chat.details import DETAILS, ReasoningDetails
from actors.streaming.core.wires.openai_chat.fragments import EXTRAS, add, extras
from schemas.llm import FinishReason, GenerateRequest
from schemas.sse import SseEvent, marker
from schemas.usage import Quality, Usage

_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "summary_text"})
"""The types of pieces of content whose text is a thought."""

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
_HEARD = (_DETAILS, "audio_tokens")
_SPOKEN = ("completion_tokens_details", "audio_tokens")
_COUNTED = (*_READ, *_WRITTEN, *_REASONING, _HEARD, _SPOKEN, ("citation_tokens",))


class ChatReader(Reader[SseEvent]):
    """Collects one answer from Chat Completions chunks; see the module's docstring for its end."""

    WIRE = "openai_chat"
    SHAPE = Shape(
        prompt="prompt_tokens", output="completion_tokens", total="total_tokens", details=_COUNTED
    )

    def __init__(
        self,
        request: GenerateRequest,
        *,
        done_suffices: bool = False,
        framing: Framing[SseEvent] | None = None,
    ) -> None:
        super().__init__(request, framing or event_framing())
        self._done_suffices = done_suffices
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
            self._keep({"reasoning_content": "".join(self._reasoning)}, StreamPlace(0, 0))
        if deltas and (details := self._details.pieces()):
            self._keep({DETAILS: details}, StreamPlace(0, 0))
        if beside := extras(self._calls):
            self._keep({EXTRAS: beside}, StreamPlace(0, 0))
        return deltas

    def _event(self, event: SseEvent) -> None:
        data = event.data
        if event.name == METRICS:
            self._overrule(counts.members(_decode(event).usage))
        elif data[:1] == "{" or (said := marker(data)) is None:
            self._chunk(_decode(event))
        elif said == "done":
            self._end()

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        return usage_of(raw, quality)

    def _reason(self) -> FinishReason:
        return "refusal" if self._refused else super()._reason()

    def _end(self) -> None:
        self.done = True
        # Thoughts alone are no answer.
        has_answer = bool(self._text or len(self._calls))
        if self._settling.ending is None and self._done_suffices and has_answer:
            self._ends_as(STOP, None)
        self._settling.seal()

    def _chunk(self, chunk: ChatChunk) -> None:
        self._model = chunk.model or self._model
        if chunk.service_tier != self._tier:
            self._serve(chunk.service_tier)
        usage: Mapping[str, Any] | None = None
        if chunk.usage or chunk.x_groq is not None:
            beside = chunk.x_groq and chunk.x_groq.usage
            usage = counts.members(chunk.usage) or counts.members(beside)
        if usage:
            self._account(usage)
        for choice in chunk.choices or ():
            if not choice.index or choice.index == "0":
                self._choice(choice)
        if usage:
            self._accounted(alone=not chunk.choices)

    def _choice(self, choice: ChatChoice) -> None:
        delta = choice.delta
        if type(delta) is DeltaPart:
            self._grow(delta)
        elif delta:
            raise GarbledError
        if choice.message and not self._size and not len(self._calls):
            # Some servers do not stream, and some repeat the whole answer at its end.
            if not isinstance(choice.message, DeltaPart):
                raise GarbledError
            self._grow(choice.message)
        if choice.error and under_success.reported(choice.error):
            raise ProviderFaultError(failure_in_stream(choice.error))
        if choice.finish_reason:
            if not self._usage and (told := counts.members(choice.usage)):
                self._account(told)
            self._ends(choice.finish_reason)

    def _grow(self, delta: DeltaPart) -> None:
        reasoning = delta.reasoning_content
        if reasoning:
            self._wants_back = True
        if (reasoning := reasoning or delta.reasoning) and type(reasoning) is str:
            self._think(reasoning)
        if delta.reasoning_details:
            self._weigh(self._details.add(delta.reasoning_details))
        content = delta.content
        if isinstance(content, str):
            if content:
                self._say(content)
        elif content:
            self._parts([content] if isinstance(content, ContentPart) else content)
        if delta.refusal and type(delta.refusal) is str:
            self._refused = True
            self._say(delta.refusal)
        if calls := delta.tool_calls:
            if isinstance(calls, list):
                add(self._fragments, calls)
            else:
                self._call(calls)
        if function := delta.function_call:
            is_text = isinstance(function, str)
            self._call(function if is_text else CallPart(index=0, function=function))

    def _call(self, call: CallPart | str) -> None:
        """Take a fragment without its list; a text is none, and says nothing but that."""
        if isinstance(call, CallPart):
            add(self._fragments, [call])
        elif identifier(call):
            raise GarbledError

    def _parts(self, parts: list[ContentPart]) -> None:
        for part in parts:
            if thinking := part.thinking or part.summary:
                self._think(_plain(thinking))
            elif part.text and part.type in _THOUGHTS:
                self._think(part.text)
            elif part.text:
                self._say(part.text)


def _decode(event: SseEvent) -> ChatChunk:
    """Read a chunk, or raise the error that it carries."""
    try:
        chunk = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        raise garbled(event.data, named=event.name == "error") from None
    if not chunk.choices or chunk.error or chunk.x_groq or chunk.base_resp or event.name == "error":
        fail_on(event.data, named="error" in (event.name, chunk.object))
    return chunk


def _plain(thinking: list[ContentPart] | str) -> str:
    if isinstance(thinking, str):
        return thinking
    return "".join(part.text or "" for part in thinking)


def usage_of(raw: Mapping[str, Any], quality: Quality) -> Usage:
    """Put the counts into buckets that do not overlap.

    Cached, cache-written and audio tokens lie inside ``prompt_tokens``, unless they are shown to
    stand beside it (``_is_beside``); of audio and cached tokens that overlap, that much is cached
    audio. Audio lies inside ``completion_tokens``, and so does reasoning, unless the total shows
    that it is counted beside them.
    """
    prompt = counts.at(raw, "prompt_tokens")
    read, written = _first(raw, _READ), _first(raw, _WRITTEN)
    if _is_beside(raw, read + written):
        prompt += read + written
    read = min(read, prompt)
    written = min(written, prompt - read)
    plain = prompt - read - written
    heard = min(counts.at(raw, *_HEARD), prompt - written)
    told = counts.at(raw, _DETAILS, "cached_tokens_details", "audio_tokens")
    heard_again = min(max(told, heard - plain), heard, read)
    output, reasoning, citation = _answer(raw)
    spoken = min(counts.at(raw, *_SPOKEN), output)
    usage = Usage(
        input=plain - heard + heard_again,
        cache_read=read - heard_again,
        cache_write=written,
        output=output - spoken,
        reasoning=reasoning,
        audio_input=heard - heard_again,
        audio_cached=heard_again,
        audio_output=spoken,
        searches=counts.at(raw, "num_search_queries"),
        citation=citation,
        quality=quality,
    )
    return topped(usage, counts.at(raw, "total_tokens"))


def _is_beside(raw: Mapping[str, Any], cached: int) -> bool:
    """Say whether what the caches served or stored is counted beside the prompt.

    The total shows it; without one, Anthropic's own names for it do, where it is more than the
    prompt.
    """
    prompt, total = counts.at(raw, "prompt_tokens"), counts.at(raw, "total_tokens")
    if not cached:
        return False
    if total:
        return total == prompt + cached + counts.at(raw, "completion_tokens")
    is_anthropics = any(counts.at(raw, name) for name in _ANTHROPICS)
    return is_anthropics and cached > prompt


_ANTHROPICS = ("cache_read_input_tokens", "cache_creation_input_tokens")


def _first(raw: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> int:
    """Return the first count that there is one of, by all names of the same."""
    return next((count for path in paths if (count := counts.at(raw, *path))), 0)


def _answer(raw: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return all tokens of the answer, with the reasoning and the citations among them.

    Perplexity counts both beside ``completion_tokens`` and in no total.
    """
    output, reasoning = counts.at(raw, "completion_tokens"), _first(raw, _REASONING)
    if "citation_tokens" in raw:
        citation = counts.at(raw, "citation_tokens")
        return output + reasoning + citation, reasoning, citation
    return output, reasoning, 0
