"""Rules and conditions: what they mean, what they cost, and that no value makes them raise."""

from time import process_time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.workflow.core.conditions import Condition
from actors.workflow.core.paths import MISSING, Readable, built, reader, removed, walk, written
from actors.workflow.core.rules import guard, verdicts
from schemas.nets import Rule
from schemas.problems import Problem


def _token(data: Any, metadata: Any = None, counters: Any = None) -> Readable:
    given = SimpleNamespace(
        id="1", place="p", data=data, metadata=metadata or {}, counters=counters or {}
    )
    return cast("Readable", given)


def _holds(rule: dict[str, Any], data: Any, metadata: Any = None) -> bool:
    token, wanted = _token(data, metadata), [msgspec.convert(rule, Rule)]
    passed = guard(wanted)(token)
    (verdict,) = verdicts(wanted, token)
    assert verdict.passed == passed
    assert verdict.explanation
    return passed


@pytest.mark.parametrize(
    ("rule", "holds", "does_not"),
    [
        ({"type": "field_exists", "field": "data.x"}, {"x": 0}, {"x": None}),
        ({"type": "field_exists", "field": "x.y.1"}, {"x": {"y": [0, False]}}, {"x": {"y": [0]}}),
        ({"type": "field_equals", "field": "x", "value": 1}, {"x": 1.0}, {"x": True}),
        ({"type": "field_equals", "field": "data.x", "value": "1"}, {"x": "1"}, {"x": 1}),
        (
            {"type": "field_equals", "field": "x", "value": {"a": [1, None]}},
            {"x": {"a": [1.0, None]}},
            {"x": {"a": [True, None]}},
        ),
        ({"type": "field_greater_than", "field": "x", "value": 1}, {"x": 1.5}, {"x": "2"}),
        ({"type": "field_less_than", "field": "x", "value": 1}, {"x": 10**400 * -1}, {"x": True}),
        ({"type": "field_contains", "field": "x", "value": "b"}, {"x": "abc"}, {"x": {"b": 1}}),
        ({"type": "field_contains", "field": "x", "value": 1}, {"x": [0, 1.0]}, {"x": [True, "1"]}),
        (
            {"type": "not", "rule": {"type": "field_exists", "field": "x"}},
            {},
            {"x": 1},
        ),
        (
            {"type": "or", "rules": [{"type": "field_exists", "field": each} for each in "xy"]},
            {"y": 1},
            {"z": 1},
        ),
        (
            {"type": "and", "rules": [{"type": "field_exists", "field": each} for each in "xy"]},
            {"x": 1, "y": 1},
            {"x": 1},
        ),
    ],
)
def test_a_rule_holds_for_one_and_not_for_the_other(rule: Any, holds: Any, does_not: Any):
    assert _holds(rule, holds)
    assert not _holds(rule, does_not)


def test_no_rules_are_true_together_and_false_apart():
    assert _holds({"type": "and", "rules": []}, {})
    assert not _holds({"type": "or", "rules": []}, {})


def test_a_bare_name_is_that_of_the_metadata_or_else_of_the_data():
    read = reader("a.b")

    assert read(_token({"a": {"b": 1}}, {"a": {"b": 2}})) == 2
    assert read(_token({"a": {"b": 1}}, {"a": {"c": 2}})) == 1
    assert read(_token({"a": [1]})) is MISSING
    equals = {"type": "field_equals", "field": "x", "value": 1}
    assert _holds(equals, {"x": 1}, {"x": 2})
    assert _holds(equals, {"x": 2}, {"x": 1})


def test_all_parts_of_a_token_have_a_path():
    token = _token({"x": 1}, {"y": 2}, {"t": 3})
    paths = ("id", "place", "data", "metadata.y", "counters.t", "counters.u")

    assert [reader(each)(token) for each in paths] == ["1", "p", {"x": 1}, 2, 3, 0]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y", "0", "a b"]), inner, max_size=3)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(["x", "data.x", "data.x.0", "metadata.y.x", "counters.x", "id", "place.x"])
LEAVES = st.one_of(
    st.builds(lambda f: {"type": "field_exists", "field": f}, FIELDS),
    *(
        st.builds(lambda f, v, t=kind: {"type": t, "field": f, "value": v}, FIELDS, JSON)
        for kind in ("field_equals", "field_contains")
    ),
    *(
        st.builds(lambda f, v, t=kind: {"type": t, "field": f, "value": v}, FIELDS, st.floats())
        for kind in ("field_greater_than", "field_less_than")
    ),
)
RULES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda r: {"type": "not", "rule": r}, inner)
        | st.builds(
            lambda t, r: {"type": t, "rules": r},
            st.sampled_from(["and", "or"]),
            st.lists(inner, max_size=3),
        )
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(RULES, st.dictionaries(st.text(max_size=2), JSON), st.dictionaries(st.just("y"), JSON))
def test_no_value_makes_a_rule_raise_and_its_verdict_agrees(rule: Any, data: Any, metadata: Any):
    _holds(rule, data, metadata)


def test_values_that_are_nested_without_end_are_equal_to_nothing():
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    rule = {"type": "field_contains", "field": "x", "value": [[1]]}

    assert not _holds(rule, {"x": [deep]})


@settings(max_examples=60, deadline=None)
@given(JSON, st.lists(st.sampled_from(["x", "y", "0", "1"]), min_size=1, max_size=4), JSON)
def test_what_is_written_is_read_and_nothing_else_is_changed(value: Any, steps: Any, new: Any):
    before = repr(value)
    after = written({"data": value}, ("data", *steps), new)

    assert repr(walk(after, ("data", *steps))) == repr(new)
    assert repr(value) == before
    assert isinstance(removed(after, ("data", *steps)), dict)
    assert repr(value) == before


def test_an_object_is_built_of_paths():
    assert built({("a", "b"): 1, ("a", "c", "0"): 2}) == {"a": {"b": 1, "c": {"0": 2}}}


# CEL

TOKEN = _token(
    {"score": 0.9, "n": 3, "s": "abc", "items": [{"ok": True, "tags": ["a", "b"]}] * 30},
    {"status": "new"},
    {"t": 1},
)


@pytest.mark.parametrize(
    "source",
    [
        "data.score > 0.8 && metadata.status == 'new'",
        "data.items.all(i, i.ok) && data.items.exists(i, i.tags.exists(t, t == 'b'))",
        "data.items.filter(i, i.ok).map(i, i.tags).size() == 30",
        "has(data.s) && !has(data.q)",
        "data.s.matches('^a[a-z]+') && data.s.startsWith('ab')",
        "counters.t == 1 && counters.never == 0",
        "place == 'p' && id == '1' && data['n'] in [1, 2, 3]",
        "timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026 // in words",
        'data.s + "\\"" == "abc\\""',
    ],
)
def test_a_condition_holds(source: str):
    condition = Condition(source)

    assert condition.fault is None
    assert condition.value(TOKEN) is True
    assert condition.verdict(TOKEN).passed


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("dta.n > 1", "dta is not known"),
        ("data.n >", "no expression of CEL"),
        ("now() > 1", "no function now"),
        ("data.s.matches(data.s)", "a pattern of up to"),
        ("data.s.matches('(a{900}){900}')", "a pattern of up to"),
        ("r'a\\'.map(x, x)'", "raw texts"),
        ("'''a''' == 'b'", "follow each other"),
        ("b'a' == b'a'", "b is not known"),
        ("`a` == 1", "no token"),
        ("(" * 30 + "1" + ")" * 30, "nested deeper"),
        ("1" + "+1" * 300, "tokens"),
        ("!" * 900 + "true", "tokens"),
        ("[1].map(a, [1].map(b, [1].map(c, [1].map(d, d))))", "macros"),
        ("[1]" + ".map(x, [x, x])" * 12, "grows too fast"),
        ("['a']" + ".map(x, x + x)" * 12, "grows too fast"),
        ("['a']" + ".map(x, x)" * 20, "macros"),
    ],
)
def test_what_is_no_condition_or_could_cost_too_much_is_refused_unread(source: str, told: str):
    condition = Condition(source)

    assert condition.fault is not None
    assert told in condition.fault
    assert isinstance(condition.value(TOKEN), Problem)
    assert not condition.holds(TOKEN)


LARGE = _token(
    {
        "items": [{"n": at, "s": "x" * 50} for at in range(3_000)],
        "s": "x" * 200_000,
        "more": [0] * 20_000,
    }
)


@pytest.mark.parametrize(
    "source",
    [
        "data.items.map(a, data.items.map(b, a.n + b.n)).size() > 0",
        "data.items.all(a, data.items.exists(b, b.n == a.n))",
        "data.items.map(a, data.items).size() > 0",
        "(data.items + data.items + data.items).map(a, a.n).size() > 0",
        "data.items.exists(i, i.s.matches('(x+x+)+y'))",
        "[data.items].map(x, x + x).map(x, x.size()).size() > 0",
        "data.items.all(i, (data.items + data.items).size() > i.n)",
        "data.more.all(i, i in data.more)",
        "data.more.all(i, data.s.contains('y'))",
        "data.items.all(i, data.items == data.items)",
        "(" + "+".join(["data.s"] * 90) + ").size() > 0",
        "data.items.map(i, data.s + i.s).size() > 0",
        "data.items.filter(i, i.n > 0).size() > 0",
        "data.items.size() > 0 && data.s != '' && data.more == 1",
    ],
)
def test_what_would_cost_too_much_over_these_values_is_refused_at_once(source: str):
    condition = Condition(source)
    assert condition.fault is None
    took = min(_took(condition) for _ in range(5))
    value = condition.value(LARGE)

    assert isinstance(value, Problem)
    assert "too" in value.message
    assert took < 0.05


def _took(condition: Condition) -> float:
    began = process_time()
    condition.value(LARGE)
    return process_time() - began


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("data.q > 1", "a field is not there"),
        ("data.s > 1", "types"),
        ("1 / 0 == 1", "divides by zero"),
        ("data.items[99].ok", "an element is not there"),
        ("double('NaN')", "not one of JSON"),
        ("9223372036854775807 + 1 > 0", "out of range"),
    ],
)
def test_what_cannot_be_evaluated_does_not_hold_and_says_why(source: str, told: str):
    value = Condition(source).value(TOKEN)

    assert isinstance(value, Problem)
    assert told in value.message
    assert "abc" not in value.message


PIECES = st.sampled_from(
    [
        *("data", ".x", ".y", "event", "(", ")", "[", "]", "{", "}", "1", "-1", "1.5", "1u", "'a'"),
        *('"b"', "+", "-", "*", "/", "%", "==", "<", "&&", "||", "!", "?", ":", ",", " in ", "."),
        *(".map(i,", ".all(i,", ".exists_one(i,", "i", "has(", "size(", "string(", "true", "null"),
        *("timestamp(", "duration(", ".matches('a+')", "int(", "dyn(", "9223372036854775807", "//"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=14).map("".join), JSON, JSON)
def test_no_expression_and_no_value_raises(source: str, x: Any, event: Any):
    condition = Condition(source)
    token = _token({"x": x, "y": [x, x]})
    condition.value(token, event)

    assert condition.verdict(token, event).passed == condition.holds(token, event)
