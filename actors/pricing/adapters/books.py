"""The books of a fleet: the one in force, those before it, and the rows that are laid over it."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from actors.pricing.adapters import shipped
from bus.errors import FencedError, problem
from bus.kv import Bucket
from bus.kv.prices import PricesInForce, shipped_text, stored_prices
from bus.ports import Clock
from schemas.pricing.book import Book, BookError, book_id, canonical, read
from schemas.pricing.overlay import Overlay, laid_over
from schemas.pricing.prices import Prices
from schemas.quotes import (
    BASE,
    CURRENT,
    OVERLAY,
    Stored,
    StoredBook,
    StoredOverlay,
    kept,
    packed,
    unpacked,
)

MOST_OPEN = 4
"""Books kept in memory besides the one in force."""


class Books:
    """Finds books by id or name. Those asked for are kept open, up to a few."""

    def __init__(self, in_force: PricesInForce, bucket: Bucket[Stored]) -> None:
        self._in_force = in_force
        self._bucket = bucket
        self._open: dict[str, Prices] = {}

    async def get(self, name: str | None) -> Prices:
        """Return the book in force, or the one of this id or name.

        Raises:
            ProblemError: ``not_found``.
            UnavailableError: the bucket does not answer.
        """
        current = self._in_force.prices
        if name is None or name in (current.book_id, current.book.name):
            return current
        if name not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[name] = await self._find(name)
        return self._open[name]

    async def _find(self, name: str) -> Prices:
        if name == shipped.SOURCE_BOOK:
            return Prices(canonical(shipped.source_book()))
        entry = await self._bucket.get(kept(name))
        if entry is not None and isinstance(entry.value, StoredBook):
            return _opened(entry.value)
        text = shipped_text()
        if book_id(text) == name:
            return Prices(text)
        raise problem("not_found", f"there is no rate book {name}", field="book")


def _opened(stored: StoredBook) -> Prices:
    try:
        return stored_prices(stored)
    except BookError as error:
        raise problem("internal", f"the stored rate book cannot be read: {error}") from None


class BookStore:
    """Changes the book in force. Every book that ever was is kept under its id."""

    def __init__(self, bucket: Bucket[Stored], clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def current(self) -> Prices:
        """Return the book in force."""
        entry = await self._bucket.get(CURRENT)
        stored = entry.value if entry else None
        return _opened(stored) if isinstance(stored, StoredBook) else Prices(shipped_text())

    async def refresh(self, base: Book) -> Prices:
        """Put a newly compiled book in the place of the old one, below the operator's own rows."""
        await self._put(BASE, lambda now: _stored(canonical(base), base.name, now))
        return await self._publish(base, await self.overlay())

    async def lay_over(self, overlay: Overlay) -> Prices:
        """Put the operator's own rows in the place of those before."""
        entry = await self._bucket.get(BASE)
        stored = entry.value if entry else None
        text = unpacked(stored.packed) if isinstance(stored, StoredBook) else shipped_text()
        base = read(text)
        _checked(canonical(laid_over(base, overlay)))
        rows = packed(msgspec.json.encode(overlay))
        await self._put(
            OVERLAY, lambda now: StoredOverlay(name=overlay.name, stored_at=now, packed=rows)
        )
        return await self._publish(base, overlay)

    async def overlay(self) -> Overlay | None:
        """Return the operator's own rows."""
        entry = await self._bucket.get(OVERLAY)
        if entry is None or not isinstance(entry.value, StoredOverlay):
            return None
        text = unpacked(entry.value.packed).decode()
        return shipped.parsed(text, f"{entry.value.name}.json")

    async def _publish(self, base: Book, overlay: Overlay | None) -> Prices:
        """Keep a book for good, and only then make it the one in force."""
        book = laid_over(base, overlay) if overlay else base
        text = _checked(canonical(book))
        prices = Prices(text)
        if await self._bucket.get(kept(prices.book_id)) is None:
            await self._put(kept(prices.book_id), lambda now: _stored(text, book.name, now))
        await self._put(CURRENT, lambda now: _stored(text, book.name, now))
        return prices

    async def _put(self, key: str, value: Callable[[datetime], Stored]) -> None:
        entry = await self._bucket.get(key)
        try:
            await self._bucket.put(
                key, value(self._clock()), expected=entry.revision if entry else 0
            )
        except FencedError:
            raise problem(
                "conflict", f"somebody else is changing {key} of the rate book", retryable=True
            ) from None


def _checked(text: bytes) -> bytes:
    """Return the text of a book whose rows can all be read: processes read each when it is asked.

    Raises:
        ProblemError: ``validation``, if one cannot.
    """
    try:
        read(text)
    except BookError as error:
        raise problem("validation", f"this would be no rate book: {error}") from None
    return text


def _stored(text: bytes, name: str, now: datetime) -> StoredBook:
    return StoredBook(book_id=book_id(text), name=name, stored_at=now, packed=packed(text))
