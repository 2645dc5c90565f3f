"""Reads a Struct of settings from the environment, by what its fields declare.

A field is annotated with ``schemas.settings.env`` or ``env_each``, or is itself such a Struct. An
empty variable counts as unset.
"""

import difflib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from bus.errors import ConfigError
from schemas.base import FrozenMeta
from schemas.settings import ENV

OWN_PREFIX = "CALLBOARD_"
MODULE = "config"
"""In the module of this name an actor declares its settings."""


class Variable(NamedTuple):
    """One variable, as the reference lists it, and the type of its value.

    ``key`` is its place in a ``dict`` that several variables fill.
    """

    name: str
    meaning: str
    kind: Any = str
    default: Any = None
    key: str | None = None


class Settings(msgspec.Struct, metaclass=FrozenMeta):
    """What a process reads from its environment.

    ``AT_USE`` are variables whose values no object holds, such as keys: they are read when used.
    """

    AT_USE: ClassVar[Sequence[Variable]] = ()


S = TypeVar("S", bound=Settings)


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """Read what ``kind`` declares.

    Raises:
        ConfigError: a value is wrong, or a name with our prefix is no setting of any actor.
    """
    _refuse_unknown(kind, environ)
    return cast("S", _read(kind, environ))


def variables(kind: type[msgspec.Struct]) -> Iterator[Variable]:
    """Yield the variables that fill a Struct and those within it, in the order of the fields."""
    for field, hint in _fields(kind):
        if _is_struct(hint):
            yield from variables(hint)
        else:
            yield from _variables(field, hint)


def beside(kind: type[Settings]) -> tuple[type[Settings], ...]:
    """Return the settings of all actors of the house ``kind`` is of, in the order of their names.

    They lie in ``<house>.<actor>.config``. What lies elsewhere is alone.
    """
    package, _, module = kind.__module__.rpartition(".")
    house = package.rpartition(".")[0]
    if module != MODULE or not house:
        return (kind,)
    return tuple(each for name in _modules(house) for each in _settings_in(name))


def _modules(house: str) -> Iterator[str]:
    for actor in pkgutil.iter_modules(importlib.import_module(house).__path__, f"{house}."):
        name = f"{actor.name}.{MODULE}"
        if actor.ispkg and importlib.util.find_spec(name) is not None:
            yield name


def _settings_in(module: str) -> Iterator[type[Settings]]:
    for each in vars(importlib.import_module(module)).values():
        if isinstance(each, type) and issubclass(each, Settings) and each.__module__ == module:
            yield each


def _refuse_unknown(kind: type[Settings], environ: Mapping[str, str]) -> None:
    """Refuse a misspelt name. Other actors' settings are imported only to judge a strange one."""
    ours = {name for name in environ if name.startswith(OWN_PREFIX)}
    if ours <= _names(kind):
        return
    known = {name for each in (kind, *beside(kind)) for name in _names(each)}
    for name in sorted(ours - known):
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(name, f"no such setting{f'; is {near[0]} meant?' if near else ''}")


def _names(kind: type[Settings]) -> set[str]:
    return {each.name for each in (*variables(kind), *kind.AT_USE)}


def _fields(kind: type[msgspec.Struct]) -> Iterator[tuple[msgspec.structs.FieldInfo, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return ((field, hints[field.name]) for field in msgspec.structs.fields(kind))


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _variables(field: msgspec.structs.FieldInfo, hint: Any) -> Iterator[Variable]:
    """Yield what fills one field.

    Raises:
        TypeError: it declares no variable.
    """
    meta = next((part for part in get_args(hint)[1:] if ENV in (part.extra or {})), None)
    if meta is None:
        raise TypeError(f"the setting {field.name} declares no variable")
    names, meaning = meta.extra[ENV], meta.description
    if isinstance(names, str):
        yield Variable(names, meaning, hint, field.default)
        return
    kind = get_args(get_args(hint)[0])[1]
    for key, name in names.items():
        yield Variable(name, meaning.format(key), kind, key=key)


def _read(kind: type[msgspec.Struct], environ: Mapping[str, str]) -> msgspec.Struct:
    given: dict[str, Any] = {}
    for field, hint in _fields(kind):
        if _is_struct(hint):
            given[field.name] = _read(hint, environ)
            continue
        for each in _variables(field, hint):
            if text := environ.get(each.name):
                value = _value(each, text)
                if each.key is None:
                    given[field.name] = value
                else:
                    given.setdefault(field.name, field.default_factory())[each.key] = value
    return kind(**given)


def _value(variable: Variable, text: str) -> Any:
    raw = several(text) if is_several(variable) else text
    try:
        return msgspec.convert(raw, variable.kind, strict=False, dec_hook=_made)
    except msgspec.ValidationError as error:
        raise ConfigError(variable.name, str(error)) from None


def is_several(variable: Variable) -> bool:
    """Whether the value is a list, written with commas."""
    return get_origin(get_args(variable.kind)[0]) is tuple


def several(text: str) -> list[str]:
    """Return the parts of a list that is written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _made(kind: type, value: Any) -> Any:
    """Make a type of our own, which refuses a wrong text with a ``ValueError``."""
    return kind(value)
