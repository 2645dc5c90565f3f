"""Reading token counts from a provider's usage, however it is spelt. What is no count is 0."""

from collections.abc import Mapping
from typing import Any, cast

from schemas.usage import Quality

_TOO_MANY = 2**53


def at(raw: Mapping[str, Any] | None, *path: str) -> int:
    """Return the count at the end of a path of names, 0 where there is none."""
    value: Any = raw
    for name in path:
        value = members(value).get(name)
    return int(value) if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _TOO_MANY


def told(raw: Mapping[str, Any], prompt: str, output: str, quality: Quality) -> bool:
    """Whether the counts under these names are there; before the end that of the prompt suffices.

    A zero is a count. Null, text or nothing is none.
    """
    return _is_count(raw.get(prompt)) and (quality != "exact" or _is_count(raw.get(output)))


def members(value: object) -> dict[str, Any]:
    """Return a JSON object as it is, and nothing of any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return a JSON array as it is, and nothing of any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []
