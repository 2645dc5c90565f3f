"""A dictionary that is never changed: another one shares all but one page with it. Pure.

A state must outlive what is decided on it, and copying a dictionary of ten thousand entries for
each command would be all that its owner does. It is made of plain dictionaries, so it is stored as
it is.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

V = TypeVar("V")

PAGES = 128
"""At ten thousand entries both a page and the row of pages have about a hundred places."""

Pages = tuple[dict[str, V], ...]
"""The entry of a key is in the page that its CRC-32 names; without entries there are no pages."""


def get(pages: Pages[V], key: str) -> V | None:
    """Return the value of a key."""
    return pages[_place(key)].get(key) if pages else None


def values(pages: Pages[V]) -> Iterator[V]:
    """Yield all values."""
    for page in pages:
        yield from page.values()


def size(pages: Pages[V]) -> int:
    """Count the entries."""
    return sum(map(len, pages))


def updated(pages: Pages[V], changes: Mapping[str, V]) -> Pages[V]:
    """Return the pages with these entries in place."""
    if not changes:
        return pages
    fresh = list(pages) or [{} for _ in range(PAGES)]
    for key, value in changes.items():
        place = _place(key)
        fresh[place] = {**fresh[place], key: value}
    return tuple(fresh)


def without(pages: Pages[V], key: str) -> Pages[V]:
    """Return the pages without a key."""
    if get(pages, key) is None:
        return pages
    fresh = list(pages)
    place = _place(key)
    fresh[place] = {known: value for known, value in fresh[place].items() if known != key}
    return tuple(fresh)


def kept(pages: Pages[V], is_kept: Callable[[V], bool]) -> Pages[V]:
    """Return the pages with only the values that are to be kept."""
    return tuple({key: value for key, value in page.items() if is_kept(value)} for page in pages)


def _place(key: str) -> int:
    return zlib.crc32(key.encode()) % PAGES
