"""Asking what a command line says: the requests it means, their answers, shown."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, cast

import click

from actors.cli import rendering, replies
from actors.cli.fields import fields_of, own_id, positional
from actors.cli.requests import Where
from actors.cli.session import EXIT_USAGE, Session, leave, opened, rendered
from bus import files
from bus.client import Client
from bus.codec import accept, convert, encode
from bus.connection import NatsTransport
from bus.errors import ProblemError
from bus.ids import new_id
from bus.jetstream.publishing import store
from bus.subjects import submit_subject
from schemas.base import Request
from schemas.ids import PLATFORM

ASK_SECONDS = 60.0
"""As long as an answer may take that is made while the asker waits: embeddings, reports."""

STANDARD_INPUT = "-"


def ask(where: Where, kind: type[Request], given: Mapping[str, Any]) -> None:
    """Send the requests that a command line means, one after another, and show their replies.

    Of what is ``given``, names that begin with ``_`` are no fields: they say how it is asked.
    """
    fields = _given({name: one for name, one in given.items() if not name.startswith("_")})
    wanted = [_built(kind, *each) for each in _meant(kind, given["_words"], fields)]
    session, told = opened(where), list[Any]()

    async def body(transport: NatsTransport) -> None:
        # One after another, so that those that were answered are told when one is refused.
        for one in wanted:
            reply = await _told(session, transport, one, submit=given.get("_submit", False))
            told.append(reply)

    try:
        (session.run_as_fleet if session.tenant == PLATFORM else session.run_connected)(body)
    finally:
        _show(told, as_json=given["_json"], only=given["_only"])


def built(kind: type[Any], fields: Mapping[str, Any]) -> Any:
    """Make a request of what was given on the command line; what is wrong ends the command."""
    return _built(kind, _given(fields), "")


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed; what may be repeated comes as a tuple."""
    lists = {name: list(cast("tuple[Any, ...]", v)) for name, v in values.items() if _is_many(v)}
    return {name: v for name, v in {**values, **lists}.items() if v is not None and v != []}


def _is_many(value: Any) -> bool:
    return isinstance(value, tuple)


def _show(told: list[Any], *, as_json: bool, only: str | None) -> None:
    try:
        replies.show(told, as_json=as_json, only=only)
    except ProblemError as error:
        leave(error)


async def _told(session: Session, transport: NatsTransport, one: Request, *, submit: bool) -> Any:
    if not submit:
        return await Client(transport).request(session.tenant, one, timeout=ASK_SECONDS)
    subject = submit_subject(type(one), session.tenant)
    receipt = await store(transport, subject, encode(one), headers={"Nats-Msg-Id": new_id()})
    return replies.StoredReplyView(subject=subject, sequence=receipt.seq)


# What is meant


def _meant(
    kind: type[Request], words: tuple[str, ...], fields: dict[str, Any]
) -> Iterable[tuple[dict[str, Any], str]]:
    """Yield the fields of each request, and the file they are from.

    What is no id is a file: an id has neither dot nor slash.
    """
    own = own_id(kind)
    if words and all(_is_source(word) for word in words):
        for word in words:
            yield from ((_with_id(own) | found | fields, word) for found in requests_of(word))
        return
    names = positional(kind)
    if len(words) < len(names):
        raise click.UsageError(f"Missing argument '{names[len(words)].upper()}'.")
    if len(words) > len(names):
        raise click.UsageError(f"Got unexpected extra argument ({words[len(names)]})")
    about: dict[str, Any] = dict(zip(names, words, strict=True))
    yield _with_id(own) | _complete(kind, about | fields), ""


def _with_id(own: str | None) -> dict[str, Any]:
    """Make the id of a request that must have one, so that it need not be typed."""
    return {own: new_id()} if own else {}


def _complete(kind: type[Request], given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields if those are there that must be; else the command ends with its usage."""
    required = {each.name for each in fields_of(kind) if each.required} - {own_id(kind)}
    for param in click.get_current_context().command.params:
        if param.name in required - given.keys() and isinstance(param, click.Option):
            raise click.MissingParameter(param=param)
    return given


def _is_source(word: str) -> bool:
    return word == STANDARD_INPUT or "." in word or "/" in word


def requests_of(source: str) -> list[dict[str, Any]]:
    """Return the requests in a file; an error names it."""
    try:
        is_standard = source == STANDARD_INPUT
        data = files.bounded(sys.stdin.buffer, source) if is_standard else files.read(source)
    except ProblemError as error:
        _unusable(rendered(error.problem))
    try:
        found = requests_in(data, is_json=source.endswith(".json"))
    except ProblemError as error:
        _unusable(rendered(files.named(error, source).problem))
    if not found:
        _unusable(f"validation: {source} holds nothing")
    return found


def _unusable(line: str) -> NoReturn:
    """Say what is wrong with a file; it ends the command as a wrong option does."""
    rendering.line(line, err=True)
    raise click.exceptions.Exit(EXIT_USAGE)


def requests_in(data: bytes, *, is_json: bool = False) -> list[dict[str, Any]]:
    """Return the requests in a text: one in JSON, or several in YAML documents. Pure.

    Raises:
        ProblemError: ``validation``: it is neither, or exceeds a bound.
    """
    try:
        return [accept(dict[str, Any], data)]
    except ProblemError:
        if is_json:
            raise
    return [convert(dict[str, Any], one) for one in files.documents(data)]


def _built(kind: type[Any], fields: Mapping[str, Any], source: str) -> Any:
    try:
        return convert(kind, dict(fields))
    except ProblemError as error:
        leave(files.named(error, source) if source else error)
