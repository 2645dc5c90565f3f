"""The part of JSON Schema (2020-12) that describes values a user gives. Pure.

Types, choices, bounds, members and items. Other keywords are refused where a schema is stored, so
that none is silently without effect: no pattern, whose search may take for ever, and no reference.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple, cast

import msgspec

Schema = Mapping[str, Any]


class Fault(NamedTuple):
    """What is wrong, and where: the dotted path within the value or the schema."""

    path: str
    message: str


def fault(value: Any, schema: Schema, path: str = "") -> Fault | None:
    """Return the first reason why a value does not fit a schema, None if it does."""
    return next(_faults(value, schema, path), None)


def schema_fault(schema: Any, path: str = "") -> Fault | None:
    """Return the first reason why a schema cannot be used, None if it can."""
    return next(_schema_faults(schema, path), None)


def _at(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


# Values


def _faults(value: Any, schema: Any, path: str) -> Iterator[Fault]:
    if isinstance(schema, bool):
        if not schema:
            yield Fault(path, "is not allowed")
        return
    for keyword, wanted in schema.items():
        check = _CHECKS.get(keyword)
        if check is not None:
            yield from check(value, wanted, path)
    if isinstance(value, dict):
        yield from _members(cast("dict[str, Any]", value), schema, path)


def _members(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Fault]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, member in value.items():
        yield from _faults(member, properties.get(name, others), _at(path, name))


def _type(value: Any, wanted: Any, path: str) -> Iterator[Fault]:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not any(_TYPES[name](value) for name in names):
        yield Fault(path, f"must be of type {' or '.join(names)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _enum(value: Any, wanted: Any, path: str) -> Iterator[Fault]:
    if not any(_is_same(value, one) for one in wanted):
        choices = ", ".join(msgspec.json.encode(one).decode() for one in wanted)
        yield Fault(path, f"must be one of {choices}")


def _is_same(one: Any, other: Any) -> bool:
    if _is_number(one) and _is_number(other):
        return one == other
    encoded = (msgspec.json.encode(each, order="deterministic") for each in (one, other))
    return next(encoded) == next(encoded)


def _required(value: Any, wanted: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        yield from (Fault(_at(path, name), "is missing") for name in wanted if name not in value)


def _items(value: Any, wanted: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, list):
        each = enumerate(cast("list[Any]", value))
        yield from chain.from_iterable(_faults(one, wanted, _at(path, n)) for n, one in each)


def _bound(
    applies: Callable[[Any], bool], holds: Callable[[Any, Any], bool], words: str
) -> Callable[[Any, Any, str], Iterator[Fault]]:
    """Make the check of a bound on values of one type."""

    def check(value: Any, wanted: Any, path: str) -> Iterator[Fault]:
        if applies(value) and not holds(value, wanted):
            yield Fault(path, words.format(wanted))

    return check


_string, _array = _TYPES["string"], _TYPES["array"]

_CHECKS: Mapping[str, Callable[[Any, Any, str], Iterator[Fault]]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value, wanted, path: _enum(value, [wanted], path),
    "required": _required,
    "items": _items,
    "minimum": _bound(_is_number, lambda v, w: v >= w, "must be at least {}"),
    "maximum": _bound(_is_number, lambda v, w: v <= w, "must be at most {}"),
    "exclusiveMinimum": _bound(_is_number, lambda v, w: v > w, "must be above {}"),
    "exclusiveMaximum": _bound(_is_number, lambda v, w: v < w, "must be below {}"),
    "minLength": _bound(_string, lambda v, w: len(v) >= w, "must have at least {} characters"),
    "maxLength": _bound(_string, lambda v, w: len(v) <= w, "must have at most {} characters"),
    "minItems": _bound(_array, lambda v, w: len(v) >= w, "must have at least {} items"),
    "maxItems": _bound(_array, lambda v, w: len(v) <= w, "must have at most {} items"),
}


# Schemas

_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
_NAMES: Schema = {"items": {"enum": list(_TYPES)}, "minItems": 1}
_ANYTHING: Schema = {}

_KEYWORDS: Mapping[str, Schema] = {
    "type": {},
    "enum": {"type": "array", "minItems": 1},
    "const": _ANYTHING,
    "properties": {"type": "object"},
    "additionalProperties": {"type": ["boolean", "object"]},
    "required": {"type": "array", "items": _TEXT},
    "items": {"type": ["boolean", "object"]},
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "default": _ANYTHING,
    "title": _TEXT,
    "description": _TEXT,
    "examples": {"type": "array"},
    "format": _TEXT,
    "$schema": _TEXT,
}
"""What each keyword may be set to. The last five say something to readers alone."""


def _schema_faults(schema: Any, path: str) -> Iterator[Fault]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield Fault(path, "must be a schema: an object")
        return
    known = cast("dict[str, Any]", schema)
    for keyword, wanted in known.items():
        if keyword not in _KEYWORDS:
            yield Fault(_at(path, keyword), f"is not known here; keywords: {', '.join(_KEYWORDS)}")
        elif keyword == "type":
            kind = _NAMES if isinstance(wanted, list) else _NAMES["items"]
            yield from _faults(wanted, kind, _at(path, keyword))
        else:
            yield from _faults(wanted, _KEYWORDS[keyword], _at(path, keyword))
    yield from _inner_faults(known, path)
    if "default" in known:
        yield from _faults(known["default"], known, _at(path, "default"))


def _inner_faults(schema: dict[str, Any], path: str) -> Iterator[Fault]:
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from _schema_faults(schema[keyword], _at(path, keyword))
    for name, inner in schema.get("properties", {}).items():
        yield from _schema_faults(inner, _at(path, f"properties.{name}"))
