"""What the running task works for: the fields of its log lines, and the span its spans belong to.

One context variable holds both, because it is set for every message handled.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import NamedTuple

TRACEPARENT = "traceparent"
"""The header, and the field, in which the trace travels (W3C Trace Context)."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Context(NamedTuple):
    """The fields of log lines, and the traceparent of the innermost span."""

    fields: Mapping[str, str]
    trace: str | None


_NOTHING = Context(MappingProxyType({}), None)
_current: ContextVar[Context] = ContextVar("telemetry", default=_NOTHING)


def current() -> Context:
    """Return the context of the running task."""
    return _current.get()


class Bound:
    """While entered, adds fields and, if given one, a trace to the context of the running task."""

    __slots__ = ("_fields", "_token", "_trace")

    def __init__(self, fields: Mapping[str, str], trace: str | None = None) -> None:
        self._fields = fields
        self._trace = trace
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        outer = _current.get()
        fields = {**outer.fields, **self._fields} if self._fields else outer.fields
        self._token = _current.set(Context(fields, self._trace or outer.trace))

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)


def bound(**fields: str) -> Bound:
    """Add fields to every log line of the task while the returned context is entered."""
    return Bound(fields)


def accept(traceparent: str | None) -> str | None:
    """Return a traceparent that came from outside, or None if it is not a well-formed one."""
    if traceparent is None or _TRACEPARENT.match(traceparent) is None:
        return None
    return traceparent


def from_headers(headers: Mapping[str, str] | None) -> str | None:
    """Return the trace a message belongs to, by its headers."""
    return accept(headers.get(TRACEPARENT)) if headers else None


def into_headers(headers: dict[str, str] | None = None) -> dict[str, str] | None:
    """Add the trace of the running task to the headers of a message.

    Without a trace they come back as they are: a header costs two thirds of the publish rate.
    """
    trace = _current.get().trace
    if trace is None:
        return headers
    return {**(headers or {}), TRACEPARENT: trace}
