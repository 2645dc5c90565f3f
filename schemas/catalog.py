"""The table of all public messages, from what is defined: documents, permissions, listings. Pure.

Nothing is listed here: a request or fact is in the table because its class is defined in a module
of this package, or in one that was imported.
"""

import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import NamedTuple, get_args

import msgspec

import schemas
from schemas.base import FACTS, PUBLIC, REQUESTS, SUBMIT, Command, Message, Request
from schemas.problems import Problem
from schemas.streams import StreamEvent

CONTRACT_VERSION = "1.3.0"
"""Grows in the middle when a message or field is added, in front when a reader must change."""

STREAM_EVENTS: tuple[type[Message], ...] = get_args(StreamEvent)


class RequestRow(NamedTuple):
    """A public request: where it is sent, what answers it, and its durable form if it has one.

    ``action`` is what whoever asks must be allowed to do.
    """

    name: str
    message: type[Request]
    subject: str
    submit: str | None
    reply: type[Message]
    action: str
    doc: str


class FactRow(NamedTuple):
    """A message that is published: a stream event, a public event or a record."""

    name: str
    message: type[Message]
    subject: str
    doc: str


def find(name: str) -> type[Request] | None:
    """Return the request of a name such as ``agents.execute``, None if there is none."""
    _define_all()
    return REQUESTS.get(name)


def is_command(name: str) -> bool:
    """Say whether a name is that of a command, which has a durable form."""
    kind = find(name)
    return kind is not None and issubclass(kind, Command)


def requests() -> tuple[RequestRow, ...]:
    """Return a row for each public request, by name."""
    _define_all()
    return tuple(_request(name, kind) for name, kind in sorted(REQUESTS.items()))


def stream_events() -> tuple[FactRow, ...]:
    """Return a row for each event of an execution's live stream."""
    return tuple(_fact(kind, tag_of(kind)) for kind in STREAM_EVENTS)


def events() -> tuple[FactRow, ...]:
    """Return a row for each public event, by name."""
    return tuple(sorted(_fact(kind, tag_of(kind)) for kind in _facts("events")))


def records() -> tuple[FactRow, ...]:
    """Return a row for each stored record."""
    return tuple(_fact(kind, _record_name(kind)) for kind in _facts("record"))


def _record_name(kind: type[Message]) -> str:
    """Return ``record``, with what else its subject names it by."""
    parts = (kind.SUBJECT or "").removeprefix(PUBLIC).split(".")
    words = [part for part in parts if not part.startswith("{")]
    several = [part.strip("{}") for part in parts if part.startswith("{")][1:]
    return ".".join([*words, *several])


def messages() -> tuple[type[msgspec.Struct], ...]:
    """Return every class whose bytes a user may send or see, once each."""
    asked = requests()
    facts = (*stream_events(), *events(), *records())
    every = [*(row.message for row in asked), *(row.reply for row in asked)]
    return tuple(dict.fromkeys([*every, *(row.message for row in facts), Problem]))


def tag_of(kind: type[msgspec.Struct]) -> str:
    """Return the ``type`` a message carries, empty if it carries none."""
    return str(kind.__struct_config__.tag or "")


def first_line(kind: type) -> str:
    """Return the first line of a class's docstring, as Markdown."""
    return (kind.__doc__ or "").strip().partition("\n")[0].replace("``", "`")


@cache
def _define_all() -> None:
    for module in pkgutil.iter_modules(schemas.__path__, f"{schemas.__name__}."):
        import_module(module.name)


def _facts(word: str) -> Iterable[type[Message]]:
    _define_all()
    return (kind for kind in FACTS if (kind.SUBJECT or "").startswith(f"{PUBLIC}{word}."))


def _request(name: str, kind: type[Request]) -> RequestRow:
    submit = f"{SUBMIT}{name}" if issubclass(kind, Command) else None
    return RequestRow(
        name, kind, f"{PUBLIC}{name}", submit, kind.REPLY, kind.ACTION, first_line(kind)
    )


def _fact(kind: type[Message], name: str) -> FactRow:
    return FactRow(name, kind, kind.SUBJECT or "", first_line(kind))
