"""Which guards may hold together: what transitions at one place can tell of a token. Pure.

Each guard is a formula over atoms: rules about one field, and expressions, of which nothing is
known but whether they are constant. Rules about the same field are not independent: for each field
a few values stand for all (``values``). The counters of a token are known exactly.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

import msgspec

from actors.workflow.core.paths import MISSING, ROOTS
from actors.workflow.core.proof.expressions import constant, counters_in, limit_in
from actors.workflow.core.proof.values import (
    Leaf,
    representatives,
    schema_at,
    tester,
)
from schemas.nets import (
    AllRules,
    AnyRule,
    FieldEquals,
    NotRule,
    PlaceDefinition,
    Rule,
)

MOST_WORLDS = 4_096
"""Combinations of values of all fields that are tried for the guards of one place."""

MOST_WORK = 50_000
"""Rules times combinations."""

COUNTERS = "counters."

_COUNTER: Mapping[str, Any] = {"type": "integer", "minimum": 0}

Counters = Mapping[str, int]
Truth = Mapping[str, bool]
Formula = Callable[[Truth], bool]
Verdict = tuple[bool, ...]


class Guard(NamedTuple):
    """What a transition or an agent demands of a token: all of it must hold."""

    rules: Sequence[Rule]
    conditions: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it demands nothing."""
        return not self.rules and not self.conditions


def verdicts(
    guards: Sequence[Guard], place: PlaceDefinition, counters: Counters | None
) -> set[Verdict] | None:
    """Return which guards may hold together of a token in a place; None where that is too much.

    Without ``counters`` these may have any value.
    """
    atoms = _Atoms(guards)
    axes = list(_axes(atoms, place, counters))
    if any(axis is None for axis in axes):
        return None
    known = [axis for axis in axes if axis is not None]
    worlds = prod(map(len, known))
    size = len(guards) + sum(len(list(_leaves(one.rules))) for one in guards)
    if worlds > MOST_WORLDS or worlds * size > MOST_WORK:
        return None
    formulas = [_guard(guard) for guard in guards]
    found: set[Verdict] = set()
    for world in product(*known):
        truth = {name: value for part in world for name, value in part}
        found.add(tuple(formula(truth) for formula in formulas))
    return found


def may_hold(
    guard: Guard, place: PlaceDefinition, counters: Counters | None = None
) -> tuple[bool, bool]:
    """Return whether a guard may hold, and whether it may not, of a token in a place."""
    if guard.is_empty:
        return True, False
    found = verdicts([guard], place, counters)
    return (True, True) if found is None else ((True,) in found, (False,) in found)


def counters_of(guards: Iterable[Guard]) -> dict[str, int]:
    """Return whose counters guards look at, and from which value on more of it changes nothing."""
    found: dict[str, int] = {}
    for guard in guards:
        for leaf in _leaves(guard.rules):
            if leaf.field.startswith(COUNTERS):
                name, value = leaf.field.removeprefix(COUNTERS), getattr(leaf, "value", 0)
                limit = int(value) + 1 if isinstance(value, int | float) and value < 10**6 else 1
                found[name] = max(found.get(name, 1), limit)
        for text in guard.conditions:
            for name in counters_in(text):
                found[name] = max(found.get(name, 1), limit_in(text))
    return found


# Formulas


class _Atoms:
    """The atoms of some guards by what they are about."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self.fields: dict[str, dict[str, Leaf]] = {}
        self.expressions: set[str] = set()
        for guard in guards:
            for leaf in _leaves(guard.rules):
                self.fields.setdefault(leaf.field, {})[_name(leaf)] = leaf
            self.expressions.update(guard.conditions)


def _name(leaf: Leaf) -> str:
    value = msgspec.json.encode(getattr(leaf, "value", None), order="deterministic").decode()
    return f"{type(leaf).__name__} {leaf.field} {value}"


def _leaves(rules: Iterable[Rule]) -> Iterator[Leaf]:
    for rule in rules:
        match rule:
            case AllRules() | AnyRule():
                yield from _leaves(rule.rules)
            case NotRule():
                yield from _leaves([rule.rule])
            case _:
                yield rule


def _guard(guard: Guard) -> Formula:
    parts = [*map(_formula, guard.rules), *map(_atom, guard.conditions)]
    return lambda truth: all(part(truth) for part in parts)


def _formula(rule: Rule) -> Formula:
    match rule:
        case AllRules():
            parts = [_formula(one) for one in rule.rules]
            return lambda truth: all(part(truth) for part in parts)
        case AnyRule():
            parts = [_formula(one) for one in rule.rules]
            return lambda truth: any(part(truth) for part in parts)
        case NotRule():
            inner = _formula(rule.rule)
            return lambda truth: not inner(truth)
        case _:
            return _atom(_name(rule))


def _atom(name: str) -> Formula:
    return lambda truth: truth[name]


# What may be


Part = tuple[tuple[str, bool], ...]
"""What holds of one field: its atoms with their truth."""


def _axes(
    atoms: _Atoms, place: PlaceDefinition, counters: Counters | None
) -> Iterator[list[Part] | None]:
    """Yield for each field and expression what may hold of it; None where that is too much."""
    for field, leaves in atoms.fields.items():
        yield _of_field(field, leaves, place, counters)
    for text in atoms.expressions:
        fixed = constant(text, counters)
        yield [((text, one),) for one in ((True, False) if fixed is None else (fixed,))]


def _of_field(
    field: str, leaves: Mapping[str, Leaf], place: PlaceDefinition, counters: Counters | None
) -> list[Part] | None:
    root, *names = field.split(".")
    known = list(leaves.values())
    tests = [(tester(leaf), isinstance(leaf, FieldEquals)) for leaf in known]
    if root in ROOTS:
        values = _values(root, names, known, place, counters)
        truths = values and {tuple(test(one) for test, _ in tests) for one in values}
    else:
        above = representatives(known)
        below = _values("data", [root, *names], known, place, counters)
        truths = above and below and _either(above, below, tests)
    return [tuple(zip(leaves, truth, strict=True)) for truth in truths] if truths else None


def _either(
    above: Iterable[Any], below: Iterable[Any], tests: Sequence[tuple[Callable[[Any], bool], bool]]
) -> set[tuple[bool, ...]]:
    """Return what may hold of a bare name: the metadata's, or the data's where that is missing.

    That it equals something holds if it does so of either.
    """

    def told(values: Iterable[Any]) -> set[tuple[bool, tuple[bool, ...]]]:
        return {(one is MISSING, tuple(test(one) for test, _ in tests)) for one in values}

    return {
        tuple(
            high or low if equals else (low if gone else high)
            for high, low, (_, equals) in zip(ones, others, tests, strict=True)
        )
        for (gone, ones), (_, others) in product(told(above), told(below))
    }


def _values(
    root: str,
    names: list[str],
    leaves: list[Leaf],
    place: PlaceDefinition,
    counters: Counters | None,
) -> list[Any] | None:
    match root:
        case "place" if not names:
            return [place.id]
        case "id" if not names:
            return representatives(leaves, {"type": "string"}, required=True)
        case "counters" if counters is not None:
            return [counters.get(".".join(names), 0)]
        case "counters":
            return representatives(leaves, _COUNTER, required=True)
        case "data" if names and place.data_schema is not None:
            schema, required = schema_at(place.data_schema, names)
            return representatives(leaves, schema, required=required)
        case _:
            return representatives(leaves)
