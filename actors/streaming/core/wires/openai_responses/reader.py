"""Reading a stream of OpenAI Responses events.

The terminal event is ``response.completed`` or ``response.incomplete``; ``response.failed`` and
``error`` are failures, and where both come, the first is the one that counts. What a server sends
only whole (in a ``done`` event, or in the last one) is read there, and nothing is read twice.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from actors.streaming.core.decoding import counts
from actors.streaming.core.decoding.arguments import text_of
from actors.streaming.core.errors import under_success
from actors.streaming.core.errors.faults import ProviderFaultError, failure_in_stream
from actors.streaming.core.framing.protocol import Framing
from actors.streaming.core.framing.wrapping import event_framing
from actors.streaming.core.reading.finish_words import is_word
from actors.streaming.core.reading.fragments import Fragment, identifier
from actors.streaming.core.reading.garbled import GarbledError, typed
from actors.streaming.core.reading.reader import Reader, StreamPlace
from actors.streaming.core.reading.tool_calls import GrowingCall
from actors.streaming.core.tokens.reckoning import Shape, topped
from actors.streaming.core.wires.openai_responses.events import (
    PHASE,
    Index,
    ResponsePart,
    ResponsesEvent,
    decode,
    decode_response,
)
from actors.streaming.core.wires.openai_responses.items import Items
from schemas import bounds
from schemas.llm import FinishReason, GenerateRequest
from schemas.sse import SseEvent, marker
from schemas.usage import Quality, Usage

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
        *("content_part.done", "reasoning_summary_part.done"),
        *("output_item.added", "output_item.done"),
        *("created", "in_progress", "queued", "completed", "incomplete", "failed", "cancelled"),
    )
) | {"error"}

_ENDS = frozenset({"completed", "incomplete", "failed", "cancelled"})

_FRAME = 32
"""Characters that an item or a part counts for at least, so that a flood of them is not free."""

_PINGS = frozenset({"ping", "keepalive"})
_PING = re.compile(r'\s*\{\s*"type"\s*:\s*"(?:ping|keepalive)"')
"""Without the event's name, its type."""

_READ = ("input_tokens_details", "cached_tokens")
_WRITTEN = ("input_tokens_details", "cache_write_tokens")
_REASONING = ("output_tokens_details", "reasoning_tokens")
_COUNTED = (_READ, _WRITTEN, _REASONING)

_decode = typed(decode, ResponsesEvent(), _KNOWN)


class ResponsesReader(Reader[SseEvent]):
    """Collects one answer from Responses events."""

    WIRE = "openai_responses"
    SHAPE = Shape(
        prompt="input_tokens", output="output_tokens", total="total_tokens", details=_COUNTED
    )

    def __init__(
        self, request: GenerateRequest, *, framing: Framing[SseEvent] | None = None
    ) -> None:
        super().__init__(request, framing or event_framing())
        self._items = Items()
        self._is_itemized = False
        self._open_calls: dict[int, GrowingCall] = {}
        self._places: dict[int, StreamPlace] = {}
        self._told: dict[tuple[str, int, Index, Index], list[str]] = {}
        self._searches = 0
        self._refused = False
        self._thinks_aloud = False

    def _event(self, event: SseEvent) -> None:
        if _is_ping(event):
            self.steps -= 1
        if event.data[:1] != "{" and (said := marker(event.data)) is not None:
            self.done = said == "done"
            return
        read = _decode(event)
        if not read.type and read.object == "response":
            self._whole(event)
        else:
            self._read(read, (read.type or event.name).removeprefix("response."))

    def _whole(self, event: SseEvent) -> None:
        """Read a response that the server has not streamed."""
        try:
            response = decode_response(event.data)
        except (msgspec.DecodeError, RecursionError):
            raise GarbledError from None
        if response.status in _ENDS:
            self._end(response, f"response.{response.status}")

    def _read(self, event: ResponsesEvent, kind: str) -> None:
        match kind:
            case "output_text.delta" | "refusal.delta":
                self._part(kind, event, event.delta)
            case "reasoning_text.delta" | "reasoning_summary_text.delta":
                self._reason_part(kind, event, event.delta)
            case "function_call_arguments.delta" | "custom_tool_call_input.delta":
                self._argue(kind, event, event.delta)
            case "function_call_arguments.done" | "custom_tool_call_input.done":
                self._argue_whole(kind, event)
            case "output_item.added":
                self._begin(event.output_index, event.item or {})
            case "output_item.done":
                self._settle(event.output_index, event.item or {})
            case "output_text.done" | "refusal.done":
                self._part(kind, event, event.text or event.refusal, whole=True)
            case "reasoning_text.done" | "reasoning_summary_text.done":
                self._reason_part(kind, event, event.text, whole=True)
            case "content_part.done" | "reasoning_summary_part.done":
                self._part_whole(event, counts.members(event.part))
            case "created" | "in_progress" | "queued":
                self._model = (event.response and event.response.model) or self._model
            case _ if kind in _ENDS:
                self._end(event.response or ResponsePart(), f"response.{kind}")
            case _:
                return

    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        return usage_of(raw, quality, self._searches)

    def _reason(self) -> FinishReason:
        return "refusal" if self._refused else super()._reason()

    # Texts

    def _part(self, kind: str, event: ResponsesEvent, text: Any, *, whole: bool = False) -> None:
        is_refusal = kind.startswith("refusal")
        told = "refusal" if is_refusal else "output_text"
        if isinstance(text, str) and text and self._is_news(told, event, text, whole=whole):
            self._refused = self._refused or is_refusal
            self._say(text)

    def _reason_part(
        self, kind: str, event: ResponsesEvent, text: Any, *, whole: bool = False
    ) -> None:
        told = kind.removesuffix(".done").removesuffix(".delta")
        if isinstance(text, str) and text and self._is_news(told, event, text, whole=whole):
            self._thinks_aloud = True
            self._think(text)

    def _part_whole(self, event: ResponsesEvent, part: dict[str, Any]) -> None:
        """Take a part whole, by its own type; most have come in pieces before."""
        match part.get("type"):
            case "output_text" | "text":
                self._part("output_text.done", event, part.get("text"), whole=True)
            case "refusal":
                self._part("refusal.done", event, part.get("refusal"), whole=True)
            case "reasoning_text":
                self._reason_part("reasoning_text.done", event, part.get("text"), whole=True)
            case "summary_text":
                kind = "reasoning_summary_text.done"
                self._reason_part(kind, event, part.get("text"), whole=True)
            case _:
                return

    def _is_news(self, kind: str, event: ResponsesEvent, text: str, *, whole: bool) -> bool:
        """Say whether a text is to be read: a whole one is not, if it came in pieces before.

        Under an id that is new it is another text of an index that is used twice, unless it is the
        same: some servers change ids on the way.
        """
        item = self._items.of(event, "reasoning" if kind.startswith("reasoning") else "message")
        key = (kind, item, event.content_index or 0, event.summary_index or 0)
        told = self._told.get(key)
        if told is None:
            self._weigh(_FRAME)
            told = self._told[key] = []
        elif whole:
            is_new = bool(event.item_id) and not self._items.knows(event.item_id)
            if not is_new or "".join(told).endswith(text):
                return False
        told.append(text)
        return True

    # Items

    def _begin(self, index: Index, item: dict[str, Any], *, ends: bool = False) -> int:
        self._is_itemized = True
        serial = self._items.begin(index, item, ends=ends)
        if serial not in self._places:
            self._weigh(_FRAME)
            self._places[serial] = self._place()
        if _kind(item) in _CALLS:
            call_id = identifier(item.get("call_id")) or identifier(item.get("id"))
            self._call(serial, call_id, identifier(item.get("name")))
        return serial

    def _call(self, serial: int, call_id: str, name: str) -> GrowingCall:
        """Return the call of an item, begun where it is new, with what is told of it."""
        call = self._open_calls.get(serial)
        if call is None:
            call = self._fragments.begin(Fragment(serial, call_id, name))
            self._open_calls[serial] = call
        call.id, call.name = call.id or call_id, call.name or name
        return call

    def _argue(self, kind: str, event: ResponsesEvent, text: Any) -> None:
        text = text_of(text)
        if not text:
            return
        serial = self._items.of(event, _call_kind(kind))
        call = self._open_calls.get(serial)
        if call is not None:
            call.grow(text)
        elif (call := self._fragments.put(Fragment(serial, arguments=text))) is not None:
            self._open_calls[serial] = call

    def _argue_whole(self, kind: str, event: ResponsesEvent) -> None:
        text = text_of(event.arguments or event.input)
        if not text:
            return
        serial = self._items.of(event, _call_kind(kind))
        call_id, name = identifier(event.call_id), identifier(event.name)
        self._call(serial, call_id, name).replace(text)

    def _settle(self, index: Index, item: dict[str, Any]) -> None:
        """Take an item whole: what it says of a call replaces what came in pieces."""
        kind = _kind(item)
        serial = self._begin(index, item, ends=True)
        if kind in _CALLS:
            call, arguments = self._open_calls[serial], text_of(item.get(_CALLS[kind]))
            call.name = identifier(item.get("name")) or call.name
            call.verbatim = kind == "custom_tool_call"
            if arguments:
                call.replace(arguments)
        elif kind == "message":
            self._speak(index, item)
            if isinstance(phase := item.get(PHASE), str) and phase:
                self._weigh(len(phase))
                self._keep({PHASE: phase}, self._places.get(serial))
        elif kind == "reasoning":
            self._muse(item)
        if kind not in {*_CALLS, "message", ""} and not _is_hollow(item):
            self._searches += kind == "web_search_call" and _is_search(item)
            self._weigh(len(msgspec.json.encode(item)))
            self._keep(item, self._places.get(serial))

    def _speak(self, index: Index, message: dict[str, Any]) -> None:
        """Say what of a message has not come in pieces."""
        for at, part in enumerate(map(counts.members, counts.items(message.get("content")))):
            told = part if part.get("type") else part | {"type": "output_text"}
            event = ResponsesEvent(output_index=index, content_index=at, item_id=message.get("id"))
            self._part_whole(event, told)

    def _muse(self, item: dict[str, Any]) -> None:
        """Think what an item of reasoning says, of a server that tells no thoughts in pieces."""
        if self._thinks_aloud:
            return
        parts = counts.items(item.get("summary")) or counts.items(item.get("content"))
        for part in map(counts.members, parts):
            if isinstance(text := part.get("text"), str) and text:
                self._think(text)

    # The end

    def _end(self, response: ResponsePart, name: str) -> None:
        if usage := counts.members(response.usage):
            self._account(usage)
        is_failed = name in {"response.failed", "response.cancelled"}
        if is_failed or under_success.reported(response.error):
            raise ProviderFaultError(failure_in_stream(response.error))
        self._model = response.model or self._model
        self._serve(response.service_tier)
        self._read_output(response.output)
        self._accounted()
        incomplete = response.incomplete_details and response.incomplete_details.reason
        # A status that is none of an end is what it was before; the event's name is newer.
        told = next(filter(is_word, (incomplete, response.status)), None)
        self._closes(told or name.removeprefix("response."))
        self.done = True

    def _read_output(self, output: msgspec.Raw) -> None:
        """Read the items of a server that sends them, or its calls, only at the end."""
        if self._is_itemized and (len(self._calls) or b"_call" not in bytes(output)):
            return
        items: Any = bounds.decode(output) if bytes(output) else []
        is_new = not self._is_itemized
        for index, item in enumerate(map(counts.members, counts.items(items))):
            if is_new or _kind(item) in _CALLS:
                self._settle(index, item)


def _kind(item: Mapping[str, Any]) -> str:
    """Return the type of an item; whatever is no text is none."""
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


def _call_kind(event_kind: str) -> str:
    return "custom_tool_call" if event_kind.startswith("custom") else "function_call"


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


def _is_ping(event: SseEvent) -> bool:
    """Whether an event is a sign of life and no more."""
    return event.name in _PINGS or (event.name == "message" and _PING.match(event.data) is not None)


def usage_of(raw: Mapping[str, Any], quality: Quality, searches: int = 0) -> Usage:
    """Put the counts into buckets: cached ones lie inside the input, reasoning in the output."""
    prompt = counts.at(raw, "input_tokens")
    read = min(counts.at(raw, *_READ), prompt)
    written = min(counts.at(raw, *_WRITTEN), prompt - read)
    usage = Usage(
        input=prompt - read - written,
        cache_read=read,
        cache_write=written,
        output=counts.at(raw, "output_tokens"),
        reasoning=counts.at(raw, *_REASONING),
        searches=searches,
        quality=quality,
    )
    return topped(usage, counts.at(raw, "total_tokens"))
