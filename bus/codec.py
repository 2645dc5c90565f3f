"""Bytes in and out: one encoder, one decoder for each type, refusals that name the field.

What comes from outside (users, providers, files) is read by ``accept`` and ``convert``, which hold
it to the bounds of ``schemas.bounds``. What our own processes wrote is read by ``decode``, whose
only bound is the interpreter's: between the two lies the room for what wraps a request.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from bus.errors import ProblemError
from schemas import bounds
from schemas.malformed import refusal
from schemas.steps import Steps

T = TypeVar("T")

encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Encodes a Struct (or what a Struct may hold) as JSON: twenty times for an execution, so that a
function around it would be felt."""


class MessageDecoder(Generic[T]):
    """Decodes one type again and again: to look up that of a large union takes a third as long."""

    __slots__ = ("_decode", "_kind")

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def __call__(self, data: bytes | bytearray | memoryview) -> T:
        """Decode JSON. Raises as ``decode`` does."""
        try:
            return self._decode(data)
        except msgspec.DecodeError as error:
            raise ProblemError(refusal(str(error), kind=self._kind)) from None
        except (UnicodeDecodeError, RecursionError) as error:
            raise ProblemError(refusal(f"JSON is malformed: {type(error).__name__}")) from None


_decoder = cache(MessageDecoder[Any])


def decode(kind: type[T], data: bytes | bytearray | memoryview) -> T:
    """Decode JSON into ``kind``.

    Raises:
        ProblemError: ``validation`` with the dotted path of the field that is wrong.
    """
    return _decoder(kind)(data)


def accept(kind: type[T], data: bytes | bytearray | memoryview) -> T:
    """Decode JSON from outside into ``kind``.

    Raises:
        ProblemError: ``validation`` with the dotted path of the field that is wrong, if there is
            one: a bound is exceeded by the whole.
    """
    try:
        bounds.check_whole(data)
    except bounds.BoundsError as error:
        raise ProblemError(refusal(str(error))) from None
    return _decoder(kind)(data)


def accepting(kind: type[T], data: bytes | bytearray | memoryview) -> Steps[T]:
    """Do as ``accept``, with pauses: for texts of megabytes. Raises as ``accept`` does."""
    try:
        yield from bounds.checking(data)
    except bounds.BoundsError as error:
        raise ProblemError(refusal(str(error))) from None
    yield
    return _decoder(kind)(data)


def convert(kind: type[T], data: Any) -> T:
    """Turn plain objects (a parsed YAML file, say) into ``kind``; refuses as ``accept`` does."""
    try:
        bounds.check_value(data)
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ProblemError(refusal(str(error), kind=kind)) from None
