"""Events that cannot be read: whether they carry an error, are of an unknown type, or are none."""

from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar

import msgspec

from actors.streaming.core.decoding.foreign import is_foreign
from actors.streaming.core.errors.faults import ProviderFaultError, fail_on
from schemas.problems import Problem
from schemas.sse import SseEvent

GARBLED = Problem(
    code="provider_error", message="The provider sent something that is no event.", retryable=True
)


class GarbledError(ProviderFaultError):
    """An event of the stream is not what the wire format says."""

    def __init__(self, problem: Problem = GARBLED) -> None:
        super().__init__(problem)


def garbled(event: str | bytes, *, named: bool = False) -> GarbledError:
    """Return the error of an event that cannot be decoded; ``named`` as in ``fail_on``.

    Raises:
        ProviderFaultError: the event carries an error, which is the reason.
    """
    fail_on(event, named=named)
    return GarbledError()


class _Typed(Protocol):
    """An event that says of what type it is; MiniMax says in ``base_resp`` how the call fares."""

    @property
    def type(self) -> str | None: ...
    @property
    def error(self) -> Any: ...
    @property
    def base_resp(self) -> Any: ...


T = TypeVar("T", bound=_Typed)


def typed(
    decode: Callable[[str], T],
    unknown: T,
    known: Collection[str],
    deltas: Collection[str] = (),
) -> Callable[[SseEvent], T]:
    """Return what reads events of these types; one of a type that nobody knows is ``unknown``.

    It raises the error that an event carries, or ``GarbledError``.
    """

    def read_event(event: SseEvent) -> T:
        is_error = event.name == "error"
        try:
            read = decode(event.data)
        except (msgspec.DecodeError, RecursionError):
            error = garbled(event.data, named=is_error)
            if is_foreign(event.data, known, deltas):
                return unknown
            raise error from None
        is_error = is_error or read.type == "error"
        if is_error or not read.type or read.error or read.base_resp:
            fail_on(event.data, named=is_error)
        return read

    return read_event
