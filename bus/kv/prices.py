"""The prices in force: the book that ships with the package, until the bucket has another.

Every process that prices anything follows the bucket, so that a new book is in use everywhere a
moment after it was stored, and none of them needs the bus to have prices at all.
"""

from collections.abc import Callable
from importlib.resources import files
from typing import cast

import structlog

from bus.kv import BucketEntry, Follow, Store
from schemas.pricing.book import BookError
from schemas.pricing.prices import Prices
from schemas.quotes import BOOKS_BUCKET, CURRENT, Stored, StoredBook, unpacked

log = structlog.get_logger()

BOOKS = Store(bucket=BOOKS_BUCKET, kind=cast("type[Stored]", Stored), max_bytes=256 * 1024 * 1024)
"""Some thousands of books, all of which are kept."""


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

    def changed(self, entry: BucketEntry[Stored]) -> None:
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


PRICES = Follow(
    store=BOOKS,
    pattern=CURRENT,
    make=lambda _process, _config: PricesInForce(),
    what="the rate book in force is",
)
"""What every process knows that prices anything."""
