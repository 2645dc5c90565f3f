"""The check of a value against a JSON Schema, beside the one of the library jsonschema."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.json_schema import Fault, Schema, UnverifiableError, fault, faults
from schemas.schema_faults import KEYWORDS, schema_fault
from schemas.steps import at_once, begun

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
kinds = st.sampled_from(("null", "boolean", "integer", "number", "string", "array", "object"))
small = st.integers(0, 3)
names = st.lists(st.sampled_from("abc"), max_size=2, unique=True)


def schemas_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=2)
    by_name = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    keywords = {
        "type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "uniqueItems": st.booleans(),
        "required": names,
        "dependentRequired": st.dictionaries(st.sampled_from("abc"), names, max_size=2),
        **dict.fromkeys(("minimum", "exclusiveMaximum"), st.integers(-2, 2)),
        **dict.fromkeys(("maximum", "exclusiveMinimum"), st.sampled_from((-1.5, 0.0, 1.0))),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), small),
        **dict.fromkeys(("minProperties", "maxProperties"), small),
        **dict.fromkeys(("additionalProperties", "items", "not", "propertyNames"), inner),
        **dict.fromkeys(("properties", "dependentSchemas"), by_name),
        **dict.fromkeys(("prefixItems", "anyOf", "oneOf", "allOf"), some),
        "multipleOf": st.sampled_from((1, 2, 0.5)),
        "$ref": st.sampled_from(("#/$defs/one", "#/$defs/list/anyOf/1")),
    }
    joined = st.fixed_dictionaries(
        {"if": inner}, optional={"then": inner, "else": inner}
    ) | st.fixed_dictionaries(
        {"contains": inner}, optional={"minContains": small, "maxContains": small}
    )
    single = st.fixed_dictionaries({}, optional=keywords).map(lambda s: dict(list(s.items())[:4]))
    return single | st.builds(lambda one, more: one | more, single, joined)


trees = st.recursive(st.booleans() | schemas_of(st.booleans()), schemas_of, max_leaves=4)
parts = st.sampled_from(({"type": "string"}, {"minimum": 1}, True, False))


def document(tree: Any, one: Any) -> Any:
    """Give a schema what its references lead to."""
    if not isinstance(tree, dict):
        return tree
    return {**tree, "$defs": {"one": one, "list": {"anyOf": [True, {"type": "array"}]}}}


@given(trees, parts, values)
def test_it_judges_as_the_standard_does(tree: Any, one: Any, value: Any):
    schema = document(tree, one)

    assert at_once(schema_fault(schema, own=False)) is None
    assert (at_once(fault(schema, value)) is None) == Draft202012Validator(schema).is_valid(value)


@given(trees, parts, values)
def test_every_fault_lies_in_the_value_or_is_what_it_lacks(tree: Any, one: Any, value: Any):
    for found in at_once(faults(document(tree, one), value, foreign=True)):
        inner = value
        for step in found.path.split(".") if found.path else ():
            if found.message.startswith("is missing"):
                break
            inner = inner[int(step) if isinstance(inner, list) else step]


garbage: st.SearchStrategy[Any] = st.recursive(
    scalars | st.sampled_from(("#", "#/$defs/a", "integer", "object")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from((*KEYWORDS, "patternProperties", "a")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(garbage, values, st.booleans())
def test_a_malformed_schema_is_said_to_be_one_and_harms_nothing(schema: Any, value: Any, own: bool):
    refused = at_once(schema_fault(schema, own=own))
    try:
        at_once(fault(schema, value))
    except UnverifiableError:
        assert refused is not None or "$ref" in str(schema)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([], "the value: must be object"),
        ({"grade": "A"}, "subject: is missing"),
        ({"subject": "x", "grade": "Z"}, "grade: must be one of A, B"),
        ({"subject": 7, "grade": "A"}, "subject: must be string"),
        ({"subject": "x", "marks": [1, 7]}, "marks.1: must be at most 6"),
        (
            {"subject": "x", "marks": "s3cret"},
            "marks: fits no alternative of anyOf: must be array; or must be null",
        ),
        ({"subject": "x", "marks": [1, "7"]}, "marks.1: must be integer"),
        ({"subject": "x", "s3cret": 1}, "*: is not allowed; allowed: subject, grade, marks"),
    ],
)
def test_a_fault_names_the_place_and_what_is_wanted_and_quotes_nothing(value: Any, found: str):
    array = {"type": "array", "items": {"type": "integer", "maximum": 6}}
    is_list = isinstance(value, dict) and isinstance(value.get("marks"), list)
    schema = {
        "type": "object",
        "required": ["subject"],
        "additionalProperties": False,
        "properties": {
            "subject": {"type": "string"},
            "grade": {"enum": ["A", "B"]},
            "marks": array if is_list else {"anyOf": [array, {"type": "null"}]},
        },
    }

    assert str(at_once(fault(schema, value))) == found


def test_all_faults_are_told_up_to_a_number():
    schema = {"items": {"type": "integer", "minimum": 3}, "maxItems": 2}

    assert at_once(faults(schema, [1, "x", 4])) == [
        Fault("0", "must be at least 3"),
        Fault("1", "must be integer"),
        Fault("", "must have at most 2 items"),
    ]
    assert len(at_once(faults(schema, [1] * 50, most=7))) == 7


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        ({"const": 2.0}, 2, True),
        ({"enum": [[1, {"a": True}]]}, [1.0, {"a": True}], [1, {"a": 1}]),
        ({"uniqueItems": True}, [1, True, "1", [1]], [{"a": 1}, {"a": 1.0}]),
        ({"multipleOf": 0.1}, 0.3, 0.35),
        ({"dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, {"b": 1}, {"a": 1}),
        ({"propertyNames": {"maxLength": 1}}, {"a": 1}, {"bb": 1}),
        ({"multipleOf": 1e-300}, 10**18, None),
        ({"minimum": 10**17 + 1}, 10**17 + 1, 10**17),
        ({"$ref": "#/$defs/a~1b%25"}, "x", 1),
    ],
)
def test_equality_and_bounds_are_exact(schema: dict[str, Any], fits: Any, fails: Any):
    schema |= {"$defs": {"a/b%": {"type": "string"}}}

    assert at_once(fault(schema, fits)) is None
    assert fails is None or at_once(fault(schema, fails)) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#name"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#/$defs/one/type/0/x"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$ref": "#/$defs/two"},
    ],
)
def test_what_has_no_end_or_refers_elsewhere_is_not_verified(schema: Any):
    two = {"allOf": [True, {"$ref": "#/$defs/two"}]}
    whole = {**schema, "$defs": {"one": {"type": ["string"]}, "two": two}}

    with pytest.raises(UnverifiableError):
        at_once(fault(whole, 1))


def test_a_value_as_deep_as_may_be_is_verified_by_a_schema_of_itself():
    inner = {"anyOf": [{"type": "integer"}, {"allOf": [{"$ref": "#/$defs/tree"}]}]}
    schema = {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "array", "items": inner}}}
    value: Any = [1]
    for _ in range(62):
        value = [value]

    assert at_once(fault(schema, value)) is None
    for _ in range(40):
        value = [value]
    with pytest.raises(UnverifiableError):
        at_once(fault(schema, value))


LONG = "x" * 200_000
NUMBERS = list(range(50_000))
BOMBS: dict[str, tuple[Schema, Any]] = {
    "references that double": (
        {
            "$ref": "#/$defs/0",
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(100)},
        },
        1,
    ),
    "a text at many schemas": ({"allOf": [{"const": LONG}] * 20_000}, LONG[:-1] + "y"),
    "a list at many schemas": ({"not": {"not": {"allOf": [{"const": NUMBERS}] * 99}}}, NUMBERS),
    "many choices": ({"items": {"enum": NUMBERS}}, NUMBERS * 5),
    "many names": ({"items": {"required": [*"ab"] * 5_000}}, [{"a": 1, "b": 1}] * 5_000),
    "many dependents": (
        {"items": {"dependentRequired": {"a": ["a"] * 50_000}}},
        [{"a": 1}] * 50_000,
    ),
    "members that are not known": (
        {"allOf": [{"properties": {}}] * 20_000},
        dict.fromkeys(map(str, NUMBERS), 1),
    ),
    "items that differ": ({"allOf": [{"uniqueItems": True}] * 2_000}, NUMBERS),
    "words of alternatives": (
        {
            "$ref": "#/$defs/0",
            "$defs": {
                **{str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}] * 3} for n in range(60)},
                "60": {"enum": [LONG] * 3},
            },
        },
        1,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_the_work_is_bounded_and_pauses(name: str):
    schema, value = BOMBS[name]
    steps = fault(schema, value)
    longest, begin = 0.0, time.process_time()
    done = None
    try:
        while done is None:
            before = time.process_time()
            done = begun(steps)
            longest = max(longest, time.process_time() - before)
    except UnverifiableError:
        pass

    # Processor time; some 0.3 s and 1 ms in the quiet.
    assert time.process_time() - begin < 3
    assert longest < 0.1
