"""Dotted paths into tokens and answers: compiled to readers, and written without changing a value.

``data.x``, ``metadata.x``, ``counters.x``, ``id`` and ``place`` name parts of a token; any other
first name is that of the metadata or, where it is not there, of the data. A step into a list is its
index. What is not there is ``MISSING``, never an error; a counter is 0 then.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from schemas.ids import whole


class Missing:
    """The type of what is not there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()

ROOTS = frozenset({"data", "metadata", "counters", "id", "place"})

WRITABLE = ("data", "metadata")

Steps = Sequence[str]


class Readable(Protocol):
    """What paths, rules and conditions look at: a token."""

    @property
    def id(self) -> str:
        """Its number."""
        ...

    @property
    def place(self) -> str:
        """Where it lies."""
        ...

    @property
    def data(self) -> dict[str, Any]:
        """What it carries."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """What is said of it."""
        ...

    @property
    def counters(self) -> dict[str, int]:
        """How often it took transitions."""
        ...


Reader = Callable[[Readable], Any]
"""Returns the value of a path in a token, or ``MISSING``."""


def walk(value: Any, steps: Steps) -> Any:
    """Return what lies below a value; ``MISSING`` where there is nothing."""
    for step in steps:
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(step, MISSING)
        elif isinstance(value, list) and (index := whole(step)) is not None:
            items = cast("list[Any]", value)
            value = items[index] if index < len(items) else MISSING
        else:
            return MISSING
    return value


def reader(path: str) -> Reader:
    """Compile a path."""
    steps = tuple(path.split("."))
    root, below = steps[0], steps[1:]
    if root not in ROOTS:
        return lambda token: _bare(token, steps)
    if root == "counters" and len(below) == 1:
        name = below[0]
        return lambda token: token.counters.get(name, 0)
    if root == "data" and len(below) == 1:
        name = below[0]
        return lambda token: token.data.get(name, MISSING)
    if root == "metadata" and len(below) == 1:
        name = below[0]
        return lambda token: token.metadata.get(name, MISSING)
    return lambda token: walk(getattr(token, root), below)


def _bare(token: Readable, steps: Steps) -> Any:
    value = walk(token.metadata, steps)
    return walk(token.data, steps) if value is MISSING else value


def is_bare(path: str) -> bool:
    """Say whether a path may mean the metadata or the data."""
    return path.split(".", 1)[0] not in ROOTS


def readers(path: str) -> tuple[Reader, ...]:
    """Return a reader for each place that a path may mean, the metadata first."""
    if is_bare(path):
        return reader(f"metadata.{path}"), reader(f"data.{path}")
    return (reader(path),)


def target(path: str) -> tuple[str, ...] | None:
    """Return the steps of a path that is written; None where it names what cannot be set.

    A bare name is that of the data.
    """
    steps = tuple(path.split("."))
    if steps[0] in WRITABLE:
        return steps if len(steps) > 1 else None
    return None if steps[0] in ROOTS else ("data", *steps)


def written(value: Any, steps: Steps, new: Any) -> Any:
    """Return a value with another one below it.

    Only what lies along the path is copied. What is no object there is replaced by one, except that
    an element of a list can be set.
    """
    if not steps:
        return new
    step, below = steps[0], steps[1:]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        index = whole(step)
        if index is not None and index < len(items):
            return [*items[:index], written(items[index], below, new), *items[index + 1 :]]
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return {**fields, step: written(fields.get(step), below, new)}


def removed(value: Any, steps: Steps) -> Any:
    """Return a value without what lies below it there. Elements of lists stay."""
    if not isinstance(value, dict) or steps[0] not in value:
        return cast("Any", value)
    fields = {**cast("dict[str, Any]", value)}
    if len(steps) == 1:
        del fields[steps[0]]
    else:
        fields[steps[0]] = removed(fields[steps[0]], steps[1:])
    return fields


def built(values: Mapping[Steps, Any]) -> dict[str, Any]:
    """Return an object that has these values at these places."""
    made: Any = {}
    for steps, value in values.items():
        made = written(made, steps, value)
    return made
