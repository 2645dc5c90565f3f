"""User templates: ``{name}`` is replaced by a value, and nothing else ever happens.

The whole language::

    {name}      the variable's value; a name is a letter or underscore, then letters, digits,
                underscores. A name without a value is refused.
    {{name}}    the text {name} itself.

Every other brace is plain text, so JSON in a template needs no escaping. A string is put in as it
is, any other value as compact JSON. Values are never looked into: a ``{name}`` in one stays.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from schemas.problems import Problem

MAX_RENDERED_CHARACTERS = 2_000_000
"""A rendered message is at most this long; a short template could otherwise repeat a long value."""

MAX_PLACES = 20_000
"""A template has at most so many variables, each counted as often as it is used."""

MAX_NAME = 64
MAX_TOLD = 20
"""Names that a refusal lists."""

_PLACE = re.compile(r"\{\{([^\W\d]\w*)\}\}|\{([^\W\d]\w*)\}")


def render(template: str, variables: Mapping[str, Any]) -> str | Problem:
    """Fill the variables of a template in one pass, in time linear in template and result.

    Refuses with ``validation`` what has variables without a value, what would become longer than
    ``MAX_RENDERED_CHARACTERS``, what has more than ``MAX_PLACES`` variables, and values nested too
    deeply to be written as JSON.
    """
    parts, missing = list[str](), dict[str, None]()
    length = end = 0
    value_of = _texts(variables)
    try:
        for count, match in enumerate(_PLACE.finditer(template), start=1):
            if count > MAX_PLACES:
                return _too_many()
            text = _replacement(match, value_of)
            if text is None:
                missing[match[2]] = None
            parts += (template[end : match.start()], text or "")
            end = match.end()
            length += len(parts[-1]) + len(parts[-2])
            if length > MAX_RENDERED_CHARACTERS:
                return _too_long()
    except RecursionError:
        return Problem(code="validation", message="is nested too deeply", field="context")
    if missing:
        return _without_value(missing)
    if length + len(template) - end > MAX_RENDERED_CHARACTERS:
        return _too_long()
    return "".join((*parts, template[end:]))


def names(template: str) -> frozenset[str]:
    """Return the variables that a template uses."""
    return frozenset(match[2] for match in _PLACE.finditer(template) if match[2] is not None)


def _replacement(match: re.Match[str], value_of: Callable[[str], str | None]) -> str | None:
    """Return what stands in a place; None where the variable has no value."""
    literal, name = match.groups()
    return f"{{{literal}}}" if literal is not None else value_of(name)


def _texts(variables: Mapping[str, Any]) -> Callable[[str], str | None]:
    """Look up values as text, each turned into text once however often it is used."""
    texts: dict[str, str | None] = {}

    def value_of(name: str) -> str | None:
        if name not in texts:
            texts[name] = _text(variables[name]) if name in variables else None
        return texts[name]

    return value_of


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _without_value(missing: Iterable[str]) -> Problem:
    told = [name[:MAX_NAME] for name in missing]
    more = ", …" if len(told) > MAX_TOLD else ""
    return Problem(
        code="validation",
        message=f"the template needs {', '.join(told[:MAX_TOLD])}{more}: give each in the context, "
        "or write {{name}} for the text {name}",
        field="context",
    )


def _too_many() -> Problem:
    return Problem(
        code="validation",
        message=f"the template uses variables more than {MAX_PLACES:,} times",
        field="prompts.user_template",
    )


def _too_long() -> Problem:
    return Problem(
        code="validation",
        message=f"the rendered prompt is longer than {MAX_RENDERED_CHARACTERS:,} characters",
        field="task",
    )
