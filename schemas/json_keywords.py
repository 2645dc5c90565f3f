"""Keywords of JSON Schema that look at one value alone, and the types and equality of values."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from fractions import Fraction
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

import msgspec

from schemas.steps import Steps

KINDS = ("null", "boolean", "number", "string", "array", "object")

TYPES = ("integer", *KINDS)

MAX_SHOWN = 600
"""Characters of choices and names that a fault lists."""

_MAX_EACH = 100

Told = Iterator[tuple[str, str]]
"""The member that is concerned, empty for the value itself, and what is wanted."""


class Plain(NamedTuple):
    """A keyword for values of one kind (empty: any) that is set to one of some types."""

    kind: str
    takes: tuple[type, ...]
    faults: Callable[[Any, Any], Told]

    def is_for(self, kind: str, wanted: Any) -> bool:
        """Say whether the keyword, set so, says anything about a value of a kind."""
        return self.kind in ("", kind) and isinstance(wanted, self.takes)


def kind_of(value: Any) -> str:
    """Return the type of a value; integers are numbers."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def key_of(value: Any, count: Callable[[int], Steps[None]]) -> Steps[Hashable]:
    """Return what is equal for values that are the same in JSON: 1 is 1.0, and not true."""
    kind = kind_of(value)
    yield from count(len(value) // 1024 if kind == "string" else 1)
    if kind in ("array", "object"):
        members: list[Hashable] = []
        for name, member in enumerate(value) if kind == "array" else value.items():
            members.append((name, (yield from key_of(member, count))))
        return kind, frozenset(members)
    return kind, value


def shown(values: Iterable[Any]) -> str:
    """List values of a schema for a reader, up to ``MAX_SHOWN`` characters."""
    listed, length = list[str](), 0
    for value in values:
        text = _shown(value)
        length += len(text) + 2
        if length > MAX_SHOWN:
            return ", ".join([*listed, "…"])
        listed.append(text)
    return ", ".join(listed)


def _shown(value: Any) -> str:
    match kind_of(value):
        case "string":
            return value[:_MAX_EACH]
        case "array" | "object":
            # These may be long.
            return "[…]" if isinstance(value, list) else "{…}"
        case _:
            return msgspec.json.encode(value).decode()


def _type(value: Any, wanted: Any) -> Told:
    names = [wanted] if isinstance(wanted, str) else wanted
    kind = kind_of(value)
    if kind not in names and not ("integer" in names and kind == "number" and value % 1 == 0):
        yield "", f"must be {' or '.join(map(str, names))[:MAX_SHOWN]}"


def missing(value: Any, wanted: Any) -> Told:
    """Tell which of some members an object lacks."""
    lacking = (name for name in wanted if isinstance(name, str) and name not in value)
    return ((name[:_MAX_EACH], "is missing") for name in lacking)


def _bound(
    measure: Callable[[Any], float], holds: Callable[[Any, Any], bool], words: str
) -> Callable[[Any, Any], Told]:
    def faults(value: Any, wanted: Any) -> Told:
        if not holds(measure(value), wanted):
            yield "", words.format(wanted)

    return faults


def _is_multiple(value: Any, of: Any) -> bool:
    # The decimal numbers as they are written: 0.3 is a multiple of 0.1.
    return of <= 0 or (Fraction(str(value)) / Fraction(str(of))).denominator == 1


def _itself(value: Any) -> Any:
    return value


_NUMBERS = (int, float)

PLAIN: Mapping[str, Plain] = {
    "type": Plain("", (str, list), _type),
    "required": Plain("object", (list,), missing),
    "minimum": Plain("number", _NUMBERS, _bound(_itself, ge, "must be at least {}")),
    "maximum": Plain("number", _NUMBERS, _bound(_itself, le, "must be at most {}")),
    "exclusiveMinimum": Plain("number", _NUMBERS, _bound(_itself, gt, "must be more than {}")),
    "exclusiveMaximum": Plain("number", _NUMBERS, _bound(_itself, lt, "must be less than {}")),
    "multipleOf": Plain(
        "number", _NUMBERS, _bound(_itself, _is_multiple, "must be a multiple of {}")
    ),
    **{
        f"{bound}{subject}": Plain(kind, _NUMBERS, _bound(len, holds, f"{words} {{}} {things}"))
        for bound, holds, words in (
            ("min", ge, "must have at least"),
            ("max", le, "must have at most"),
        )
        for subject, kind, things in (
            ("Length", "string", "characters"),
            ("Items", "array", "items"),
            ("Properties", "object", "fields"),
        )
    },
}
