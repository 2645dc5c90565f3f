"""Reading a stream of Gemini's chunks.

There is no marker of the end: an answer is whole once a chunk has carried a finish reason, or has
said that the prompt was blocked, and the stream ends after it. Until then more may come: some
models send a reason with every chunk, and some with each turn of Google's own tools, seconds before
the answer. So the last reason counts, if text, a call or a picture has come and nothing after it,
and a connection that is lost or silent has not ended.

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

from actors.streaming.core.decoding import counts
from actors.streaming.core.errors.faults import fail_on
from actors.streaming.core.framing.wrapping import event_framing
from actors.streaming.core.reading.finish_words import blocked, is_word
from actors.streaming.core.reading.fragments import Fragment
from actors.streaming.core.reading.garbled import garbled
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.reading.settling import SettlingProgress
from actors.streaming.core.reading.tool_calls import GrowingCall
from actors.streaming.core.tokens.reckoning import Shape, topped
from actors.streaming.core.wires.gemini.arguments import StreamedArguments
from actors.streaming.core.wires.gemini.chunks import (
    Candidate,
    FunctionCall,
    GeminiChunk,
    GeminiPart,
    decode,
)
from schemas.llm import GenerateRequest
from schemas.sse import SseEvent, marker
from schemas.usage import Quality, Usage

_BY_PROMPT = re.compile(r"gemini-[12]\.")
"""Models whose grounding is billed by prompts, however many searches each led to."""


_DATA = re.compile(rb'"data"\s*:\s*"[^"]')
"""A picture or a sound that is there, and not only its field."""

_COUNTED = (("cachedContentTokenCount",), ("thoughtsTokenCount",), ("toolUsePromptTokenCount",))


class GeminiReader(Reader[SseEvent]):
    """Collects one answer from Gemini's chunks; see the module's docstring for its end."""

    WIRE = "gemini"
    SHAPE = Shape(
        prompt="promptTokenCount",
        output="candidatesTokenCount",
        total="totalTokenCount",
        details=_COUNTED,
    )
    MAY_REPEAT = True

    def __init__(self, request: GenerateRequest) -> None:
        super().__init__(request, event_framing())
        self._streamed: tuple[GrowingCall, StreamedArguments] | None = None
        self._queries: set[str] = set()
        self._shown = 0

    @property
    def settled(self) -> bool:
        """Only the end of the stream settles an answer."""
        return False

    def _progress(self) -> SettlingProgress:
        """See ``Reader``; pictures are something said as well."""
        told = super()._progress()
        return told._replace(texts=told.texts + self._shown)

    def _event(self, event: SseEvent) -> None:
        match marker(event.data):
            case "done":
                self.done = True
            case "idle":
                return
            case _:
                self._chunk(_read(event))

    def _chunk(self, chunk: GeminiChunk) -> None:
        self._model = chunk.model_version or self._model
        if told := counts.members(chunk.usage_metadata):
            # The first ones tell of the traffic only; each is complete in what it counts.
            self._account(told)
            self._serve(_tier_of(told))
        feedback = chunk.prompt_feedback
        if feedback is not None and (block := blocked(feedback.block_reason)) is not None:
            self._ends_as(block, feedback.block_reason)
        for candidate in chunk.candidates or ():
            if not candidate.index or candidate.index == "0":
                self._candidate(candidate)
        if chunk.usage_metadata:
            self._accounted()

    def _candidate(self, candidate: Candidate) -> None:
        content = candidate.content
        for part in (content and content.parts) or ():
            self._part(part)
        if candidate.grounding_metadata is not None:
            self._search(candidate.grounding_metadata.web_search_queries or ())
        if candidate.finish_reason and is_word(candidate.finish_reason):
            self._complete()
            self._ends(candidate.finish_reason)

    def _part(self, part: GeminiPart) -> None:
        call = part.function_call
        if call is not None and (call.name or not part.text):
            self._utter(part)
            self._function(call, part.thought_signature)
            return
        if told := _of_googles_tools(part):
            self._weigh(len(msgspec.json.encode(told)))
            self._keep(told)
            return
        self._shown += _DATA.search(bytes(part.inline_data)) is not None
        if part.thought_signature:
            self._sign(_signed_text(part))
        self._utter(part)

    def _utter(self, part: GeminiPart) -> None:
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
        told = Fragment(id=function.id or "", name=function.name or "")
        if not function.will_continue and not function.partial_args:
            self._fragments.begin(told._replace(arguments=_text_of(function.args)))
            return
        call = self._fragments.begin(told)
        arguments = StreamedArguments(counts.members(function.args))
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

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
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


def _text_of(args: object) -> str:
    """Return arguments as JSON. Servers in between send them as text, or an empty list for none."""
    return args if isinstance(args, str) and args else msgspec.json.encode(args or {}).decode()


def _of_googles_tools(part: GeminiPart) -> dict[str, Any]:
    """Return a part of the tools that Google runs itself, as it must go back; {} of any other."""
    told = {
        "executableCode": part.executable_code,
        "codeExecutionResult": part.code_execution_result,
        "toolCall": part.tool_call,
        "toolResponse": part.tool_response,
    }
    raw = {name: value for name, value in told.items() if value}
    beside = {"thought": part.thought, "thoughtSignature": part.thought_signature}
    return raw | {name: value for name, value in beside.items() if raw and value}


def _tier_of(raw: Mapping[str, Any]) -> str:
    """Return the service tier; Vertex tells it as a kind of traffic, ``ON_DEMAND_FLEX``."""
    tier = str(raw.get("serviceTier") or raw.get("trafficType") or "")
    return tier.lower().removeprefix("on_demand_")


def usage_of(raw: Mapping[str, Any], quality: Quality, searches: int = 0) -> Usage:
    """Put the counts into buckets that do not overlap.

    Cached tokens lie inside ``promptTokenCount``, what tools brought and the thoughts lie outside
    of the counts for prompt and candidates, other modalities than text lie inside each.
    """
    prompt = counts.at(raw, "promptTokenCount") + counts.at(raw, "toolUsePromptTokenCount")
    cached = min(counts.at(raw, "cachedContentTokenCount"), prompt)
    heard = min(_told(raw, "prompt", "AUDIO"), prompt)
    plain = prompt - cached
    heard_again = min(max(_told(raw, "cache", "AUDIO"), heard - plain), heard, cached)
    thought, said = counts.at(raw, "thoughtsTokenCount"), counts.at(raw, "candidatesTokenCount")
    drawn = min(_told(raw, "candidates", "IMAGE"), said)
    filmed = min(_told(raw, "candidates", "VIDEO"), said - drawn)
    spoken = min(_told(raw, "candidates", "AUDIO"), said - drawn - filmed)
    usage = Usage(
        input=max(plain - heard + heard_again, 0),
        cache_read=cached - heard_again,
        output=said - drawn - filmed - spoken + thought,
        reasoning=thought,
        audio_input=heard - heard_again,
        audio_cached=heard_again,
        audio_output=spoken,
        image_output=drawn,
        video_output=filmed,
        searches=searches,
        quality=quality,
    )
    return topped(usage, counts.at(raw, "totalTokenCount"))


def _told(raw: Mapping[str, Any], part: str, modality: str) -> int:
    rows = map(counts.members, counts.items(raw.get(f"{part}TokensDetails")))
    return sum(counts.at(row, "tokenCount") for row in rows if row.get("modality") == modality)


def _signed_text(part: GeminiPart) -> dict[str, Any]:
    raw: dict[str, Any] = {"text": part.text or "", "thoughtSignature": part.thought_signature}
    return {**raw, "thought": True} if part.thought else raw


def _read(event: SseEvent) -> GeminiChunk:
    """Read a chunk, or raise the error that it carries."""
    try:
        chunk = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        raise garbled(event.data, named=event.name == "error") from None
    if not chunk.candidates or chunk.error or chunk.base_resp or event.name == "error":
        fail_on(event.data, named=event.name == "error")
    return chunk
