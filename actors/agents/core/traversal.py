"""Walks through values that come from outside, without recursion and within bounds."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

MAX_DEPTH = 64
MAX_VALUES = 20_000
"""A definition of a hundred tools has some thousands; this many are walked in about 50 ms."""

_MAX_NAME = 64
_CONTAINERS = (msgspec.Struct, dict, list)


class TooDeepError(ValueError):
    """Something is nested deeper than ``MAX_DEPTH``; the argument is its dotted path."""


class TooManyError(ValueError):
    """There are more than ``MAX_VALUES`` values; the argument is the path where that was seen."""


class PathPlace(NamedTuple):
    """Where a value was found. Paths are put together only for what is reported."""

    name: str
    parent: "PathPlace | None" = None
    depth: int = 0

    def names(self) -> Iterator[str]:
        """Yield the name of the value, then of what holds it, up to the root."""
        place: PathPlace | None = self
        while place is not None:
            yield place.name
            place = place.parent

    @property
    def path(self) -> str:
        """The dotted path; long names are cut, for they come from outside."""
        return ".".join(reversed([name[:_MAX_NAME] for name in self.names()]))


def texts(value: msgspec.Struct) -> Iterator[tuple[PathPlace, str]]:
    """Yield every text that a Struct holds, however deep; those of one container in written order.

    Raises:
        TooDeepError: at the first container below ``MAX_DEPTH``.
        TooManyError: as soon as there are more than ``MAX_VALUES`` values.
    """
    waiting: deque[tuple[PathPlace | None, Any]] = deque([(None, value)])
    count = 0
    while waiting:
        holder, container = waiting.popleft()
        children = _children(container)
        count += len(children)
        _check_bounds(holder, count)
        depth = holder.depth + 1 if holder is not None else 0
        for name, child in children:
            if isinstance(child, str):
                yield PathPlace(name, holder, depth), child
            elif child and issubclass(type(child), _CONTAINERS):
                waiting.append((PathPlace(name, holder, depth), child))


def _check_bounds(holder: PathPlace | None, count: int) -> None:
    if holder is not None and holder.depth >= MAX_DEPTH:
        raise TooDeepError(holder.path)
    if count > MAX_VALUES:
        raise TooManyError(holder.path if holder is not None else "")


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct):
        return [(name, getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return [(str(name), child) for name, child in entries.items()]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [(str(index), child) for index, child in enumerate(items)]
    return []
