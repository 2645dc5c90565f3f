"""Keeps secrets, prompts and completions out of log lines, whoever wrote the line. Pure.

Fields are judged by name: what is named like a secret or like a text is dropped. Other texts are
scrubbed of what looks like a key and cut short; objects are reduced to the name of their type.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, cast

LONGEST = 1000
"""Characters of a text that a log line may hold."""

MOST_ITEMS = 20
"""Items of a list, and fields of a mapping inside a line, that are written."""

DEEPEST = 3
"""Levels of mappings and lists inside a line that are written."""

_HARMLESS = frozenset({int, float, bool, type(None)})
_NO_TEXT = frozenset({bool, type(None)})

SHORTEST_KEY = 10
"""Characters below which a text cannot hold what looks like a key."""

_SECRET = re.compile(
    r"(?:^|_)(?:api_?keys?|(?:access|private|secret|signing)_keys?|secrets?|token|password|passwd"
    r"|authorization|auth|bearer|credentials?|creds|cookies?|jwt|nkey)$"
)
_TEXTS = frozenset(
    {
        "answer",
        "arguments",
        "body",
        "chunk",
        "completion",
        "content",
        "context",
        "data",
        "delta",
        "document",
        "final_response",
        "headers",
        "history",
        "input",
        "instructions",
        "message",
        "messages",
        "metadata",
        "output",
        "payload",
        "prompt",
        "prompts",
        "reasoning",
        "request",
        "response",
        "result",
        "system",
        "system_prompt",
        "task",
        "text",
        "tool_calls",
        "url_query",
        "user_prompt",
        "user_template",
        "variables",
    }
)
_KEYS = re.compile(
    r"(?P<scheme>\b(?:[Bb]earer|Basic)\s+)[-_.~+/=A-Za-z0-9]{8,}"
    r"|(?P<user>(?<=//)[^/\s]+@)"
    r"|\b(?:sk|pk|rk|gsk|xai|ghp)[-_][-_A-Za-z0-9]{8,}"
    r"|\bAKIA[A-Z0-9]{12,}|\bAIza[-_A-Za-z0-9]{20,}"
    r"|\bS[UAONCX][A-Z2-7]{40,}"
    r"|\beyJ[-_A-Za-z0-9]{8,}\.[-_.A-Za-z0-9]+"
)
_MARKS = re.compile(r"earer|asic|//|k[-_]|xai|ghp|A(?:KIA|Iza)|eyJ|S[UAONCX]").search
"""What looks like a key has one of these in it: to look for them costs a tenth of the pattern."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def redact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that may be written, in a form that may be written."""
    return _mapping(fields, depth=0)


def _mapping(fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in islice(fields.items(), MOST_ITEMS if depth else None):
        kind, name = value.__class__, str(key)
        # Each execution is a line: what needs no look goes first.
        if kind in _HARMLESS:
            if _sort_of(name) != "secret" or kind in _NO_TEXT:
                kept[name] = value
        elif kind is str:
            if _sort_of(name) == "plain":
                kept[name] = scrub(value)
        elif not _is_dropped(name, value):
            kept[name] = _value(value, depth)
    return kept


def _is_dropped(name: str, value: Any) -> bool:
    """Judge a field by its name; a number or a flag is not a text, whatever its name."""
    sort = _sort_of(name)
    if sort == "plain" or isinstance(value, bool | None):
        return False
    return sort == "secret" or not isinstance(value, int | float)


@lru_cache(maxsize=1024)
def _sort_of(name: str) -> Literal["plain", "text", "secret"]:
    words = _CAMEL.sub("_", name).lower().replace("-", "_")
    if _SECRET.search(words):
        return "secret"
    return "text" if words in _TEXTS else "plain"


def _value(value: Any, depth: int) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return scrub(value)
        case datetime():
            return value.isoformat()
        case Mapping() if depth < DEEPEST:
            return _mapping(cast("Mapping[Any, Any]", value), depth + 1)
        case list() | tuple() | set() | frozenset() if depth < DEEPEST:
            items = islice(cast("Iterable[Any]", value), MOST_ITEMS)
            return [_value(item, depth + 1) for item in items]
        case _:
            return f"<{type(value).__name__}>"


def scrub(text: str) -> str:
    """Return a text cut short, with what looks like a key replaced."""
    if len(text) < SHORTEST_KEY:
        return text
    # Cut after masking, or half a key could remain at the end.
    masked = text[: 2 * LONGEST]
    if _MARKS(masked):
        masked = _KEYS.sub(_mask, masked)
    return masked if len(masked) <= LONGEST else f"{masked[:LONGEST]}…"


def _mask(match: re.Match[str]) -> str:
    return f"{match['scheme'] or ''}***{'@' if match['user'] else ''}"
