"""Walks through values that come from outside, without recursion and within bounds."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

MAX_DEPTH = 64
MAX_VALUES = 20_000
"""A definition of a hundred tools has some thousands; this many are walked in about 50 ms."""

_MAX_NAME = 64


class TooDeepError(ValueError):
    """Something is nested deeper than ``MAX_DEPTH``; the argument is its dotted path."""


class TooManyError(ValueError):
    """There are more than ``MAX_VALUES`` values; the argument is the path where that was seen."""


class Place(NamedTuple):
    """Where a value was found. Paths are put together only for what is reported."""

    name: str
    parent: "Place | None" = None
    depth: int = 0

    def names(self) -> Iterator[str]:
        """Yield the name of the value, then of what holds it, up to the root."""
        place: Place | None = self
        while place is not None:
            yield place.name
            place = place.parent

    @property
    def path(self) -> str:
        """The dotted path; long names are cut, for they come from outside."""
        return ".".join(reversed([name[:_MAX_NAME] for name in self.names()]))


def walk(value: msgspec.Struct) -> Iterator[tuple[Place, Any]]:
    """Yield all that a Struct holds, in written order: Structs, dicts, lists and plain values.

    Raises:
        TooDeepError: at the first container below ``MAX_DEPTH``.
        TooManyError: as soon as there are more than ``MAX_VALUES`` values.
    """
    waiting = [(Place(name), child) for name, child in reversed(_children(value))]
    visited = 0
    while waiting:
        place, found = waiting.pop()
        visited += 1
        yield place, found
        children = _children(found)
        if children and place.depth >= MAX_DEPTH:
            raise TooDeepError(place.path)
        if visited + len(waiting) + len(children) > MAX_VALUES:
            raise TooManyError(place.path)
        waiting += [
            (Place(name, place, place.depth + 1), child) for name, child in reversed(children)
        ]


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
