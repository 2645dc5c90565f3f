"""The tables of all settings and constants, for the README and the command line."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bus.config import timing
from bus.config.settings import FIELDS, URLS, Field
from schemas.provider_specs import SPECS

BEGIN, END = "<!-- config:begin -->", "<!-- config:end -->"
"""What the README's copy of the reference stands between."""


class Setting(NamedTuple):
    """One row of the reference: a variable, its default as it would be written, and its meaning."""

    name: str
    default: str
    doc: str


def read_at_use() -> Iterator[Setting]:
    """Yield the secrets that no configuration object ever holds: ``bus.secrets`` reads them."""
    when = "read where and when a request is sent"
    for spec in SPECS:
        for secret in spec.secrets:
            yield Setting(secret.variable, "", f"the secret `{secret.name}`{secret.doc}; {when}")
            when = "likewise"


def settings() -> tuple[Setting, ...]:
    """Return every variable the system reads, in the order of the reference."""
    return (*map(_setting, (*FIELDS, *URLS)), *read_at_use())


def reference() -> str:
    """Return the table of all settings in Markdown."""
    rows = [(f"`{name}`", f"`{value}`" if value else "", doc) for name, value, doc in settings()]
    return _table(("variable", "default", "meaning"), rows)


def constants() -> str:
    """Return the table of all times and bounds in Markdown."""
    rows = [(f"`{name}`", f"{value:,}", reason) for name, value, reason in timing.rows()]
    return _table(("constant", "value", "reason"), rows)


def readme_block() -> str:
    """Return the reference as it stands in the README, markers included."""
    return f"{BEGIN}\n{reference()}{END}"


def _table(titles: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _setting(field: Field) -> Setting:
    default = ",".join(field.default) if field.several else _written(field.default)
    return Setting(field.env, default, field.doc)


def _written(default: Any) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)
