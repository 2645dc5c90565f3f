"""Whether a JSON Schema is one: what each keyword is set to, and where references lead. Pure.

The standard's own description of schemas (its meta-schema) is checked as any other schema is.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from schemas.json_keywords import TYPES
from schemas.json_schema import (
    MAX_CHECKS,
    Fault,
    Schema,
    SchemaCheck,
    UnverifiableError,
    fault,
    referred,
)
from schemas.steps import Steps

_SCHEMA: Schema = {"$ref": "#"}
_SCHEMAS: Schema = {"type": "array", "items": _SCHEMA, "minItems": 1}
_NAMED: Schema = {"type": "object", "additionalProperties": _SCHEMA}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_FLAG: Schema = {"type": "boolean"}
_TYPE: Schema = {"enum": list(TYPES)}

_ONE = ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_BY_NAME = ("properties", "dependentSchemas", "$defs", "definitions")

KEYWORDS: Mapping[str, Schema] = {
    "type": {"anyOf": [_TYPE, {"type": "array", "items": _TYPE, "minItems": 1}]},
    "enum": {"type": "array"},
    "const": True,
    **dict.fromkeys(_BY_NAME, _NAMED),
    "required": _TEXTS,
    "dependentRequired": {"type": "object", "additionalProperties": _TEXTS},
    **dict.fromkeys(_ONE, _SCHEMA),
    **dict.fromkeys(_SEVERAL, _SCHEMAS),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    "multipleOf": {"type": "number", "exclusiveMinimum": 0},
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties", "minContains", "maxContains"), _COUNT),
    "uniqueItems": _FLAG,
    "$ref": _TEXT,
    # What follows says something to readers alone.
    "default": True,
    "examples": {"type": "array"},
    **dict.fromkeys(("title", "description", "format", "$comment", "$schema", "$id"), _TEXT),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly"), _FLAG),
}
"""What each keyword that is looked at may be set to."""

_ANY_SCHEMA: Schema = {"type": ["object", "boolean"], "properties": KEYWORDS}
_OWN_SCHEMA: Schema = {**_ANY_SCHEMA, "additionalProperties": False}


def schema_fault(schema: Any, *, own: bool, checks: int = MAX_CHECKS) -> Steps[Fault | None]:
    """Return the first reason why a schema cannot be used, None if it can.

    ``own``: it is written for us. Then every keyword must have an effect here, and each default
    must fit. A schema of somebody else's may hold what says nothing here. A schema that needs more
    than ``checks`` units of work (``schemas.json_schema``) is refused.
    """
    try:
        wanted = _OWN_SCHEMA if own else _ANY_SCHEMA
        found = yield from fault(wanted, schema, checks=checks, foreign=True)
        return found or (yield from _inner_fault(schema, checks, own=own))
    except UnverifiableError as error:
        return Fault("", f"{error}")


def _inner_fault(document: Any, checks: int, *, own: bool) -> Steps[Fault | None]:
    check = SchemaCheck(document, checks, foreign=True)
    for path, schema in _schemas(document, ""):
        yield
        if "$ref" in schema:
            try:
                referred(document, schema["$ref"])
            except UnverifiableError as error:
                return Fault(f"{path}$ref", str(error))
        if own and "default" in schema:
            for found in (yield from check.faults(schema, schema["default"], 1)):
                place = f"{path}default.{found.path}".removesuffix(".")
                return Fault(place, found.message)
    return None


def _schemas(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each schema within a well-formed one, itself first, with what its paths begin with."""
    if not isinstance(schema, dict):
        return
    known = cast("dict[str, Any]", schema)
    yield path, known
    for keyword, wanted in known.items():
        for name, inner in _inner(keyword, wanted):
            yield from _schemas(inner, f"{path}{name}.")


def _inner(keyword: str, wanted: Any) -> Iterator[tuple[str, Any]]:
    if keyword in _ONE:
        yield keyword, wanted
    elif keyword in _SEVERAL:
        yield from ((f"{keyword}.{place}", one) for place, one in enumerate(wanted))
    elif keyword in _BY_NAME:
        yield from ((f"{keyword}.{name[:64]}", one) for name, one in wanted.items())
