"""What a provider's batch API is asked and answers, whichever provider it is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from actors.streaming.core.errors.faults import fail_on, fault
from schemas import bounds
from schemas.problems import Problem

T = TypeVar("T")

MOST_ITEMS: Final = 100
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one batch: OpenAI takes 200 MB and 50,000 requests, but all results are read in one piece."""

MOST_LINES: Final = 10 * MOST_ITEMS
"""Lines of a file of results that are looked at: one a request is what a provider writes."""

LONGEST_LINE: Final = 8 * 1024 * 1024
"""Bytes of one of them, as of an answer that comes alone; a longer one is no result."""

LONGEST_PAUSE: Final = 60.0
SHORTEST_PAUSE: Final = 1.0

CANCELLED = Problem(code="cancelled", message="The provider's batch was cancelled.")
EXPIRED = Problem(code="timeout", message="The provider did not get to it within 24 hours.")
UNREADABLE = Problem(code="provider_error", message="The batch has no readable result for it.")


class Item(NamedTuple):
    """One request of a batch. ``custom_id`` is at most 64 letters, digits, dashes, underscores."""

    custom_id: str
    body: Mapping[str, Any]


class Step(NamedTuple):
    """One HTTP request of a batch's life. A GET has no content.

    One that is sent only ``once`` makes a batch: sent again it would make another.
    """

    method: Literal["GET", "POST"]
    path: str
    content: bytes = b""
    content_type: str = "application/json"
    once: bool = False


class BatchProgress(NamedTuple):
    """How a batch stands. ``results`` are the requests that read what it has brought."""

    ended: bool
    results: Sequence[Step] = ()
    problem: Problem | None = None


class BatchForm(Protocol):
    """How one provider's batches are made and read.

    All ``read_*`` raise ``ProviderFaultError`` (``provider_error``) for an answer of another shape.
    """

    def upload(self, items: Sequence[Item]) -> Step | None:
        """Return the request that has to go before ``create``; None if none has."""
        ...

    def create(self, items: Sequence[Item], uploaded: bytes) -> Step:
        """Return the request that begins the batch, by the answer to ``upload``."""
        ...

    def read_id(self, body: bytes) -> str:
        """Return the id of the batch that ``create`` has made."""
        ...

    def look(self, batch: str) -> Step:
        """Return the request that asks how the batch stands."""
        ...

    def read_progress(self, batch: str, body: bytes) -> BatchProgress:
        """Read the answer to ``look``."""
        ...

    def cancel(self, batch: str) -> Step:
        """Return the request that cancels the batch."""
        ...

    def read_line(self, line: bytes) -> tuple[str, bytes | Problem] | None:
        """Return a result's custom id, and the answer's body or what went wrong.

        None if the line is no result.
        """
        ...


def pause(waited: float) -> float:
    """Return the seconds until a batch is looked at again that has been waited for so long.

    A tenth more of waiting is not felt; a day's batch is then looked at some 1,500 times.
    """
    return min(max(waited / 10, SHORTEST_PAUSE), LONGEST_PAUSE)


def fits(items: Sequence[Item], sizes: int, size: int) -> bool:
    """Say whether a batch of ``sizes`` bytes in all takes one more item of ``size`` bytes."""
    return len(items) < MOST_ITEMS and (not items or sizes + size <= MOST_BYTES)


def results(
    form: BatchForm, content: bytes, wanted: frozenset[str]
) -> Iterator[tuple[str, bytes | Problem] | None]:
    """Yield the wanted results of a JSONL file; None for each line that is none of them.

    The caller can stop between two lines, so that reading a large file does not hold the loop.
    """
    for line in _lines(content):
        found = form.read_line(line) if line.strip() else None
        yield found if found is not None and found[0] in wanted else None


def _lines(content: bytes) -> Iterator[bytes]:
    """Yield the first lines of a file, without those that are too long."""
    start = 0
    for _ in range(MOST_LINES):
        if start >= len(content):
            return
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        yield content[start:end] if end - start <= LONGEST_LINE else b""
        start = end + 1


def missing(progress: BatchProgress) -> Problem:
    """Return what to say of a request that an ended batch has no result for."""
    return progress.problem or UNREADABLE


def decoded(kind: type[T], body: bytes) -> T:
    """Decode an answer of a batch API.

    Raises:
        ProviderFaultError: it is an error under a status of success, or ``provider_error`` where
            it has another shape.
    """
    try:
        found: T = bounds.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError):
        fail_on(body)
        raise fault(
            "provider_error", "The provider's batch API answered in another form."
        ) from None
    return found


Name = Annotated[str, msgspec.Meta(max_length=256)]
"""What a provider calls a file or a batch. It is stored, and those of OpenAI have 40 characters."""


class Named(msgspec.Struct):
    """Whatever has an id: a file, a batch."""

    id: Name


def segment(name: str) -> str:
    """Return what a provider has named as one segment of a path, escaped.

    Raises:
        ProviderFaultError: ``provider_error``, it would lead elsewhere.
    """
    if any(part.strip() in {"", ".", ".."} for part in re.split(r"[/\\]", name)):
        message = "The provider's batch API names something that cannot be asked for."
        raise fault("provider_error", message, retryable=False)
    return quote(name, safe="")
