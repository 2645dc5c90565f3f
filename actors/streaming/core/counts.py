"""Reading token counts from a provider's usage, however it is spelt. What is no count is 0."""

from collections.abc import Mapping
from typing import Any, cast

_TOO_MANY = 2**53


def at(raw: Mapping[str, Any] | None, *path: str) -> int:
    """Return the count at the end of a path of names, 0 where there is none."""
    value: Any = raw
    for name in path:
        value = members(value).get(name)
    is_count = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_count and 0 < value < _TOO_MANY else 0


def members(value: object) -> dict[str, Any]:
    """Return a JSON object as it is, and nothing of any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return a JSON array as it is, and nothing of any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []
