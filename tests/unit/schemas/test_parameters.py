from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.parameters import fault, schema_fault

NUMBERS = st.integers(-3, 3) | st.sampled_from([-1.5, 0.0, 1.0, 2.5])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(alphabet="ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
COUNTS = st.integers(0, 3)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": NAMES | st.lists(NAMES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "items": inner,
            "minimum": NUMBERS,
            "exclusiveMaximum": NUMBERS,
            "minLength": COUNTS,
            "maxLength": COUNTS,
            "minItems": COUNTS,
            "maxItems": COUNTS,
        },
    )


SCHEMAS = st.recursive(st.just({}), _schemas, max_leaves=4)


@given(VALUES, SCHEMAS)
def test_a_value_fits_exactly_where_the_reference_says_so(value: Any, schema: dict[str, Any]):
    assert schema_fault(schema) is None
    assert (fault(value, schema) is None) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ([], ""),
        ({"type": "text"}, "type"),
        ({"type": []}, "type"),
        ({"enum": []}, "enum"),
        ({"pattern": "(a+)+b"}, "pattern"),
        ({"$ref": "#/a"}, "$ref"),
        ({"items": {"minimum": "1"}}, "items.minimum"),
        ({"properties": {"a": {"maxLength": -1}}}, "properties.a.maxLength"),
        ({"properties": {"a": 1}}, "properties.a"),
        ({"properties": 1}, "properties"),
        ({"required": ["a", 1]}, "required.1"),
        ({"type": "integer", "default": "one"}, "default"),
    ],
)
def test_a_schema_that_would_be_without_effect_is_refused(schema: Any, path: str):
    found = schema_fault(schema)

    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(
    ("value", "path"),
    [({}, "a.b"), ({"a": {}}, "a.b"), ({"a": {"b": [1, "x"]}}, "a.b.1"), ({"c": 1}, "c")],
)
def test_a_fault_names_the_place_of_the_value(value: dict[str, Any], path: str):
    schema: dict[str, Any] = {
        "properties": {
            "a": {
                "properties": {"b": {"type": "array", "items": {"type": "integer"}}},
                "required": ["b"],
            }
        },
        "additionalProperties": False,
    }
    found = fault({"a": {}} if value == {} else value, schema)

    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(
    ("keyword", "fits", "fails"),
    [
        ("minimum", 2, 1.9),
        ("maximum", 2, 2.1),
        ("exclusiveMinimum", 2.1, 2),
        ("exclusiveMaximum", 1.9, 2),
        ("minLength", "ab", "a"),
        ("maxLength", "ab", "abc"),
        ("minItems", [1, 2], [1]),
        ("maxItems", [1, 2], [1, 2, 3]),
        ("const", 2.0, True),
    ],
)
def test_a_bound_holds_at_its_edge(keyword: str, fits: Any, fails: Any):
    assert fault(fits, {keyword: 2}) is None
    assert fault(fails, {keyword: 2}) is not None
