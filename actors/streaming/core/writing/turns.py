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

_SOUND_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


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


def with_sound_ids(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return a conversation whose calls have ids that every provider takes, none of them twice.

    Another provider may have made them, or several executions the same. Results follow their calls.
    """
    if not any(message.tool_calls for message in messages):
        return messages
    taken: set[str] = set()
    names: dict[str, deque[str]] = {}
    return [_renamed(message, taken, names) for message in messages]


def _renamed(message: ChatMessage, taken: set[str], names: dict[str, deque[str]]) -> ChatMessage:
    if message.role == "tool" and message.tool_call_id is not None:
        known = names.get(message.tool_call_id)
        if not known:
            return message
        # Of several calls with one id each has its own result.
        name = known.popleft() if len(known) > 1 else known[0]
        return msgspec.structs.replace(message, tool_call_id=name)
    if not message.tool_calls:
        return message
    for call in message.tool_calls:
        names.pop(call.id, None)
    calls = [_sound(call, taken, names) for call in message.tool_calls]
    return msgspec.structs.replace(message, tool_calls=calls)


def _sound(call: ToolCall, taken: set[str], names: dict[str, deque[str]]) -> ToolCall:
    name = call.id
    while name in taken or _SOUND_ID.fullmatch(name) is None:
        name = f"call_{len(taken)}_{zlib.crc32(name.encode()):08x}"
    taken.add(name)
    names.setdefault(call.id, deque()).append(name)
    return call if name == call.id else msgspec.structs.replace(call, id=name)


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
