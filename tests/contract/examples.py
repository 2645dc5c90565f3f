"""One example of every message with every field filled, made from its type, always the same."""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from tests.contract.registry import file_name

S = TypeVar("S", bound=msgspec.Struct)

WORDS = {
    "agent_id": "reviewer",
    "api_version": "2024-10-21",
    "answer_to": "_cb.sys.held.0190c2a48b7e7f00a0002b1c0d3e4f5a",
    "base_url": "https://models.example.com/v1",
    "call_id": "call_1",
    "client_metadata": "https://callboard.example/client.json",
    "content": "Hel",
    "data": "iVBORw0KGgo=",
    "digest": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "firing": "12",
    "execution_id": "0190c2a4-8b7e-7f00-a000-2b1c0d3e4f5a",
    "issuer": "https://login.example.com",
    "keep_alive": "10m",
    "last_execution_id": "0190c2a4-8b7e-7f00-a000-2b1c0d3e4f5a",
    "after": "2.17",
    "cron": "0 9 * * 1-5",
    "location": "europe-west4",
    "next": "2.18",
    "model": "gpt-4o-mini",
    "process": "streaming-7f00",
    "region": "eu-west-1",
    "scopes": "agents:read",
    "session": "monday",
    "since": "2026-11-01",
    "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "stream": "cb.acme.stream.0190c2a4-8b7e-7f00-a000-2b1c0d3e4f5a",
    "subject": "_cb.work.generate.acme",
    "task": "Review this text: ä, 中, 🙂.",
    "tenant": "acme",
    "token": "7",
    "tool_name": "search",
    "until": "2026-11-21T12:00+01:00",
    "url": "https://example.com/picture.png",
    "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
"""The texts in fields of these names; another text is made of its field's name."""

NUMBERS: dict[str, float] = {
    "attempt": 3,
    "cache_read": 40,
    "cost": 1_250_000,
    "duration_ms": 1500,
    "input": 120,
    "limit": 25,
    "max_tokens": 512,
    "offset": 100,
    "output": 64,
    "segment": 2,
    "sequence": 17,
    "temperature": 0.2,
    "tokens_used": 184,
    "total": 120,
    "window": 200,
}
"""The numbers in fields of these names; another number is 1 or 2."""

MOMENT = "2026-01-02T03:04:05.678901Z"
ANYTHING: Any = {"key": "value", "list": [1, 2.5, True, None]}


def example(kind: type[S]) -> S:
    """Return the example of a class. No field has its default value, so none is left out."""
    info = inspect.type_info(kind)
    return msgspec.json.decode(msgspec.json.encode(_filled(info, file_name(kind))), type=kind)


def _filled(info: inspect.Type, name: str, default: Any = None) -> Any:
    match info:
        case inspect.Metadata(type=inner):
            return _filled(inner, name, default)
        case inspect.UnionType(types=types):
            return _filled(_chosen(types), name, default)
        case inspect.StructType():
            return _struct(info)
        case inspect.ListType(item_type=item) | inspect.FrozenSetType(item_type=item):
            return _items(item, name)
        case inspect.DictType(key_type=inspect.IntType(), value_type=value):
            return {"1": _filled(value, "value")}
        case inspect.DictType(value_type=value):
            return {"key": _filled(value, "value")}
        case inspect.LiteralType(values=values):
            return next(value for value in values if value != default)
        case inspect.BoolType():
            return not default
        case inspect.DateTimeType():
            return MOMENT
        case inspect.RawType() | inspect.AnyType():
            return ANYTHING
        case _:
            return _scalar(info, name, default)


def _chosen(types: tuple[inspect.Type, ...]) -> inspect.Type:
    empty = (inspect.NoneType, inspect.CustomType)
    return next(one for one in types if not isinstance(one, empty) and not _is_open(one))


_open: list[type] = []
"""The classes that are being filled in: one that can hold itself does so once."""


def _is_open(info: inspect.Type) -> bool:
    return isinstance(info, inspect.StructType) and info.cls in _open


def _struct(info: inspect.StructType) -> dict[str, Any]:
    tag = {info.tag_field: info.tag} if info.tag_field else {}
    _open.append(info.cls)
    try:
        return tag | {
            field.encode_name: _filled(field.type, field.name, field.default)
            for field in info.fields
        }
    finally:
        _open.pop()


def _items(item: inspect.Type, name: str) -> list[Any]:
    """Return one item, or one of each kind where there are several."""
    while isinstance(item, inspect.Metadata):
        item = item.type
    kinds = item.types if isinstance(item, inspect.UnionType) else (item,)
    return [_filled(kind, name) for kind in kinds if not _is_open(kind)]


def _scalar(info: inspect.Type, name: str, default: Any) -> Any:
    match info:
        case inspect.StrType(pattern=pattern):
            word = WORDS.get(name, f"{name}_1")
            # The same name may stand for something else in another message.
            return word if pattern is None or re.search(pattern, word) else f"{name}_1"
        case inspect.TupleType(item_types=kinds):
            return [_filled(kind, name) for kind in kinds]
        case inspect.BytesType():
            return "eJwDAAAAAAE="
        case inspect.IntType() | inspect.FloatType():
            return NUMBERS.get(name, 2 if default == 1 else 1)
        case _:
            raise TypeError(f"no example of {info!r} for {name}")
