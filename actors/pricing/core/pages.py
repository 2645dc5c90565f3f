"""A dictionary that is never changed: another one shares all but one page with it. Pure.

A state must outlive what is decided on it, and copying a dictionary of ten thousand entries for
each command would be all that its owner does. It is made of plain dictionaries, so it is stored as
it is.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

V = TypeVar("V")

FULL = 64
MOST_PAGES = 256
GROWTH = 4
"""A full page makes four of each; copying a page and the row of pages then cost about the same."""

Pages = tuple[dict[str, V], ...]
"""The entry of a key is in the page that its CRC-32 names; without entries there are no pages."""


def get(pages: Pages[V], key: str) -> V | None:
    """Return the value of a key."""
    return pages[_place(key, len(pages))].get(key) if pages else None


def values(pages: Pages[V]) -> Iterator[V]:
    """Yield all values."""
    for page in pages:
        yield from page.values()


def size(pages: Pages[V]) -> int:
    """Count the entries."""
    return sum(map(len, pages))


def updated(pages: Pages[V], changes: Mapping[str, V]) -> Pages[V]:
    """Return the pages with these entries in place."""
    if len(pages) == 1 and len(pages[0]) + len(changes) <= FULL:
        return ({**pages[0], **changes},)
    for key, value in changes.items():
        pages = put(pages, key, value)
    return pages


def put(pages: Pages[V], key: str, value: V) -> Pages[V]:
    """Return the pages with one entry in place."""
    if not pages:
        return ({key: value},)
    place = _place(key, len(pages))
    page = pages[place] | {key: value}
    if len(page) > FULL and len(pages) < MOST_PAGES:
        return put(_spread(pages), key, value)
    fresh = list(pages)
    fresh[place] = page
    return tuple(fresh)


def without(pages: Pages[V], key: str) -> Pages[V]:
    """Return the pages without a key."""
    place = _place(key, len(pages)) if pages else 0
    if not pages or key not in pages[place]:
        return pages
    fresh = list(pages)
    # A copy by ``dict()`` of what lost an entry before is four times as slow.
    fresh[place] = page = {**pages[place]}
    del page[key]
    return tuple(fresh)


def kept(pages: Pages[V], is_kept: Callable[[V], bool]) -> Pages[V]:
    """Return the pages with only the values that are to be kept."""
    return tuple({key: value for key, value in page.items() if is_kept(value)} for page in pages)


def _spread(pages: Pages[V]) -> Pages[V]:
    fresh: list[dict[str, V]] = [{} for _ in range(len(pages) * GROWTH)]
    for page in pages:
        for key, value in page.items():
            fresh[_place(key, len(fresh))][key] = value
    return tuple(fresh)


def _place(key: str, pages: int) -> int:
    return zlib.crc32(key.encode()) % pages if pages > 1 else 0
