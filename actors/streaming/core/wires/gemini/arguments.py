"""Putting a call's arguments together where Gemini streams them value by value.

Each value comes with its path, ``$.places[0].name``; a text may come in pieces, all with the same
path and all but the last marked that more will follow. Source: ``PartialArg`` and ``FunctionCall``
of the Vertex AI API.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

import msgspec

from actors.streaming.core.errors.faults import fault
from actors.streaming.core.reading.garbled import GarbledError
from actors.streaming.core.reading.tool_calls import MAX_ARGUMENT_BYTES
from actors.streaming.core.wires.gemini.chunks import PartialArgument
from schemas.problems import Problem

MAX_DEPTH = 32

_STEP = re.compile(r"""\.([^.\[\]"']+)|\[(\d{1,6})\]|\[(?:"([^"]*)"|'([^']*)')\]""")

GARBLED = Problem(
    code="provider_error",
    message="The provider sent arguments that cannot be put together.",
    retryable=True,
)

Step = str | int


class StreamedArguments:
    """The arguments of one call while they arrive, on top of those that came at once."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._root = dict(args)
        self._texts: dict[str, list[str]] = {}
        self._size = 0

    def add(self, part: PartialArgument) -> None:
        """Put one value, or a piece of a text, into its place.

        Raises:
            GarbledError: there is no such place.
            ProviderFaultError: the arguments are longer than any honest ones.
        """
        self._weigh(part)
        path, value = part.json_path or "$", _value(part)
        if not isinstance(value, str):
            self._put(path, value)
            return
        pieces = self._texts.setdefault(path, [])
        if not pieces:
            self._put(path, "")
        pieces.append(value)
        if not part.will_continue:
            self._close(path)

    def json(self) -> str:
        """Return the arguments as JSON."""
        for path in tuple(self._texts):
            self._close(path)
        return msgspec.json.encode(self._root).decode()

    def _weigh(self, part: PartialArgument) -> None:
        self._size += len(part.json_path or "") + len(part.string_value or "")
        if self._size > MAX_ARGUMENT_BYTES:
            message = "The provider's tool call is too large."
            raise fault("provider_error", message, retryable=False)

    def _close(self, path: str) -> None:
        self._put(path, "".join(self._texts.pop(path)))

    def _put(self, path: str, value: Any) -> None:
        holder, last = self._place(steps(path))
        _put(holder, last, value)

    def _place(self, path: list[Step]) -> tuple[Any, Step]:
        """Return the object or list that a path ends in, made where missing, and its last step."""
        holder: Any = self._root
        for step, following in pairwise(path):
            inner: Any = _get(holder, step)
            if inner is None:
                inner = {} if isinstance(following, str) else []
                _put(holder, step, inner)
            holder = inner
        return holder, path[-1]


def steps(path: str) -> list[Step]:
    """Take a JSON path apart: names of members and numbers of items.

    Raises:
        GarbledError: it is none, or leads nowhere.
    """
    found: list[Step] = []
    place = 1
    while place < len(path) and len(found) <= MAX_DEPTH:
        match = _STEP.match(path, place)
        if match is None:
            raise GarbledError(GARBLED)
        name, index, double, single = match.groups()
        found.append(int(index) if index is not None else name or double or single or "")
        place = match.end()
    if not path.startswith("$") or not found or len(found) > MAX_DEPTH:
        raise GarbledError(GARBLED)
    return found


def _value(part: PartialArgument) -> str | float | bool | None:
    """Return the value that is told, past the defaults that other kinds may have beside it."""
    told = [part.string_value, part.number_value, part.bool_value]
    there = [value for value in told if value is not None]
    return next(filter(None, there), there[0] if there else None)


def _get(holder: Any, step: Step) -> Any:
    if isinstance(holder, dict) and isinstance(step, str):
        return cast("dict[str, Any]", holder).get(step)
    if isinstance(holder, list) and isinstance(step, int):
        items = cast("list[Any]", holder)
        return items[step] if step < len(items) else None
    raise GarbledError(GARBLED)


def _put(holder: Any, step: Step, value: Any) -> None:
    if isinstance(holder, dict) and isinstance(step, str):
        holder[step] = value
        return
    items = cast("list[Any]", holder)
    if not isinstance(step, int) or not isinstance(holder, list) or step > len(items):
        # Items come in order. Gaps would be a cheap way to fill the memory.
        raise GarbledError(GARBLED)
    items[step : step + 1] = [value]
