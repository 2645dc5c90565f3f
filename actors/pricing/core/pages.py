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
    if not changes:
        return pages
    fresh = list(pages) or [{}]
    is_full = False
    for place, entries in _by_place(changes, len(fresh)).items():
        fresh[place] = page = {**fresh[place], **entries}
        is_full = is_full or len(page) > FULL
    return tuple(_spread(fresh) if is_full and len(fresh) < MOST_PAGES else fresh)


def without(pages: Pages[V], key: str) -> Pages[V]:
    """Return the pages without a key."""
    place = _place(key, len(pages)) if pages else 0
    if not pages or key not in pages[place]:
        return pages
    fresh = list(pages)
    fresh[place] = page = dict(pages[place])
    del page[key]
    return tuple(fresh)


def kept(pages: Pages[V], is_kept: Callable[[V], bool]) -> Pages[V]:
    """Return the pages with only the values that are to be kept."""
    return tuple({key: value for key, value in page.items() if is_kept(value)} for page in pages)


def _by_place(changes: Mapping[str, V], pages: int) -> Mapping[int, Mapping[str, V]]:
    if pages == 1:
        return {0: changes}
    found: dict[int, dict[str, V]] = {}
    for key, value in changes.items():
        found.setdefault(_place(key, pages), {})[key] = value
    return found


def _spread(pages: list[dict[str, V]]) -> list[dict[str, V]]:
    fresh: list[dict[str, V]] = [{} for _ in range(len(pages) * GROWTH)]
    for page in pages:
        for key, value in page.items():
            fresh[_place(key, len(fresh))][key] = value
    return fresh


def _place(key: str, pages: int) -> int:
    return zlib.crc32(key.encode()) % pages if pages > 1 else 0
