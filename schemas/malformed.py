"""What the decoder says of input that it refuses, as a problem that names the field. Pure."""

import re
from typing import Any

from schemas.expected import told
from schemas.problems import Problem

MAX_TEXT = 400
"""Characters of a refusal: the longest of our patterns and lists of choices fit."""

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED_FIELD = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


def refusal(text: str, within: str = "", *, kind: Any = None) -> Problem:
    """Return the problem that an error of msgspec tells of, ``within`` a field of the request.

    Of a known ``kind`` the choices are told that there were.
    """
    match = _PLACE.match(text)
    what = match["what"] if match else text
    place = (match["path"] or "") if match else ""
    path = place.removeprefix("$").lstrip(".")
    named = _NAMED_FIELD.search(what)
    field = ".".join(part for part in (within, path, named["name"] if named else "") if part)
    message = what if kind is None else told(kind, what, place)
    return Problem(code="validation", message=_short(message), field=_short(field) or None)


def _short(text: str) -> str:
    """Cut off what repeats an endless value or name of the sender's."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
