"""Where the requests of batches are: the one thing that must outlive the process that sent them."""

from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

import msgspec

from actors.streaming.core.errors.faults import fault
from bus.errors import FencedError, TransientError
from bus.kv import Bucket
from bus.streams.spec import StreamSpec, key_value_spec

T = TypeVar("T")

BUCKET = "batches"

_BYTES = 256 * 1024 * 1024
_KEPT_SECONDS = 3 * 86_400.0
"""Longer than any execution lasts: who finds no ticket may send the request."""


def bucket_spec() -> StreamSpec:
    """Return the stream below the bucket. When it is full nothing more is submitted."""
    return replace(key_value_spec(BUCKET, max_bytes=_BYTES), max_age=_KEPT_SECONDS)


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """Where one request is: in which batch, made with which key, for which attempt.

    ``target`` names the server and model. ``batch`` is None from before the batch is made until its
    id is known: whoever finds it so, and nobody at work on it, cannot know whether it was made.
    ``alone`` says that the batch holds no other request.
    """

    attempt: int
    target: str
    secret: str | None = None
    batch: str | None = None
    alone: bool = False


class Tickets:
    """The tickets by the key of a request. What goes wrong is a ``ProviderFaultError``."""

    def __init__(self, bucket: Bucket[Ticket]) -> None:
        self._bucket = bucket

    async def find(self, key: str) -> Ticket | None:
        """Return the ticket of a request; None where it was never sent.

        Raises:
            ProviderFaultError: ``unavailable``.
        """
        entry = await _reached(self._bucket.get(key))
        return entry.value if entry else None

    async def take(self, key: str, ticket: Ticket) -> None:
        """Store the first ticket of a request, before anything is sent.

        Raises:
            ProviderFaultError: ``unavailable``, also where another worker has just stored one.
        """
        await _reached(self._bucket.put(key, ticket, expected=0))

    async def change(self, key: str, ticket: Ticket) -> None:
        """Replace the ticket of a request; raises as ``take``."""
        entry = await _reached(self._bucket.get(key))
        await _reached(self._bucket.put(key, ticket, expected=entry.revision if entry else 0))

    async def drop(self, key: str) -> None:
        """Forget a request that was certainly not carried out; raises as ``take``."""
        entry = await _reached(self._bucket.get(key))
        if entry is not None:
            await _reached(self._bucket.remove(key, expected=entry.revision))


async def _reached(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except (FencedError, TransientError):
        raise fault("unavailable", "The bucket of batches cannot be written now.") from None
