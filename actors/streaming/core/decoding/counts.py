"""Reading token counts from a provider's usage, however it is spelt. What is no count is 0."""

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

_TOO_MANY = 2**25
"""No call has so many tokens: three times the longest window, read over by tools of a server's."""


def at(raw: Mapping[str, Any] | None, *path: str) -> int:
    """Return the count at the end of a path of names, 0 where there is none."""
    value = _found(raw, path)
    return int(value) if is_count(value) else 0


def is_garbled(raw: Mapping[str, Any] | None, *path: str) -> bool:
    """Say whether something else than a count, or nothing, stands where a count belongs."""
    value = _found(raw, path)
    return value is not None and not is_count(value)


def is_count(value: Any) -> TypeGuard[int | float]:
    """Say whether a value is a count: whole, not negative, and no more than can be.

    A zero is a count. Null, text or nothing is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _TOO_MANY and value == int(value)


def _found(raw: Mapping[str, Any] | None, path: tuple[str, ...]) -> Any:
    value: Any = raw
    for name in path:
        value = members(value).get(name)
    return value


def members(value: object) -> dict[str, Any]:
    """Return a JSON object as it is, and nothing of any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return a JSON array as it is, and nothing of any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []
