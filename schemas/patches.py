"""Merge patches (RFC 7396) of what is stored, and refusals of what they come to. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from schemas.malformed import refusal
from schemas.problems import Problem

T = TypeVar("T")

Patch = Annotated[
    dict[str, Any],
    msgspec.Meta(description="A merge patch (RFC 7396): null takes a member back to its default"),
]

VARIANT = "type"
"""The member that says which of several types an object is of."""


def merged(target: Any, patch: Any, *, variants: bool = True) -> Any:
    """Return a JSON value with a patch laid over it; neither is changed.

    With ``variants`` an object of another ``type`` replaces the one that stands: the address and
    the secret of one provider must not become those of another.
    """
    if not isinstance(patch, dict):
        return patch
    over = cast("dict[str, Any]", patch)
    under: Mapping[str, Any] = cast("dict[str, Any]", target) if isinstance(target, dict) else {}
    if variants and VARIANT in over and over[VARIANT] != under.get(VARIANT):
        under = {}
    left = {name: value for name, value in under.items() if name not in over}
    given = {
        name: merged(under.get(name), value, variants=variants)
        for name, value in over.items()
        if value is not None
    }
    return left | given


def patched(
    kind: type[Struct], name: str, standing: Any, patch: Any, *, variants: bool = True
) -> Any | Problem:
    """Return what a field of ``kind`` comes to with a patch laid over it, or what is wrong with it.

    ``standing`` is what it holds; with UNSET the patch is the whole value. A patch of None takes
    the field back to its default.
    """
    field = next(each for each in fields(kind) if each.name == name)
    if standing is msgspec.UNSET:
        return converted(field.type, patch, name)
    if patch is None:
        usual = field.default_factory
        return field.default if usual is msgspec.NODEFAULT else usual()
    outcome = merged(msgspec.to_builtins(standing), patch, variants=variants)
    return converted(field.type, outcome, name)


def converted(kind: type[T], value: Any, field: str = "") -> T | Problem:
    """Turn a JSON value within the bounds into ``kind``, or say what is wrong with it."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return refusal(str(error), field)
