"""Putting tool calls together from fragments."""

from collections.abc import Sequence

import msgspec

from actors.streaming.core.chat_chunks import CallPart
from actors.streaming.core.faults import fault
from schemas.llm import ToolCall

MAX_CALLS = 128
MAX_ARGUMENT_BYTES = 512 * 1024
"""The arguments of one call must fit into one event on the stream."""


class _Growing:
    """A call while its fragments arrive."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0

    def grow(self, part: CallPart) -> None:
        self.id = self.id or part.id or ""
        function = part.function
        if function is None:
            return
        self.name = self.name or function.name or ""
        text = function.arguments
        if isinstance(text, dict):
            text = msgspec.json.encode(text).decode()
        if text:
            self.arguments.append(text)
            self.size += len(text.encode("utf-8", "replace"))


class ToolCallAssembly:
    """Collects fragments and tells which call each belongs to.

    Calls are told apart by ``index``; the id and the name come with the first fragment. Servers
    that send index 0 for all or no index at all are understood by the rule that another id is
    another call, and where ids are missing as well, that another name is.
    """

    def __init__(self) -> None:
        self._calls: list[_Growing] = []
        self._by_index: dict[int, _Growing] = {}

    def add(self, parts: Sequence[CallPart]) -> None:
        """Take the fragments of one chunk.

        Raises:
            ProviderFaultError: more calls or longer arguments than any honest answer has.
        """
        for part in parts:
            call = self._place(part)
            call.grow(part)
            if call.size > MAX_ARGUMENT_BYTES:
                message = "The provider's tool call is too large."
                raise fault("provider_error", message, retryable=False)

    def finished(self) -> list[ToolCall]:
        """Return the calls in the order they began. Empty arguments mean an empty object.

        A call that the server gave no id is named by its place.
        """
        return [
            ToolCall(
                id=call.id or f"call_{place}",
                name=call.name,
                arguments="".join(call.arguments) or "{}",
            )
            for place, call in enumerate(self._calls)
        ]

    def __bool__(self) -> bool:
        return bool(self._calls)

    def _place(self, part: CallPart) -> _Growing:
        known = self._known(part)
        if known is None or _is_another(known, part):
            known = self._begin()
        if part.index is not None:
            self._by_index[part.index] = known
        return known

    def _known(self, part: CallPart) -> _Growing | None:
        if part.index is not None:
            return self._by_index.get(part.index)
        if part.id:
            return next((call for call in self._calls if call.id == part.id), None)
        return self._calls[-1] if self._calls else None

    def _begin(self) -> _Growing:
        if len(self._calls) >= MAX_CALLS:
            raise fault("provider_error", "The provider sent too many tool calls.", retryable=False)
        call = _Growing()
        self._calls.append(call)
        return call


def _is_another(call: _Growing, part: CallPart) -> bool:
    if part.id and call.id:
        return part.id != call.id
    name = part.function.name if part.function else None
    return bool(name and call.name and name != call.name and not part.id)
