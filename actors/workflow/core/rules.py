"""Rules: guards that are data. Each compiles to a function, and can tell why it holds or does not.

Values are compared as JSON: 1 is 1.0 and not true. No value raises: what does not fit the rule
does not hold. An explanation names fields and what is wanted of them, never what a token holds.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from actors.workflow.core.paths import MISSING, Readable, reader, readers
from schemas.base import Value
from schemas.bounds import MAX_DEPTH
from schemas.json_keywords import kind_of
from schemas.nets import (
    AllRules,
    AnyRule,
    FieldContains,
    FieldEquals,
    FieldExists,
    FieldGreaterThan,
    FieldLessThan,
    NotRule,
    Rule,
)

Guard = Callable[[Readable], bool]

MOST_SHOWN = 80


class Verdict(Value, omit_defaults=True):
    """Whether a rule or condition holds for a token, why, and the same of its parts."""

    rule: str
    passed: bool
    explanation: str
    id: str | None = None
    parts: list["Verdict"] = []


def guard(rules: Sequence[Rule]) -> Guard:
    """Compile rules that must all hold."""
    guards = [_compiled(rule) for rule in rules]
    if len(guards) == 1:
        return guards[0]
    return lambda token: all(each(token) for each in guards)


def verdicts(rules: Sequence[Rule], token: Readable) -> list[Verdict]:
    """Tell of each rule whether it holds for a token, and why."""
    return [_verdict(rule, token) for rule in rules]


def same(one: Any, other: Any, room: int = MAX_DEPTH) -> bool:
    """Say whether two values are the same in JSON. Below ``room`` levels nothing is."""
    if isinstance(one, str) or one is None or isinstance(one, bool):
        return type(one) is type(other) and one == other
    if isinstance(one, int | float):
        return isinstance(other, int | float) and not isinstance(other, bool) and one == other
    if room < 0 or type(one) is not type(other) or not isinstance(one, dict | list):
        return False
    if len(one) != len(other):  # pyright: ignore[reportUnknownArgumentType]  any values
        return False
    if isinstance(one, list):
        items = cast("list[Any]", one)
        return all(map(same, items, other, [room - 1] * len(items)))
    fields = cast("dict[str, Any]", one)
    return all(
        name in other and same(value, other[name], room - 1) for name, value in fields.items()
    )


def _compiled(rule: Rule) -> Guard:
    match rule:
        case AllRules(rules=rules):
            return guard(rules)
        case AnyRule(rules=rules):
            guards = [_compiled(each) for each in rules]
            return lambda token: any(each(token) for each in guards)
        case NotRule(rule=inner):
            denied = _compiled(inner)
            return lambda token: not denied(token)
        case FieldEquals():
            return _equals(rule)
        case FieldExists() | FieldContains():
            read, holds = reader(rule.field), _holds(rule)
            return lambda token: holds(read(token))
        case _:
            return _compares(rule)


def _equals(rule: FieldEquals) -> Guard:
    wanted = rule.value
    first, *more = readers(rule.field)
    if more:
        return lambda token: same(first(token), wanted) or same(more[0](token), wanted)
    if isinstance(wanted, str):
        return lambda token: first(token) == wanted
    return lambda token: same(first(token), wanted)


def _compares(rule: FieldGreaterThan | FieldLessThan) -> Guard:
    read, bound = reader(rule.field), rule.value
    if isinstance(rule, FieldGreaterThan):
        return lambda token: _is_number(value := read(token)) and value > bound
    return lambda token: _is_number(value := read(token)) and value < bound


def _holds(rule: FieldExists | FieldContains) -> Callable[[Any], bool]:
    if isinstance(rule, FieldExists):
        return lambda value: value is not MISSING and value is not None
    wanted = rule.value
    return lambda value: _contains(value, wanted)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    if not isinstance(value, list):
        return False
    return any(same(each, wanted) for each in cast("list[Any]", value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value is not True and value is not False


def _verdict(rule: Rule, token: Readable) -> Verdict:
    parts: list[Verdict] = []
    match rule:
        case AllRules(rules=rules):
            parts = verdicts(rules, token)
            passed = all(each.passed for each in parts)
            told = "all of its rules hold" if passed else "not all of its rules hold"
        case AnyRule(rules=rules):
            parts = verdicts(rules, token)
            passed = any(each.passed for each in parts)
            told = "one of its rules holds" if passed else "none of its rules holds"
        case NotRule(rule=inner):
            parts = [_verdict(inner, token)]
            passed = not parts[0].passed
            told = f"its rule {'does not hold' if passed else 'holds'}"
        case _:
            passed = _compiled(rule)(token)
            told = _told(rule, token, passed=passed)
    tag = cast("str", type(rule).__struct_config__.tag)
    return Verdict(rule=tag, passed=passed, explanation=told, id=rule.id, parts=parts)


def _told(
    rule: FieldExists | FieldEquals | FieldGreaterThan | FieldLessThan | FieldContains,
    token: Readable,
    *,
    passed: bool,
) -> str:
    value = reader(rule.field)(token)
    kind = "not there" if value is MISSING else f"of type {kind_of(value)}"
    match rule:
        case FieldExists():
            return f"{rule.field} is there" if passed else f"{rule.field} is not there, or null"
        case FieldEquals():
            words = "equals"
        case FieldContains():
            words = "contains"
        case FieldGreaterThan():
            words = "is above"
        case FieldLessThan():
            words = "is below"
    wanted = msgspec.json.encode(rule.value).decode()[:MOST_SHOWN]
    if passed:
        return f"{rule.field} {words} {wanted}"
    return f"{rule.field} is {kind}; it holds if it {words} {wanted}"
