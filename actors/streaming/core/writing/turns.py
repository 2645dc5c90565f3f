"""Writing a conversation down again for the next call, the same for formats that take it in pieces.

Formats differ in how a piece looks, not in the order of pieces nor in the rule that two turns of
one role are one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec

from actors.streaming.core.decoding.counts import members
from actors.streaming.core.reading.reader import StreamPlace
from schemas import bounds
from schemas.llm import ChatMessage, ProviderBlock, ToolCall, Wire


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
