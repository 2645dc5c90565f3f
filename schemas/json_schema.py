"""Whether a JSON value is what a JSON Schema describes. Pure, and bounded in work and depth.

Looked at are the assertions of draft 2020-12 that models are asked to keep: ``type``, ``enum``,
``const``, the bounds of numbers, texts, lists and objects, ``properties``, ``required``,
``additionalProperties``, ``items``, ``prefixItems``, ``anyOf``, ``oneOf``, ``allOf``, ``not``, and
``$ref`` within the schema. As the standard has it, what is not known says nothing: ``pattern`` is
not looked at, because a pattern may take for ever, nor are ``format`` and the conditionals.

A fault names the place in the value and what is wanted. It quotes only names of the schema, never
the value: that is what a model has written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from schemas.steps import Steps

MAX_CHECKS = 200_000
"""Pairs of a schema and a value that are looked at; above it the value counts as unverified."""

MAX_NESTED = 64
"""How deep schemas may refer to each other at one place of a value."""

PAUSE_EACH = 500
"""Checks between two pauses: less than a millisecond."""

NAMES_EACH = 16
"""Choices and names of a schema that are looked through in one check."""

_NAMES = ("enum", "required", "properties")

MAX_SHOWN = 10
"""Choices that a fault lists."""

Schema = Mapping[str, Any] | bool
Fault = str
"""``<place>: <what is wanted>``."""


class UnverifiableError(Exception):
    """A value was not checked to its end: the schema asks for too much, or refers to nothing."""


def fault_of(schema: Schema, value: Any) -> Steps[Fault | None]:
    """Return the first fault of a value, None if the schema accepts it.

    Raises:
        UnverifiableError: there are more than ``MAX_CHECKS`` checks, or a reference leads nowhere.
    """
    return (yield from _Check(schema).fault(schema, value, "", 0))


class _Check:
    """One check of a value against a whole schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._count = 0

    def fault(self, schema: Any, value: Any, place: str, nested: int) -> Steps[Fault | None]:
        """Return the first fault at a place and below."""
        yield from self._counted(schema, nested)
        if not isinstance(schema, Mapping):
            return None if schema is not False else f"{place or 'the value'}: must not be there"
        known = cast("Mapping[str, Any]", schema)
        for wanted in _plain_faults(known, value):
            return f"{place or 'the value'}: {wanted}"
        found = yield from self._combined(known, value, place, nested + 1)
        if found is not None:
            return found
        for inner, member, name in _members(known, value):
            found = yield from self.fault(inner, member, f"{place}.{name}".lstrip("."), 0)
            if found is not None:
                return found
        return None

    def _counted(self, schema: Any, nested: int) -> Steps[None]:
        """Count a check by its size; pause now and then."""
        before = self._count
        self._count += 1 + _names(schema) // NAMES_EACH
        if self._count > MAX_CHECKS or nested > MAX_NESTED:
            raise UnverifiableError("the schema asks for too many checks")
        if self._count // PAUSE_EACH > before // PAUSE_EACH:
            yield

    def _combined(
        self, schema: Mapping[str, Any], value: Any, place: str, nested: int
    ) -> Steps[Fault | None]:
        """Check the schemas that hold at the same place."""
        every = list(_list(schema.get("allOf")))
        if "$ref" in schema:
            every.append(self._referred(schema["$ref"]))
        for each in every:
            found = yield from self.fault(each, value, place, nested)
            if found is not None:
                return found
        for name, is_right in _COUNTS.items():
            if name in schema:
                right = 0
                for each in _list(schema[name]):
                    right += (yield from self.fault(each, value, place, nested)) is None
                if not is_right(right):
                    return f"{place or 'the value'}: must be {_ALTERNATIVES[name]}"
        return None

    def _referred(self, reference: Any) -> Any:
        found: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnverifiableError("the schema refers to another one")
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise UnverifiableError("the schema refers to what it does not hold")
            found = cast("Mapping[str, Any]", found)[name]
        return found


def _names(schema: Any) -> int:
    """Count the choices and names that a schema lists itself."""
    if not isinstance(schema, dict):
        return 0
    listed = map(cast("dict[str, Any]", schema).get, _NAMES)
    return sum(len(cast("list[Any]", one)) for one in listed if isinstance(one, list | dict))


def _list(value: Any) -> Sequence[Any]:
    return (
        cast("Sequence[Any]", value) if isinstance(value, list) else [value] * (value is not None)
    )


_COUNTS: dict[str, Callable[[int], bool]] = {
    "anyOf": lambda right: right > 0,
    "oneOf": lambda right: right == 1,
    "not": lambda right: right == 0,
}
_ALTERNATIVES = {
    "anyOf": "one of the alternatives of anyOf",
    "oneOf": "exactly one of the alternatives of oneOf",
    "not": "other than what not describes",
}


def _plain_faults(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield what is wrong with a value itself."""
    types = _list(schema.get("type"))
    if types and not any(_is_of(value, str(name)) for name in types):
        yield f"must be {' or '.join(map(str, types))}"
    if isinstance(schema.get("enum"), list) and not any(_same(value, e) for e in schema["enum"]):
        yield f"must be one of {_shown(schema['enum'])}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"must be {_shown([schema['const']])}"
    size = _size(value)
    for name, measured, holds, words in _BOUNDS:
        bound = schema.get(name)
        if not isinstance(bound, int | float) or isinstance(bound, bool):
            continue
        subject = size.get(measured)
        if subject is not None and not holds(subject, bound):
            yield f"must be {words} {bound:g}" if measured == "" else f"must have {words} {bound:g}"
    if isinstance(value, dict):
        yield from _missing(schema, cast("dict[str, Any]", value))


def _missing(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Iterator[str]:
    lacks = [str(name) for name in _list(schema.get("required")) if name not in value]
    if lacks:
        yield f"must have {_shown(lacks)}"
    if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
        known: dict[str, Any] = schema.get("properties") or {}
        if any(name not in known for name in value):
            yield f"must have no other fields than {_shown(list(known)) or 'none'}"


def _members(schema: Mapping[str, Any], value: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yield the members of a value with their schemas and names; foreign names are not told."""
    if isinstance(value, dict):
        known: dict[str, Any] = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        for name, member in cast("dict[str, Any]", value).items():
            if name in known:
                yield known[name], member, name
            elif isinstance(more, Mapping):
                yield more, member, "*"
    elif isinstance(value, list):
        first, rest = _list(schema.get("prefixItems")), schema.get("items", True)
        for place, member in enumerate(cast("list[Any]", value)):
            yield first[place] if place < len(first) else rest, member, str(place)


def _is_of(value: Any, name: str) -> bool:
    match value:
        case None:
            return name == "null"
        case bool():
            return name == "boolean"
        case int():
            return name in {"integer", "number"}
        case float():
            return name == "number" or (name == "integer" and value.is_integer())
        case str():
            return name == "string"
        case list():
            return name == "array"
        case _:
            return name == "object"


def _same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are the same: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _size(value: Any) -> dict[str, float]:
    match value:
        case bool() | None:
            return {}
        case int() | float():
            return {"": value}
        case str():
            return {"characters": len(value)}
        case list():
            return {"items": len(cast("list[Any]", value))}
        case _:
            return {"fields": len(value)}


def _shown(values: Sequence[Any]) -> str:
    shown = [str(one)[:100] for one in values[:MAX_SHOWN]]
    return ", ".join([*shown, "…"] if len(values) > MAX_SHOWN else shown)


def _is_multiple(value: float, of: float) -> bool:
    return of <= 0 or abs(value / of - round(value / of)) < _NEARLY


_NEARLY = 1e-9

_BOUNDS: tuple[tuple[str, str, Callable[[float, float], bool], str], ...] = (
    ("minimum", "", lambda value, bound: value >= bound, "at least"),
    ("maximum", "", lambda value, bound: value <= bound, "at most"),
    ("exclusiveMinimum", "", lambda value, bound: value > bound, "more than"),
    ("exclusiveMaximum", "", lambda value, bound: value < bound, "less than"),
    ("multipleOf", "", _is_multiple, "a multiple of"),
    ("minLength", "characters", lambda value, bound: value >= bound, "at least this length:"),
    ("maxLength", "characters", lambda value, bound: value <= bound, "at most this length:"),
    ("minItems", "items", lambda value, bound: value >= bound, "at least this many items:"),
    ("maxItems", "items", lambda value, bound: value <= bound, "at most this many items:"),
    ("minProperties", "fields", lambda value, bound: value >= bound, "at least this many fields:"),
    ("maxProperties", "fields", lambda value, bound: value <= bound, "at most this many fields:"),
)
"""Keyword, what it measures ("" is the number itself), whether that holds, and how it is said."""
