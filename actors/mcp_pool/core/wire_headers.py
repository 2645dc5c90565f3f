"""What a request of the revision 2026-07-28 repeats of itself in HTTP headers (SEP-2243).

``Mcp-Method``, ``Mcp-Name``, and an ``Mcp-Param-*`` for each argument that the tool's schema marks
with ``x-mcp-header``. Values that a header cannot carry are in base64 between ``=?base64?`` and
``?=``.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

Path = tuple[str, ...]

MARK = "x-mcp-header"
PREFIX = "Mcp-Param-"

NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which parameter of a request ``Mcp-Name`` repeats."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_ENCODED = re.compile(r"=\?base64\?.*\?=")
_KINDS = ("string", "integer", "boolean")
_ONE = (
    "items",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
)
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("patternProperties", "dependentSchemas", "$defs", "definitions")


class InvalidMarkError(ValueError):
    """A schema marks an argument in a way that the protocol forbids: the tool is left out."""


class Marked(NamedTuple):
    """A place of a schema that is marked. ``path`` is None where no argument has it for sure."""

    path: Path | None
    schema: Mapping[str, Any]


def encoded(value: str) -> str:
    """Return a text as a header's value."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{b64encode(value.encode()).decode()}?="


def routing(method: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that tell intermediaries what a request is about."""
    headers = {"Mcp-Method": method}
    name = params.get(NAMED_BY.get(method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = _name(name)
    return headers


_name = lru_cache(maxsize=1024)(encoded)
"""The same for names, which recur; arguments do not."""


def marks(schema: Any) -> dict[Path, str]:
    """Return which arguments go into which headers, by their paths.

    Raises:
        InvalidMarkError: a mark is where it may not be, is no token, or stands twice.
    """
    found: dict[Path, str] = {}
    for path, marked in _marked(schema):
        name = marked[MARK]
        if not path:
            raise InvalidMarkError(f"{MARK} stands where no argument is for sure")
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidMarkError(f"{MARK} is no name of a header")
        if marked.get("type") not in _KINDS:
            raise InvalidMarkError(f"{MARK} stands at a value that is neither text, integer, bool")
        if name.lower() in {other.lower() for other in found.values()}:
            raise InvalidMarkError(f"{MARK} names a header twice")
        found[path] = name
    return found


def parameters(marked: Mapping[Path, str], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers for the arguments of a call; what is absent or null has none."""
    headers: dict[str, str] = {}
    for path, name in marked.items():
        value = _at(arguments, path)
        if isinstance(value, bool):
            headers[PREFIX + name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            headers[PREFIX + name] = encoded(str(value))
    return headers


def _at(arguments: Any, path: Path) -> Any:
    for step in path:
        if not isinstance(arguments, dict):
            return None
        arguments = cast("dict[str, Any]", arguments).get(step)
    return arguments


def _marked(root: Any) -> Iterator[Marked]:
    """Yield the marked places of a schema. Data such as a default is none, nor is a reference."""
    pending: list[tuple[Path | None, Any]] = [((), root)]
    while pending:
        path, each = pending.pop()
        if not isinstance(each, dict):
            continue
        schema = cast("dict[str, Any]", each)
        if MARK in schema:
            yield Marked(path, schema)
        for word, inner in schema.items():
            pending += _within(path, word, inner)


def _within(path: Path | None, word: str, inner: Any) -> list[tuple[Path | None, Any]]:
    if isinstance(inner, dict):
        fields = cast("dict[str, Any]", inner)
        if word == "properties":
            return [
                (None if path is None else (*path, name), each) for name, each in fields.items()
            ]
        if word in _NAMED:
            return [(None, each) for each in fields.values()]
    if isinstance(inner, list) and word in _LISTED:
        return [(None, each) for each in cast("list[Any]", inner)]
    return [(None, inner)] if word in _ONE else []
