"""Playing the bytes of a stream to a reader, whole or cut, and what comes of it."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from actors.streaming.core.deltas import Delta
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.reading.reader import Reader
from schemas.llm import Answer, ChatMessage, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Custom

NewReader = Callable[[], Reader[Any]]
ReaderOf = Callable[[GenerateRequest], Reader[Any]]
Outcome = tuple[list[Delta], Answer | Problem]


def sse(data: Any, name: str = "") -> bytes:
    """Write a server-sent event: a text as it is, anything else as JSON."""
    text = data.encode() if isinstance(data, str) else msgspec.json.encode(data)
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + text + b"\n\n"


def play(reader: Reader[Any], chunks: Iterable[bytes]) -> Outcome:
    """Drive a reader as a call does, to its answer or to the problem it ends with."""
    deltas: list[Delta] = []
    for chunk in (*(chunk for chunk in chunks if chunk), b""):
        if not reader.done:
            deltas += reader.feed(chunk)
    try:
        deltas += reader.finish()
    except ProviderFaultError as error:
        return deltas, error.problem
    return deltas, reader.answer()


def answered(reader: Reader[Any], chunks: Iterable[bytes]) -> tuple[list[Delta], Answer]:
    """Play a stream that is whole."""
    deltas, answer = play(reader, chunks)
    assert isinstance(answer, Answer), answer
    return deltas, answer


def failed(reader: Reader[Any], chunks: Iterable[bytes]) -> Problem:
    """Play a stream that fails."""
    _, problem = play(reader, chunks)
    assert isinstance(problem, Problem), problem
    return problem


def cut(body: bytes, seed: int) -> list[bytes]:
    """Cut a body at random places, always the same for a seed."""
    chance = random.Random(seed)
    places = sorted(chance.sample(range(len(body)), k=min(len(body), chance.randint(1, 60))))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


def bytewise(body: bytes) -> list[bytes]:
    """Cut a body after every byte."""
    return [body[at : at + 1] for at in range(len(body))]


HELLO = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
)


def told(reader: ReaderOf, *events: bytes) -> Answer:
    """Return the answer to a greeting, which is the same however the stream is cut."""
    _, whole = answered(reader(HELLO), events)
    assert play(reader(HELLO), bytewise(b"".join(events)))[1] == whole
    return whole


def refused(reader: ReaderOf, *events: bytes) -> tuple[str, bool]:
    """Return the code of the problem a stream ends with, and whether a retry may help."""
    problem = failed(reader(HELLO), events)
    assert "secret" not in str(problem)
    return problem.code, problem.retryable
