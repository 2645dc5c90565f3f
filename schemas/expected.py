"""What a field may hold, in words: for refusals, which msgspec writes without the choices. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

from msgspec import inspect

MAX_CHOICES = 40
"""Choices that a refusal lists: more are told by the guide."""

_STEP = re.compile(r"\.?([^.\[\]]+)|\[[^\]]*\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_PATTERN = "matching regex"
_CHOICE = ("Invalid enum value", "Invalid value", "Object missing required field")


def told(kind: Any, what: str, path: str) -> str:
    """Return a refusal ``what`` at ``path`` (as ``$.a.b[0].c``) with what would be accepted.

    Choices are listed, unknown fields are told beside the known ones, and of a pattern its
    description is given in its place.
    """
    unknown = _UNKNOWN.match(what)
    if unknown is not None:
        return f"{what}{_known_fields(kind, path, unknown['name'])}"
    if _PATTERN in what:
        described = list(dict.fromkeys(words for _, words in _at(kind, path) if words))
        return f"must be {' or '.join(described)}" if described else "has another form"
    if what.startswith(_CHOICE):
        missing = _MISSING.match(what)
        place = f"{path}.{missing['name']}" if missing else path
        choices = list(dict.fromkeys(_choices(_at(kind, place))))
        return f"{what}: must be {_listed(choices)}" if choices else what
    return what


def _listed(choices: Sequence[str]) -> str:
    more = ["…"] if len(choices) > MAX_CHOICES else []
    return f"one of {', '.join([*choices[:MAX_CHOICES], *more])}" if choices[1:] else choices[0]


def _known_fields(kind: Any, path: str, name: str) -> str:
    structs = [info for info, _ in _at(kind, path) if isinstance(info, inspect.StructType)]
    known = list(dict.fromkeys(each.encode_name for info in structs for each in info.fields))
    near = get_close_matches(name[:100], known, n=1)
    if near:
        return f": is {near[0]} meant?"
    return f": there are {', '.join(known[:MAX_CHOICES])}" if known else ""


Found = tuple[inspect.Type, str]
"""A type that a field may have, and what it is described as."""


def _at(kind: Any, path: str) -> list[Found]:
    """Return the types that may stand at a path: several where there is a union on the way."""
    found = list(_plain(_info(kind), ""))
    for step in _STEP.finditer(path.removeprefix("$")):
        found = [one for info, _ in found for one in _inside(info, step[1])]
    return found


@cache
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _plain(info: inspect.Type, described: str) -> Iterator[Found]:
    """Yield a type without its annotations, or all members of a union."""
    match info:
        case inspect.Metadata():
            more = cast("dict[str, Any]", cast("Any", info).extra_json_schema or {})
            yield from _plain(info.type, str(more.get("description", described)))
        case inspect.UnionType(types=types):
            for each in types:
                yield from _plain(each, described)
        case _:
            yield info, described


def _inside(info: inspect.Type, name: str | None) -> Iterator[Found]:
    """Yield what may stand in a field of a type, or, without a name, in a place of a list."""
    match info:
        case inspect.StructType() if name is not None:
            inner = [each.type for each in info.fields if each.encode_name == name]
            if info.tag_field == name:
                inner.append(inspect.LiteralType((info.tag,)))
        case inspect.DictType():
            inner = [info.value_type, info.key_type]
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            inner = [info.item_type]
        case _:
            inner = []
    for each in inner:
        yield from _plain(each, "")


def _choices(found: Iterable[Found]) -> Iterator[str]:
    for info, _ in found:
        match info:
            case inspect.LiteralType(values=values):
                yield from map(str, values)
            case inspect.EnumType():
                yield from (str(each.value) for each in info.cls)
            case _:
                pass
