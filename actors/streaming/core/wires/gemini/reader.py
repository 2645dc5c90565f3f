"""Reading a stream of Gemini's chunks.

There is no marker of the end: an answer is whole once a chunk has carried a finish reason, or has
said that the prompt was blocked, and the stream ends after it. Until then more may come: some
models send a reason with every chunk, and some with each turn of Google's own tools, seconds before
the answer. So the last reason counts, and a connection that is lost or silent has not ended.

Calls come whole, without an index and often without an id. Where arguments are streamed, a call
begins with its name and the promise of more, goes on nameless, and ends with an empty one. A
thought signature may stand on any part, an empty text included; the part is kept, because the next
call must bring it back in its place. What Google's own tools were asked and have answered is kept
as well. The finish reason is STOP also where calls wait for answers.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts
from actors.streaming.core.faults import fail_on
from actors.streaming.core.reader import GarbledError, Reader
from actors.streaming.core.sse import SseEvent, SseParser
from actors.streaming.core.tool_calls import GrowingCall
from actors.streaming.core.wires.gemini.arguments import StreamedArguments
from actors.streaming.core.wires.gemini.chunks import (
    Candidate,
    Chunk,
    FunctionCall,
    Part,
    decode,
)
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no chunk.", retryable=True
)

_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}

_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"

_BY_PROMPT = re.compile(r"gemini-[12]\.")
"""Models whose grounding is billed by prompts, however many searches each led to."""


class GeminiReader(Reader[SseEvent]):
    """Collects one answer from Gemini's chunks; see the module's docstring for its end."""

    WIRE = "gemini"

    def __init__(self, request: GenerateRequest) -> None:
        super().__init__(request, SseParser())
        self._streamed: tuple[GrowingCall, StreamedArguments] | None = None
        self._queries: set[str] = set()

    @property
    def settled(self) -> bool:
        """Only the end of the stream settles an answer."""
        return False

    def _event(self, event: SseEvent) -> None:
        if event.data:
            self._chunk(_read(event))

    def _chunk(self, chunk: Chunk) -> None:
        self._model = chunk.model_version or self._model
        if chunk.usage_metadata:
            # The first ones tell of the traffic only; each is complete in what it counts.
            self._usage = {**(self._usage or {}), **chunk.usage_metadata}
            self._serve(_tier_of(chunk.usage_metadata))
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            self._finish_word, self._finish = feedback.block_reason, "content_filter"
        for candidate in chunk.candidates or ():
            if not candidate.index:
                self._candidate(candidate)

    def _candidate(self, candidate: Candidate) -> None:
        content = candidate.content
        for part in (content and content.parts) or ():
            self._part(part)
        if candidate.grounding_metadata is not None:
            self._search(candidate.grounding_metadata.web_search_queries or ())
        reason = candidate.finish_reason
        if reason and reason != _UNSPECIFIED:
            self._complete()
            self._finish_word = reason
            self._finish = _FINISH.get(reason, "other")

    def _part(self, part: Part) -> None:
        if part.function_call is not None:
            self._function(part.function_call, part.thought_signature)
            return
        if told := _of_googles_tools(part):
            self._weigh(len(msgspec.json.encode(told)))
            self._keep(told)
            return
        if part.thought_signature:
            self._sign(_signed_text(part))
        if part.text and part.thought:
            self._think(part.text)
        elif part.text:
            self._say(part.text)

    def _function(self, function: FunctionCall, signature: str | None) -> None:
        if signature:
            self._sign({"functionCall": {}, "thoughtSignature": signature})
        if function.name:
            self._begin(function)
        elif self._streamed is not None:
            _, arguments = self._streamed
            for argument in function.partial_args or ():
                arguments.add(argument)
            if not function.will_continue:
                self._complete()

    def _begin(self, function: FunctionCall) -> None:
        self._complete()
        call = self._calls.begin(function.id or "", function.name or "")
        if not function.will_continue and not function.partial_args:
            call.grow(msgspec.json.encode(function.args or {}).decode())
            return
        arguments = StreamedArguments(function.args or {})
        self._streamed = call, arguments
        for argument in function.partial_args or ():
            arguments.add(argument)
        if not function.will_continue:
            self._complete()

    def _complete(self) -> None:
        """End the call whose arguments were coming, if there is one."""
        if self._streamed is not None:
            call, arguments = self._streamed
            self._streamed = None
            call.grow(arguments.json())

    def _sign(self, raw: dict[str, Any]) -> None:
        """Keep a part that carries a signature, before what it brings is counted."""
        self._weigh(len(raw["thoughtSignature"]))
        self._keep(raw)

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        return usage_of(raw, quality, self._searches())

    def _search(self, queries: Iterable[str]) -> None:
        """Take note of searches, of which each chunk may tell again."""
        for query in queries:
            if query not in self._queries:
                self._weigh(len(query))
                self._queries.add(query)

    def _searches(self) -> int:
        """Count the searches as they are billed: one a query, or one a prompt in older models."""
        if _BY_PROMPT.search(self._request.provider.model):
            return min(len(self._queries), 1)
        return len(self._queries)


def _of_googles_tools(part: Part) -> dict[str, Any]:
    """Return a part of the tools that Google runs itself, as it must go back; {} of any other."""
    told = {
        "executableCode": part.executable_code,
        "codeExecutionResult": part.code_execution_result,
        "toolCall": part.tool_call,
        "toolResponse": part.tool_response,
    }
    raw = {name: value for name, value in told.items() if value is not None}
    beside = {"thought": part.thought, "thoughtSignature": part.thought_signature}
    return raw | {name: value for name, value in beside.items() if raw and value}


def _tier_of(raw: Mapping[str, Any]) -> str:
    """Return the service tier; Vertex tells it as a kind of traffic, ``ON_DEMAND_FLEX``."""
    tier = str(raw.get("serviceTier") or raw.get("trafficType") or "")
    return tier.lower().removeprefix("on_demand_")


def usage_of(raw: Mapping[str, Any], quality: Quality, searches: int = 0) -> Usage | None:
    """Put the counts into buckets that do not overlap; None if there are none.

    Cached tokens lie inside ``promptTokenCount``, what tools brought and the thoughts lie outside
    of the counts for prompt and candidates, other modalities than text lie inside each.
    """
    if "promptTokenCount" not in raw and "candidatesTokenCount" not in raw:
        return None
    cached, heard = counts.at(raw, "cachedContentTokenCount"), _told(raw, "prompt", "AUDIO")
    prompt = counts.at(raw, "promptTokenCount") + counts.at(raw, "toolUsePromptTokenCount")
    plain = max(prompt - cached, 0)
    heard_again = min(max(_told(raw, "cache", "AUDIO"), heard - plain), heard, cached)
    drawn, filmed = _told(raw, "candidates", "IMAGE"), _told(raw, "candidates", "VIDEO")
    spoken, thought = _told(raw, "candidates", "AUDIO"), counts.at(raw, "thoughtsTokenCount")
    said = counts.at(raw, "candidatesTokenCount") - spoken - drawn - filmed
    return Usage(
        input=max(plain - heard + heard_again, 0),
        cache_read=cached - heard_again,
        output=max(said, 0) + thought,
        reasoning=thought,
        audio_input=heard - heard_again,
        audio_cached=heard_again,
        audio_output=spoken,
        image_output=drawn,
        video_output=filmed,
        searches=searches,
        quality=quality,
    )


def _told(raw: Mapping[str, Any], part: str, modality: str) -> int:
    rows = map(counts.members, counts.items(raw.get(f"{part}TokensDetails")))
    return sum(counts.at(row, "tokenCount") for row in rows if row.get("modality") == modality)


def _signed_text(part: Part) -> dict[str, Any]:
    raw: dict[str, Any] = {"text": part.text or "", "thoughtSignature": part.thought_signature}
    return {**raw, "thought": True} if part.thought else raw


def _read(event: SseEvent) -> Chunk:
    """Read a chunk, or raise the error that it carries."""
    try:
        chunk = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        fail_on(event.data, named=event.name == "error")
        raise GarbledError(GARBLED) from None
    if not chunk.candidates or chunk.error or chunk.base_resp or event.name == "error":
        fail_on(event.data, named=event.name == "error")
    return chunk
