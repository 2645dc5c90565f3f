"""Reading a stream of OpenAI Responses events.

The terminal event is ``response.completed`` or ``response.incomplete``; ``response.failed`` and
``error`` are failures, and where both come, the first is the one that counts. Items of output are
told apart by their index, because some servers change ids on the way. What a server sends only
whole (in a ``done`` event, or in the last one) is read there, and nothing is read twice.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core import counts
from actors.streaming.core.faults import ProviderFaultError, failure_in_stream
from actors.streaming.core.foreign import is_foreign
from actors.streaming.core.framing import Framing
from actors.streaming.core.reader import GarbledError, Place, Reader
from actors.streaming.core.sse import SseEvent, SseParser
from actors.streaming.core.tool_calls import GrowingCall
from actors.streaming.core.wires.openai_responses.events import (
    PHASE,
    Event,
    ResponsePart,
    decode,
)
from schemas import bounds
from schemas.llm import FinishReason, GenerateRequest
from schemas.problems import Problem
from schemas.usage import Quality, Usage

_FINISH: dict[str, FinishReason] = {
    "completed": "stop",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}

_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""The items that are calls of the caller's tools, and the field of their arguments."""

_KNOWN = frozenset(
    f"response.{name}"
    for name in (
        *("output_text.delta", "output_text.done", "refusal.delta", "refusal.done"),
        *("reasoning_text.delta", "reasoning_text.done"),
        *("reasoning_summary_text.delta", "reasoning_summary_text.done"),
        *("function_call_arguments.delta", "function_call_arguments.done"),
        *("custom_tool_call_input.delta", "custom_tool_call_input.done"),
        *("output_item.added", "output_item.done"),
        *("created", "in_progress", "queued", "completed", "incomplete", "failed", "cancelled"),
    )
) | {"error"}

_PINGS = frozenset({"ping", "keepalive"})
_PING = re.compile(r'\s*\{\s*"type"\s*:\s*"(?:ping|keepalive)"')
"""Without the event's name, its type."""

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no event.", retryable=True
)


class ResponsesReader(Reader[SseEvent]):
    """Collects one answer from Responses events."""

    WIRE = "openai_responses"

    def __init__(
        self, request: GenerateRequest, *, framing: Framing[SseEvent] | None = None
    ) -> None:
        super().__init__(request, framing or SseParser())
        self._open_calls: dict[int, GrowingCall] = {}
        self._places: dict[int, Place] = {}
        self._told: set[tuple[str, int, int, int]] = set()
        self._searches = 0
        self._refused = False

    def _is_ping(self, event: SseEvent) -> bool:
        return event.name in _PINGS or (
            event.name == "message" and _PING.match(event.data) is not None
        )

    def _event(self, event: SseEvent) -> None:
        if event.data.strip() == "[DONE]":
            self.done = True
        elif event.data:
            self._read(_decode(event))

    def _read(self, event: Event) -> None:
        match event.type.removeprefix("response."):
            case "output_text.delta" | "refusal.delta":
                self._part(event, event.delta)
            case "reasoning_text.delta" | "reasoning_summary_text.delta":
                self._reason_part(event, event.delta)
            case "function_call_arguments.delta" | "custom_tool_call_input.delta":
                self._argue(event.output_index, event.delta)
            case "function_call_arguments.done" | "custom_tool_call_input.done":
                self._argue_whole(event.output_index, event.arguments or event.input)
            case "output_item.added":
                self._begin(event.output_index, event.item or {})
            case "output_item.done":
                self._settle(event.output_index, event.item or {})
            case "output_text.done" | "refusal.done":
                self._part(event, event.text or event.refusal, whole=True)
            case "reasoning_text.done" | "reasoning_summary_text.done":
                self._reason_part(event, event.text, whole=True)
            case "created" | "in_progress" | "queued":
                self._model = (event.response and event.response.model) or self._model
            case "completed" | "incomplete" | "failed" | "cancelled":
                self._end(event.response or ResponsePart(), event.type)
            case _:
                return

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage | None:
        if not counts.told(raw, "input_tokens", "output_tokens", quality):
            return None
        return usage_of(raw, quality, self._searches)

    def _reason(self) -> FinishReason:
        return "refusal" if self._refused else super()._reason()

    # Texts

    def _part(self, event: Event, text: Any, *, whole: bool = False) -> None:
        kind = "refusal" if ".refusal." in event.type else "text"
        if self._is_news(kind, event, whole=whole) and isinstance(text, str) and text:
            self._refused = self._refused or kind == "refusal"
            self._say(text)

    def _reason_part(self, event: Event, text: Any, *, whole: bool = False) -> None:
        kind = event.type.removesuffix(".done").removesuffix(".delta")
        if self._is_news(kind, event, whole=whole) and isinstance(text, str) and text:
            self._think(text)

    def _is_news(self, kind: str, event: Event, *, whole: bool) -> bool:
        """Say whether a text is to be read: a whole one is not, if it came in pieces before."""
        part = (kind, event.output_index, event.content_index, event.summary_index)
        if whole and part in self._told:
            return False
        self._told.add(part)
        return True

    # Items

    def _begin(self, index: int, item: dict[str, Any]) -> None:
        self._places.setdefault(index, self._place())
        if item.get("type") in _CALLS and index not in self._open_calls:
            call_id, name = item.get("call_id") or item.get("id"), item.get("name")
            self._open_calls[index] = self._calls.begin(str(call_id or ""), str(name or ""))

    def _argue(self, index: int, text: Any) -> None:
        if index in self._open_calls and isinstance(text, str):
            self._open_calls[index].grow(text)

    def _argue_whole(self, index: int, text: Any) -> None:
        if index in self._open_calls and isinstance(text, str) and text:
            self._open_calls[index].replace(text)

    def _settle(self, index: int, item: dict[str, Any]) -> None:
        """Take an item whole: what it says of a call replaces what came in pieces."""
        kind = str(item.get("type") or "")
        if kind in _CALLS:
            self._begin(index, item)
            call, arguments = self._open_calls[index], item.get(_CALLS[kind])
            call.name = str(item.get("name") or call.name)
            if isinstance(arguments, str) and arguments:
                call.replace(arguments)
        elif kind == "message":
            self._speak(index, item)
            if isinstance(phase := item.get(PHASE), str):
                self._weigh(len(phase))
                self._keep({PHASE: phase}, self._places.get(index))
        elif kind and not _is_hollow(item):
            self._searches += kind == "web_search_call" and _is_search(item)
            self._weigh(len(msgspec.json.encode(item)))
            self._keep(item, self._places.get(index))

    def _speak(self, index: int, message: dict[str, Any]) -> None:
        """Say what of a message has not come in pieces."""
        for at, part in enumerate(map(counts.members, counts.items(message.get("content")))):
            kind = "refusal" if part.get("type") == "refusal" else "output_text"
            text = part.get("refusal") or part.get("text")
            event = Event(type=f"response.{kind}.done", output_index=index, content_index=at)
            self._part(event, text, whole=True)

    # The end

    def _end(self, response: ResponsePart, name: str) -> None:
        if response.error or name in {"response.failed", "response.cancelled"}:
            raise ProviderFaultError(failure_in_stream(response.error))
        self._model = response.model or self._model
        self._serve(response.service_tier)
        self._usage = response.usage or self._usage
        if not self._places:
            self._read_output(response.output)
        incomplete = response.incomplete_details and response.incomplete_details.reason
        self._finish_word = incomplete or response.status or name.removeprefix("response.")
        self._finish = _FINISH.get(self._finish_word, "other")
        self.done = True

    def _read_output(self, output: msgspec.Raw) -> None:
        """Read the items of a server that sends them only at the end."""
        items: Any = bounds.decode(output) if bytes(output) else []
        for index, item in enumerate(map(counts.members, counts.items(items))):
            self._settle(index, item)


def _is_hollow(item: dict[str, Any]) -> bool:
    """Whether an item is reasoning without its content: it could not be sent back."""
    return item.get("type") == "reasoning" and not (
        item.get("encrypted_content") or item.get("content")
    )


def _is_search(item: dict[str, Any]) -> bool:
    """Whether a use of the web is a search, which costs; to open and to read pages does not.

    Source: OpenAI's guide to web search, "Output and citations".
    """
    return counts.members(item.get("action")).get("type", "search") == "search"


def _decode(event: SseEvent) -> Event:
    """Read an event, or raise the error that it is."""
    try:
        read = decode(event.data)
    except (msgspec.DecodeError, RecursionError):
        if event.name == "error":
            raise ProviderFaultError(failure_in_stream(None)) from None
        if is_foreign(event.data, _KNOWN):
            return Event()
        raise GarbledError(GARBLED) from None
    if read.error or "error" in {read.type, event.name}:
        raise ProviderFaultError(failure_in_stream(read.error or {"code": read.code}))
    return read


def usage_of(raw: Mapping[str, Any], quality: Quality, searches: int = 0) -> Usage:
    """Put the counts into buckets: cached ones lie inside the input, reasoning in the output."""
    read = counts.at(raw, "input_tokens_details", "cached_tokens")
    written = counts.at(raw, "input_tokens_details", "cache_write_tokens")
    reasoning = counts.at(raw, "output_tokens_details", "reasoning_tokens")
    return Usage(
        input=max(counts.at(raw, "input_tokens") - read - written, 0),
        cache_read=read,
        cache_write=written,
        output=max(counts.at(raw, "output_tokens"), reasoning),
        reasoning=reasoning,
        searches=searches,
        quality=quality,
    )
