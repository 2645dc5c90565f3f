"""The check of a value against a JSON Schema, beside the one of the library jsonschema."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.json_schema import UnverifiableError, fault_of
from schemas.steps import at_once

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(("", "a", "bb", 1.0, 0.5))
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
types = st.sampled_from(
    ("null", "boolean", "integer", "number", "string", "array", "object", ["string", "null"])
)
small = st.integers(0, 3)


def schemas_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keywords = {
        "type": types,
        "enum": st.lists(scalars, min_size=1, max_size=3),
        "const": scalars,
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "multipleOf": st.integers(1, 2),
        "maxLength": small,
        "minItems": small,
        "maxProperties": small,
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        "additionalProperties": st.booleans() | inner,
        "items": inner,
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "not": inner,
        "$ref": st.just("#/$defs/one"),
    }
    return st.fixed_dictionaries({}, optional=keywords).map(
        lambda schema: dict(list(schema.items())[:4])
    )


trees = st.recursive(st.booleans() | schemas_of(st.booleans()), schemas_of, max_leaves=4)


@settings(max_examples=300)
@given(trees, st.sampled_from(({"type": "string"}, {"minimum": 1}, True, False)), values)
def test_it_judges_as_the_standard_does(tree: Any, one: Any, value: Any):
    schema = {**tree, "$defs": {"one": one}} if isinstance(tree, dict) else tree

    assert (at_once(fault_of(schema, value)) is None) == Draft202012Validator(schema).is_valid(
        value
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "the value: must be object"),
        ({"grade": "A"}, "the value: must have subject"),
        ({"subject": "x", "grade": "Z"}, "grade: must be one of A, B"),
        ({"subject": 7, "grade": "A"}, "subject: must be string"),
        ({"subject": "x", "marks": [1, 7]}, "marks.1: must be at most 6"),
        (
            {"subject": "x", "s3cret": 1},
            "the value: must have no other fields than subject, grade, marks",
        ),
    ],
)
def test_a_fault_names_the_place_and_what_is_wanted_and_quotes_nothing(value: Any, fault: str):
    schema = {
        "type": "object",
        "required": ["subject"],
        "additionalProperties": False,
        "properties": {
            "subject": {"type": "string"},
            "grade": {"enum": ["A", "B"]},
            "marks": {"type": "array", "items": {"type": "integer", "maximum": 6}},
        },
    }

    assert at_once(fault_of(schema, value)) == fault


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/none"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    ],
)
def test_what_has_no_end_or_refers_elsewhere_is_not_verified(schema: Any):
    with pytest.raises(UnverifiableError):
        at_once(fault_of(schema, 1))
