"""The prices in force: the book that ships with the package, until the bucket has another.

Every process that prices anything follows the bucket, so that a new book is in use everywhere a
moment after it was stored, and none of them needs the bus to have prices at all.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import cast

import structlog

from bus.connection import NatsTransport
from bus.kv import Bucket, Entry, Followed, NatsBucket, followed
from bus.streams.api import JetStream
from bus.streams.spec import StreamSpec, key_value_spec
from schemas.pricing.book import BookError
from schemas.pricing.prices import Prices
from schemas.quotes import BOOKS_BUCKET, CURRENT, Stored, StoredBook, unpacked

log = structlog.get_logger()

_BYTES = 256 * 1024 * 1024
"""Some thousands of books, all of which are kept."""


def bucket_spec() -> StreamSpec:
    """Return the stream below the bucket of books."""
    return key_value_spec(BOOKS_BUCKET, max_bytes=_BYTES)


def open_bucket(transport: NatsTransport, jetstream: JetStream) -> Bucket[Stored]:
    """Return the bucket of books."""
    return NatsBucket(transport, jetstream, BOOKS_BUCKET, cast("type[Stored]", Stored))


def shipped_text() -> bytes:
    """Return the book that ships with the package."""
    return (files("schemas.pricing") / "book.json").read_bytes()


def stored_prices(stored: StoredBook) -> Prices:
    """Return a stored book.

    Raises:
        BookError: it is none, or not the one that it says it is.
    """
    prices = Prices(unpacked(stored.packed))
    if prices.book_id != stored.book_id:
        raise BookError(f"it says that it is {stored.book_id}, and is {prices.book_id}")
    return prices


class PricesInForce:
    """Follows the bucket. The shipped book is read when it is first needed."""

    def __init__(self, shipped: Callable[[], bytes] = shipped_text) -> None:
        self._shipped = shipped
        self._prices: Prices | None = None

    @property
    def prices(self) -> Prices:
        """The newest book that could be read."""
        if self._prices is None:
            self._prices = Prices(self._shipped())
        return self._prices

    @asynccontextmanager
    async def following(self, bucket: Bucket[Stored]) -> AsyncGenerator[Followed]:
        """Follow the bucket while the context is open."""
        async with followed(bucket, CURRENT, self, "the rate book in force is") as known:
            yield known

    def changed(self, entry: Entry[Stored]) -> None:
        """Take the new book; one that cannot be read changes nothing."""
        if not isinstance(entry.value, StoredBook):
            return
        try:
            self._prices = stored_prices(entry.value)
        except BookError as error:
            log.warning("prices.book_unreadable", revision=entry.revision, error=str(error))

    def removed(self, key: str, revision: int) -> None:
        """Go back to the shipped book."""
        del key, revision
        self._prices = None

    def cleared(self) -> None:
        """Keep the prices: the bucket is told anew at once."""
