"""The fields of a request as parameters of a command, from its class. Pure."""

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, DecimalException
from functools import cache
from inspect import cleandoc
from typing import Any, cast

import click
import msgspec
from msgspec import inspect

from schemas import bounds
from schemas.base import Request
from schemas.ids import TOKEN_PATTERN

PICO = 10**12
MONEY = "_pico"
"""How a field ends that holds an amount in pico-dollars."""

TAKEN = ("--json", "--only", "--submit", "--help")
"""Options that every request has."""

_DROPPED = re.compile(f"(_id|{MONEY})$")
_SENTENCE = re.compile(r"(?<=[.;])\s+")


class DollarsParam(click.ParamType[int]):
    """An amount in dollars, such as 12.50, as pico-dollars."""

    name = "DOLLARS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the amount; one that is none, or has a part of a pico-dollar, ends the command."""
        try:
            amount = Decimal(value) * PICO
            is_whole = abs(amount) < bounds.MAX_INTEGER and amount == int(amount)
        except (DecimalException, ValueError, OverflowError):
            is_whole = False
        if not is_whole:
            self.fail(f"{value!r} is no amount of dollars", param, ctx)
        return int(Decimal(value) * PICO)


class Written(click.ParamType[str]):
    """A text of a certain form, which its class describes."""

    name = "TEXT"

    def __init__(self, pattern: str, described: str) -> None:
        self._pattern, self._described = re.compile(pattern), described

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the text as it is; another form ends the command with the one that is wanted."""
        if not self._pattern.search(value):
            self.fail(f"{value!r} is not {self._described}", param, ctx)
        return value


class Json(click.ParamType[Any]):
    """A value with parts of its own, such as a provider: JSON. ``or_text`` takes a text as well."""

    def __init__(self, *, or_text: bool = False) -> None:
        self.name = "TEXT|JSON" if or_text else "JSON"
        self._or_text = or_text

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value; a text that is no JSON ends the command, unless texts are taken."""
        try:
            return bounds.decode(value, type=Any)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            if self._or_text:
                return value
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)


@cache
def fields_of(kind: type[Request]) -> tuple[inspect.Field, ...]:
    """Return the fields of a request with their types."""
    info = inspect.type_info(kind)
    return info.fields if isinstance(info, inspect.StructType) else ()


def positional(kind: type[Request]) -> tuple[str, ...]:
    """Return the fields that say what a request is about: the ids that it must have."""
    ids = tuple(each.name for each in fields_of(kind) if each.required and _is_token(each.type))
    return tuple(name for name in ids if name != own_id(kind))


def own_id(kind: type[Request]) -> str | None:
    """Return the field of the request's own id, by which a repeat is known.

    It must have one, and names what it is about by another one.
    """
    ids = [each.name for each in fields_of(kind) if each.required and _is_token(each.type)]
    return "id" if "id" in ids and len(ids) > 1 else None


def options(kind: type[Request]) -> Iterator[click.Option]:
    """Yield an option for each field that is not positional."""
    names = option_names(kind)
    for each in fields_of(kind):
        if each.name in names:
            yield _option(kind, each, names[each.name])


def _option(kind: type[Request], field: inspect.Field, name: str) -> click.Option:
    info, described = _plain(field.type)
    is_list = isinstance(info, inspect.ListType)
    inner, more = _plain(info.item_type) if isinstance(info, inspect.ListType) else (info, "")
    is_flag = isinstance(inner, inspect.BoolType) and not is_list
    return click.Option(
        [f"{name}/--no-{name[2:]}" if is_flag else name, field.name],
        type=None if is_flag else _type(field.name, inner, described or more),
        multiple=is_list,
        default=None,
        help=_help(kind, field, described or more),
    )


def option_names(kind: type[Request]) -> dict[str, str]:
    """Return the options of the fields that are not positional, each with a name of its own.

    ``thresholds`` is ``--threshold`` and ``limit_pico`` is ``--limit``, unless another option has
    that name: then the field's whole name follows ``--field``.
    """
    about = positional(kind)
    short = {each.name: _short_name(each) for each in fields_of(kind) if each.name not in about}
    often = Counter([*short.values(), *TAKEN])
    whole = {name: f"--field-{name.replace('_', '-')}" for name in short}
    return {name: one if often[one] == 1 else whole[name] for name, one in short.items()}


def _short_name(field: inspect.Field) -> str:
    name = _DROPPED.sub("", field.name) or field.name
    if isinstance(_plain(field.type)[0], inspect.ListType):
        name = re.sub(r"ies$", "y", name) if name.endswith("ies") else name.removesuffix("s")
    return f"--{name.replace('_', '-')}"


def _help(kind: type[Request], field: inspect.Field, described: str) -> str:
    own = "Its own id, by which a repeat is known.  [made anew]"
    words = own if field.name == own_id(kind) else _said_of(kind, field.name) or described
    usual = field.default
    if field.required and field.name != own_id(kind):
        return f"{words}  [required]".strip()
    shown = usual if isinstance(usual, str | int | float) and usual != "" else None
    return f"{words}  [default: {shown}]".strip() if shown is not None else words


def _said_of(kind: type[Request], field: str) -> str:
    """Return the sentence of a class's docstring that names a field."""
    text = " ".join(cleandoc(kind.__doc__ or "").split())
    found = (each for each in _SENTENCE.split(text) if f"``{field}``" in each)
    return next(found, "").replace("``", "").rstrip(".;")


def _plain(info: inspect.Type) -> tuple[inspect.Type, str]:
    """Return a type without what may stand in its place, and what it is described as."""
    described = ""
    while True:
        match info:
            case inspect.Metadata():
                more = cast("dict[str, Any]", cast("Any", info).extra_json_schema or {})
                info, described = info.type, str(more.get("description", ""))
            case inspect.UnionType(types=types):
                kept = [each for each in types if not isinstance(each, inspect.NoneType)]
                if len(kept) != 1:
                    return info, described
                info = kept[0]
            case _:
                return info, described


def _is_token(info: inspect.Type) -> bool:
    plain, _ = _plain(info)
    return isinstance(plain, inspect.StrType) and plain.pattern == TOKEN_PATTERN


def _type(field: str, info: inspect.Type, described: str) -> click.ParamType[Any]:
    match info:
        case inspect.StrType(pattern=str() as pattern) if described:
            return Written(pattern, described)
        case inspect.IntType() if field.endswith(MONEY):
            return DollarsParam()
        case inspect.IntType(ge=least, le=most):
            return click.IntRange(least, most) if (least, most) != (None, None) else click.INT
        case inspect.FloatType(ge=least, le=most):
            return click.FloatRange(least, most) if (least, most) != (None, None) else click.FLOAT
        case inspect.StrType() | inspect.DateTimeType():
            return click.STRING
        case _:
            choices = _choices(info)
            return click.Choice(choices) if choices else Json(or_text=_may_be_text(info))


def _may_be_text(info: inspect.Type) -> bool:
    types = info.types if isinstance(info, inspect.UnionType) else ()
    return any(isinstance(_plain(each)[0], inspect.StrType) for each in types)


def _choices(info: inspect.Type) -> tuple[str, ...]:
    """Return the words of which a value is one, none where it may be something else."""
    match info:
        case inspect.LiteralType(values=values) if all(isinstance(one, str) for one in values):
            return tuple(map(str, values))
        case inspect.UnionType(types=types):
            words = [_choices(each) for each in types]
            return tuple(one for some in words for one in some) if all(words) else ()
        case _:
            return ()
