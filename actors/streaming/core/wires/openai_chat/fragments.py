"""Telling which tool call a fragment belongs to."""

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.streaming.core.tool_calls import GrowingCall, ToolCalls
from actors.streaming.core.wires.openai_chat.chunks import CallPart, FunctionPart
from schemas import bounds

EXTRAS = "extra_content"
"""The name under which a kept block has what was sent beside each call."""


class CallFragments:
    """Puts the fragments of a stream to their calls.

    Calls are told apart by ``index``; the id and the name come with the first fragment. Servers
    that send index 0 for all or no index at all are understood by the rule that another id with a
    name is another call, and where ids are missing as well, that another name is, or the same name
    again after arguments that are whole.
    """

    def __init__(self, calls: ToolCalls) -> None:
        self._calls = calls
        self._by_index: dict[int, GrowingCall] = {}
        self._extras: dict[GrowingCall, dict[str, Any]] = {}

    @property
    def extras(self) -> list[dict[str, Any] | None]:
        """What servers have sent beside each call, in the order of the calls; empty if nothing."""
        return [self._extras.get(call) for call in self._calls] if self._extras else []

    def add(self, parts: Sequence[CallPart]) -> None:
        """Take the fragments of one chunk.

        Raises:
            ProviderFaultError: more calls or longer arguments than any honest answer has.
        """
        for part in parts:
            call = self._place(part)
            call.id = call.id or _id(part)
            if part.extra_content:
                self._extras[call] = part.extra_content
            function = part.function or _as_function(part)
            call.name = call.name or function.name or ""
            text = function.arguments
            if isinstance(text, dict):
                text = msgspec.json.encode(text).decode()
            if text:
                call.grow(text)

    def _place(self, part: CallPart) -> GrowingCall:
        known = self._known(part)
        if known is None or _is_another(known, part):
            known = self._calls.begin()
        if part.index is not None:
            self._by_index[part.index] = known
        return known

    def _known(self, part: CallPart) -> GrowingCall | None:
        if part.index is not None:
            return self._by_index.get(part.index)
        if _id(part):
            return next((call for call in self._calls if call.id == _id(part)), None)
        return self._calls.newest


def _as_function(part: CallPart) -> FunctionPart:
    """Return the call of a custom tool as one of a function's; its input is the arguments."""
    if part.custom is None:
        return FunctionPart()
    return FunctionPart(name=part.custom.name, arguments=part.custom.input)


def _is_another(call: GrowingCall, part: CallPart) -> bool:
    function = part.function or _as_function(part)
    call_id = _id(part)
    if call_id and call.id:
        # Some servers make up an id for each fragment: another call has a name of its own.
        return call_id != call.id and (bool(function.name) or _is_whole(call.arguments))
    if call_id or not function.name:
        return False
    if function.name != call.name:
        return bool(call.name)
    return bool(function.arguments) and _is_whole(call.arguments)


def _id(part: CallPart) -> str:
    return "" if part.id is None else str(part.id)


def _is_whole(arguments: str) -> bool:
    try:
        bounds.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
