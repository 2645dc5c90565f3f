"""Which values of one field matter to rules: a few that stand for all that there may be. Pure.

Rules compare a field with constants. So a value below, at, between and above these, of each type,
tells apart whatever the rules can tell apart. Where a JSON Schema describes the data, values that
it excludes are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from math import floor, isfinite
from types import MappingProxyType
from typing import Any, cast

import msgspec

from actors.workflow.core.paths import MISSING
from actors.workflow.core.proof.expressions import Sample
from actors.workflow.core.rules import guard, same
from schemas.json_keywords import kind_of
from schemas.json_schema import Schema
from schemas.nets import (
    FieldContains,
    FieldEquals,
    FieldExists,
    FieldGreaterThan,
    FieldLessThan,
)

Leaf = FieldExists | FieldEquals | FieldGreaterThan | FieldLessThan | FieldContains

MOST_CONTAINED = 5
"""Texts and elements of one field of which each set is tried."""

_OTHER = "\uffff"
"""A text that nobody writes in a rule."""

_ANY: Mapping[str, Any] = {}


def tester(leaf: Leaf) -> Callable[[Any], bool]:
    """Return what says of a value whether a rule about it holds."""
    about = guard([msgspec.structs.replace(leaf, field="data.value")])

    def holds(value: Any) -> bool:
        return about(Sample(data={} if value is MISSING else {"value": value}))

    return holds


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def representatives(
    leaves: Sequence[Leaf], schema: Schema = MappingProxyType({}), *, required: bool = False
) -> list[Any] | None:
    """Return values that stand for all the schema allows; None where these are too many.

    ``schema`` is what is known of the field; False is that it cannot be there.
    """
    if schema is False:
        return [MISSING]
    known = _ANY if schema is True else schema
    contained = [leaf.value for leaf in leaves if isinstance(leaf, FieldContains)]
    if len(contained) > MOST_CONTAINED:
        return None
    tried = chain(
        (None, True, False, _OTHER, {}, []),
        (leaf.value for leaf in leaves if isinstance(leaf, FieldEquals)),
        _numbers(leaves, known),
        _containers(contained),
        cast("list[Any]", known.get("enum", [])),
        [known["const"]] if "const" in known else [],
    )
    fitting = [one for one in tried if _fits(known, one)]
    return fitting if required else [MISSING, *fitting]


def _numbers(leaves: Sequence[Leaf], schema: Mapping[str, Any]) -> Iterator[float]:
    limits = [leaf.value for leaf in leaves if isinstance(leaf, FieldGreaterThan | FieldLessThan)]
    limits += [
        leaf.value for leaf in leaves if isinstance(leaf, FieldEquals) and _is_number(leaf.value)
    ]
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    limits += [schema[name] for name in bounds if _is_number(schema.get(name))]
    known = sorted({one for one in limits if isfinite(one)}) or [0]
    yield from (floor(known[0]) - 1, floor(known[-1]) + 1, *known)
    for low, high in pairwise(known):
        yield from (low + (high - low) / 2, *(one for one in (floor(low) + 1,) if one < high))


def _containers(contained: Sequence[Any]) -> Iterator[Any]:
    for size in range(1, len(contained) + 1):
        for some in combinations(contained, size):
            yield list(some)
            if all(isinstance(one, str) for one in some):
                yield _OTHER.join(some) + _OTHER


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Say whether a value may fit, by those keywords that say it for certain."""
    wanted = schema.get("type")
    if wanted is not None:
        names = cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted]
        whole = _is_number(value) and value % 1 == 0
        if kind_of(value) not in names and not ("integer" in names and whole):
            return False
    choices = schema.get("enum")
    if isinstance(choices, list) and not any(
        same(value, one) for one in cast("list[Any]", choices)
    ):
        return False
    if "const" in schema and not same(value, schema["const"]):
        return False
    return not _is_number(value) or _within(schema, value)


def _within(schema: Mapping[str, Any], value: float) -> bool:
    def at(name: str, otherwise: float) -> float:
        bound: Any = schema.get(name)
        return bound if _is_number(bound) else otherwise

    return at("minimum", value) <= value <= at("maximum", value) and at(
        "exclusiveMinimum", value - 1
    ) < value < at("exclusiveMaximum", value + 1)


def schema_at(schema: Any, names: Sequence[str]) -> tuple[Schema, bool]:
    """Return what a schema says of a member, and whether that must be there."""
    required = True
    for name in names:
        if not isinstance(schema, dict):
            return True, False
        known = cast("dict[str, Any]", schema)
        inner = known.get("properties")
        members = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
        needs = known.get("required")
        required = required and isinstance(needs, list) and name in cast("list[Any]", needs)
        if name not in members and "patternProperties" in known:
            return True, False
        schema = members.get(name, known.get("additionalProperties", True))
    known_of = cast("Schema", schema) if isinstance(schema, dict | bool) else True
    return known_of, required and isinstance(schema, dict)
