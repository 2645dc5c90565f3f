"""A rule of the table: one thing that models refuse. And the ways to say what is accepted."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.llm import JsonSchemaFormat, ModelConfig
from schemas.providers import Provider

Accepts = Callable[[Any, ModelConfig], bool]


class CapabilityRule(NamedTuple):
    """One thing that models refuse: a value of ``setting`` that ``accepts`` does not.

    Unset settings are always accepted. ``reason`` completes the sentence "this model …". ``api``
    limits the rule to one of a provider's interfaces, ``beside_tools`` to calls that have tools.
    ``when`` limits it to providers that are so configured.
    ``nearest`` is the value to send instead, where one is close enough; None leaves the setting
    out.
    """

    models: re.Pattern[str]
    setting: str
    accepts: Accepts
    reason: str
    api: str | None = None
    nearest: Callable[[Any], Any] | None = None
    beside_tools: bool = False
    when: Callable[[Provider], bool] | None = None


def models(pattern: str) -> re.Pattern[str]:
    """Match models by how their names begin, behind the prefixes of tuners and resellers."""
    return re.compile(rf"(?:^(?:ft:)?|[/.])(?:{pattern})")


ANY = models("")


def never(_value: Any, _config: ModelConfig) -> bool:
    """Accept no value."""
    return False


def only(*values: Any) -> Accepts:
    """Accept these values."""
    return lambda value, _config: value in values


def at_most(limit: float) -> Accepts:
    """Accept values up to a limit."""
    return lambda value, _config: value <= limit


def at_least(limit: float) -> Accepts:
    """Accept values from a limit on."""
    return lambda value, _config: value >= limit


def up_to(count: int) -> Accepts:
    """Accept so many items."""
    return lambda items, _config: len(items) <= count


def other_than(refused: object) -> Accepts:
    """Accept every value but one."""
    return lambda value, _config: value != refused


def always(value: Any) -> Callable[[Any], Any]:
    """Send this value instead."""
    return lambda _value: value


def allowed(value: Any, _config: ModelConfig) -> bool:
    """Accept only yes."""
    return bool(value)


def with_schema(value: Any, _config: ModelConfig) -> bool:
    """Accept a format only with its schema."""
    return isinstance(value, JsonSchemaFormat)
