"""The fragments of tool calls in Chat Completions, read for the rule that all wires share."""

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.streaming.core.reading.fragments import CallFragments, Fragment, identifier, place_of
from actors.streaming.core.reading.tool_calls import GrowingCall
from actors.streaming.core.wires.openai_chat.chunks import CallPart

EXTRAS = "extra_content"
"""The name under which a kept block has what was sent beside each call."""


def add(fragments: CallFragments, parts: list[CallPart]) -> None:
    """Take the fragments of one chunk.

    Raises:
        ProviderFaultError: more calls or longer arguments than any honest answer has.
    """
    if len(parts) == 1 and _goes_on(fragments, parts[0]):
        return
    calls = fragments.add([_fragment(part) for part in parts])
    for part, call in zip(parts, calls, strict=True):
        if call is not None and part.extra_content:
            call.extra = part.extra_content
        if call is not None and part.custom is not None and part.custom.input:
            call.verbatim = True


def _goes_on(fragments: CallFragments, part: CallPart) -> bool:
    """Take a fragment that is no more than a piece of arguments, if it is one."""
    function, place = part.function, part.index
    if function is None or function.name or part.id or part.extra_content or type(place) is not int:
        return False
    text = function.arguments
    return type(text) is str and fragments.goes_on(place, text)


def extras(calls: Iterable[GrowingCall]) -> list[dict[str, Any] | None]:
    """Return what servers have sent beside each call, in the order of the calls; else nothing."""
    found = [call.extra for call in calls]
    return found if any(found) else []


def _fragment(part: CallPart) -> Fragment:
    """Read a fragment; the input of a custom tool is the arguments of its call."""
    function, custom = part.function, part.custom
    name = (function and function.name) or (custom and custom.name) or ""
    told = (function and function.arguments) or (custom and custom.input) or ""
    if not isinstance(told, str):
        told = msgspec.json.encode(told).decode()
    call_id = part.id
    return Fragment(
        part.index if type(part.index) is int else place_of(part.index),
        call_id if isinstance(call_id, str) else identifier(call_id),
        name,
        told,
    )
