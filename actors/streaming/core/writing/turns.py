"""Writing a conversation down again for the next call, the same for formats that take it in pieces.

Formats differ in how a piece looks, not in the order of pieces nor in the rule that two turns of
one role are one.
"""

import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec

from actors.streaming.core.decoding.counts import members
from actors.streaming.core.reading.reader import StreamPlace
from schemas import bounds
from schemas.llm import ChatMessage, GenerateRequest, ProviderBlock, ToolCall, Wire

_SOUND_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What most providers take; OpenAI's chat completions are the ones that take no more than 40."""

_NINE = re.compile(r"[A-Za-z0-9]{9}")
"""What the models of Mistral take, wherever they are served."""

_NINERS = re.compile(r"(mis|minis|codes|devs|magis)tral|mixtral|pixtral", re.IGNORECASE)


def _nothing(_block: ProviderBlock) -> int:
    return 0


def replayed(
    message: ChatMessage, wire: Wire, holds: Callable[[ProviderBlock], int] = _nothing
) -> Iterator[str | ToolCall | ProviderBlock]:
    """Yield the texts, calls and kept blocks of an assistant's turn, in the order they came in.

    Blocks of other wire formats are passed over. Between two blocks, text comes before calls.
    ``holds`` says how many characters of the turn's text a block brings itself.
    """
    text, place = message.text, StreamPlace(0, 0)
    for block in message.blocks:
        if block.wire == wire:
            until = StreamPlace(
                max(block.after_text, place.after_text), max(block.after_calls, place.after_calls)
            )
            yield from _between(message, text, place, until)
            yield block
            place = StreamPlace(until.after_text + holds(block), until.after_calls)
    yield from _between(message, text, place, StreamPlace(len(text), len(message.tool_calls)))


def _between(
    message: ChatMessage, text: str, start: StreamPlace, end: StreamPlace
) -> Iterator[str | ToolCall]:
    if piece := text[start.after_text : end.after_text]:
        yield piece
    yield from message.tool_calls[start.after_calls : end.after_calls]


def merged(turns: Iterable[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """Join neighbouring turns of one role, and leave out those without content."""
    joined: list[tuple[str, list[Any]]] = []
    for role, content in turns:
        if not content:
            continue
        if joined and joined[-1][0] == role:
            joined[-1][1].extend(content)
        else:
            joined.append((role, list(content)))
    return joined


def answering(request: GenerateRequest, messages: list[ChatMessage]) -> GenerateRequest:
    """Return a request that goes on with a conversation after tools have answered.

    Which tool must be called counts for the first answer alone: it would be called for ever.
    """
    config = request.config
    if config.tool_choice not in (None, "auto", "none"):
        config = msgspec.structs.replace(config, tool_choice=None)
    return msgspec.structs.replace(request, messages=messages, config=config)


def with_sound_ids(messages: list[ChatMessage], model: str = "") -> list[ChatMessage]:
    """Return a conversation whose calls have ids that providers take, none of them twice.

    Another provider may have made them, or several executions the same. Results follow their calls.
    Some models take ids of one form only.
    """
    if not any(message.tool_calls for message in messages):
        return messages
    return Renaming(_NINE if _NINERS.search(model) else _SOUND_ID).of(messages)


class Renaming:
    """Gives calls ids of a ``form``, each its own, and their results the same."""

    def __init__(self, form: re.Pattern[str]) -> None:
        self._form = form
        self._taken: set[str] = set()
        self._names: dict[str, deque[str]] = {}

    def of(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        """Return the same conversation with such ids."""
        return [self._renamed(message) for message in messages]

    def _renamed(self, message: ChatMessage) -> ChatMessage:
        if message.role == "tool" and message.tool_call_id is not None:
            known = self._names.get(message.tool_call_id)
            if not known:
                return message
            # Of several calls with one id each has its own result.
            name = known.popleft() if len(known) > 1 else known[0]
            return msgspec.structs.replace(message, tool_call_id=name)
        if not message.tool_calls:
            return message
        for call in message.tool_calls:
            self._names.pop(call.id, None)
        calls = [self._sound(call) for call in message.tool_calls]
        return msgspec.structs.replace(message, tool_calls=calls)

    def _sound(self, call: ToolCall) -> ToolCall:
        name = call.id
        while name in self._taken or self._form.fullmatch(name) is None:
            name = self._made(name)
        self._taken.add(name)
        self._names.setdefault(call.id, deque()).append(name)
        return call if name == call.id else msgspec.structs.replace(call, id=name)

    def _made(self, name: str) -> str:
        number = zlib.crc32(name.encode())
        if self._form is _NINE:
            # Another name is made of this one where it is taken: they walk through all numbers.
            return f"{(number + len(self._taken)) % 10**9:09d}"
        return f"call_{len(self._taken)}_{number:08x}"


def system_text(messages: Iterable[ChatMessage]) -> str:
    """Return what the system says, wherever it says it."""
    return "\n\n".join(one.text for one in messages if one.role == "system" and one.text)


def with_tool_names(messages: Iterable[ChatMessage]) -> Iterator[tuple[ChatMessage, str]]:
    """Yield each message with the name of the tool whose result it is, "" if it is none.

    For formats whose results name the tool. Ids may come again in later turns.
    """
    names: dict[str | None, str] = {}
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls)
        yield message, names.get(message.tool_call_id, "")


def arguments(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments as the object that formats want. Malformed ones become a member."""
    try:
        decoded = bounds.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    if isinstance(decoded, dict):
        return cast("dict[str, Any]", decoded)
    return {"arguments": call.arguments}


def under(extra: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Put what we write over what a definition adds, object by object."""
    joined = dict(extra)
    for name, value in written.items():
        within = members(value) if isinstance(joined.get(name), dict) else None
        joined[name] = under(joined[name], within) if within else value
    return joined


def unless_idle(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out how to choose among tools where there are none: servers refuse that."""
    if body.get("tools"):
        return body
    idle = ("tool_choice", "parallel_tool_calls")
    return {name: value for name, value in body.items() if name not in idle}
