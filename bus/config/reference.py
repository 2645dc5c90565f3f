"""The tables of all settings and constants, for the guide and the command line."""

from collections.abc import Iterable
from typing import Any, cast

from bus.config import timing
from bus.config.reading import Settings, Variable, variables
from bus.config.settings import Config

BEGIN, END = "<!-- config:begin -->", "<!-- config:end -->"
"""What the guide's copy of the reference stands between."""


def settings(kinds: Iterable[type[Settings]]) -> tuple[Variable, ...]:
    """Return every variable these are read from, those of all processes first, each once.

    Raises:
        ValueError: two declare one variable, and differ.
    """
    found: dict[str, Variable] = {}
    for kind in (Config, *kinds):
        for each in (*variables(kind), *kind.AT_USE):
            if found.setdefault(each.name, each) != each:
                raise ValueError(f"{each.name} has two meanings")
    return tuple(found.values())


def reference(kinds: Iterable[type[Settings]]) -> str:
    """Return the table of all settings in Markdown."""
    rows = ((each.name, _written(each.default), each.meaning) for each in settings(kinds))
    return _table(
        ("variable", "default", "meaning"),
        [(f"`{name}`", f"`{value}`" if value else "", meaning) for name, value, meaning in rows],
    )


def constants() -> str:
    """Return the table of all times and bounds in Markdown."""
    rows = [(f"`{name}`", f"{value:,}", reason) for name, value, reason in timing.rows()]
    return _table(("constant", "value", "reason"), rows)


def readme_block(kinds: Iterable[type[Settings]]) -> str:
    """Return the reference as it stands in the guide, markers included."""
    return f"{BEGIN}\n{reference(kinds)}{END}"


def _table(titles: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _written(default: Any) -> str:
    """Return a default as it would be set."""
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case tuple():
            return ",".join(cast("tuple[str, ...]", default))
        case _:
            return str(default)
