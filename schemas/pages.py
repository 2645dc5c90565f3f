"""A dictionary that is never changed: another one shares all but one page with it. Pure.

A state must outlive what is decided on it, and copying a dictionary of ten thousand entries for
each command would be all that its owner does. It is made of plain dictionaries, so it is stored as
it is. Where its values wait for moments, a row of times tells of each page the earliest, so that
the next moment is found without a walk through all values.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
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


def items(pages: Pages[V]) -> Iterator[tuple[str, V]]:
    """Yield all keys with their values."""
    for page in pages:
        yield from page.items()


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
    if len(pages) == 1 and len(pages[0]) < FULL:
        return ({**pages[0], key: value},)
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


Times = tuple[datetime | None, ...]
"""Of each page the earliest moment that one of its values waits for; empty where none waits."""

Moment = Callable[[V], datetime | None]
"""Returns the moment that a value waits for."""


def timed(times: Times, pages: Pages[V], key: str, moment: Moment[V]) -> Times:
    """Return the times of pages in which the value of one key has been put or removed."""
    if len(times) != len(pages):
        # They have been spread anew, or nothing waited before.
        fresh = [_earliest(page, moment) for page in pages]
    else:
        fresh, place = list(times), _place(key, len(pages))
        fresh[place] = _earliest(pages[place], moment)
    return tuple(fresh) if any(fresh) else ()


def earliest(times: Times) -> datetime | None:
    """Return the first moment that any value waits for."""
    return min((each for each in times if each is not None), default=None)


def due(times: Times, pages: Pages[V], now: datetime, moment: Moment[V]) -> Iterator[tuple[str, V]]:
    """Yield what waits for a moment that has come."""
    for first, page in zip(times, pages, strict=False):
        if first is not None and first <= now:
            for key, value in page.items():
                at = moment(value)
                if at is not None and at <= now:
                    yield key, value


def _earliest(page: Mapping[str, V], moment: Moment[V]) -> datetime | None:
    moments = [at for value in page.values() if (at := moment(value)) is not None]
    return min(moments, default=None)


def _spread(pages: Pages[V]) -> Pages[V]:
    fresh: list[dict[str, V]] = [{} for _ in range(len(pages) * GROWTH)]
    for page in pages:
        for key, value in page.items():
            fresh[_place(key, len(fresh))][key] = value
    return tuple(fresh)


def _place(key: str, pages: int) -> int:
    return zlib.crc32(key.encode()) % pages if pages > 1 else 0
