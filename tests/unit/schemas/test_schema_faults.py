from typing import Any

import pytest

from schemas.schema_faults import KEYWORDS, schema_fault
from schemas.steps import at_once


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ([], ""),
        ({"type": "text"}, "type"),
        ({"type": []}, "type"),
        ({"enum": {}}, "enum"),
        ({"pattern": "(a+)+b"}, "pattern"),
        ({"$ref": "#/a"}, "$ref"),
        ({"anyOf": [{"not": {"$ref": "other.json"}}]}, "anyOf.0.not.$ref"),
        ({"anyOf": []}, "anyOf"),
        ({"$defs": {"a": {"multipleOf": 0}}}, "$defs.a.multipleOf"),
        ({"items": {"minimum": "1"}}, "items.minimum"),
        ({"properties": {"a": {"maxLength": -1}}}, "properties.a.maxLength"),
        ({"properties": {"a": 1}}, "properties.a"),
        ({"properties": 1}, "properties"),
        ({"required": ["a", 1]}, "required.1"),
        ({"type": "integer", "default": "one"}, "default"),
    ],
)
def test_a_schema_that_would_be_without_effect_is_refused(schema: Any, path: str):
    found = at_once(schema_fault(schema, own=True))

    assert found is not None
    assert found.path == path


def test_a_schema_of_somebody_else_may_hold_what_says_nothing_here():
    theirs = {"type": "string", "pattern": "^a+$", "x-order": 1, "$defs": {"a": {"format": "uri"}}}

    assert at_once(schema_fault(theirs, own=False)) is None
    assert at_once(schema_fault({"items": theirs}, own=True)) == (
        "items.pattern",
        f"is not allowed; allowed: {', '.join(KEYWORDS)}",
    )


def test_a_default_fits_its_schema_also_through_references():
    schema = {
        "$defs": {"mark": {"maximum": 6}},
        "properties": {"marks": {"items": {"$ref": "#/$defs/mark"}, "default": [1, 7]}},
    }

    assert at_once(schema_fault(schema, own=False)) is None
    assert at_once(schema_fault(schema, own=True)) == (
        "properties.marks.default.1",
        "must be at most 6",
    )


def test_a_schema_that_asks_for_too_much_work_is_refused():
    tree = {"$defs": {str(n): {"type": "integer"} for n in range(1000)}}

    assert at_once(schema_fault(tree, own=True)) is None
    assert at_once(schema_fault(tree, own=True, checks=1000)) is not None
