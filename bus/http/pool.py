"""The connections to one origin: those in use, those kept for the next request, and who waits."""

import asyncio
from collections import deque
from typing import NamedTuple

from bus.http.connection import HttpConnection
from bus.http.errors import HttpNotSentError
from bus.http.limits import HttpLimits
from bus.http.proxies import HttpProxy


class _Waiting(NamedTuple):
    place: "asyncio.Future[HttpConnection | None]"
    fresh: bool


Kept = dict[HttpConnection, "OriginPool"]
"""Connections that wait for another request, the one kept longest first."""


class OriginPool:
    """A bounded number of places, each of one connection from its opening to its loss.

    The connection used last is used next, so that the others grow old. Who finds no place waits
    in order of arrival. ``all_kept`` are those of all origins, ``proxy`` stands before this one.
    """

    def __init__(self, limits: HttpLimits, all_kept: Kept, proxy: HttpProxy | None) -> None:
        self.proxy = proxy
        self._limits = limits
        self._all_kept = all_kept
        self._kept: dict[HttpConnection, None] = {}
        self._places = limits.connections
        self._waiting: deque[_Waiting] = deque()

    @property
    def is_unused(self) -> bool:
        """Whether there is neither a connection nor anybody who waits for one."""
        return self._places == self._limits.connections

    async def take(self, *, fresh: bool) -> HttpConnection | None:
        """Return a kept connection, or None with a place for one that the caller opens.

        ``fresh`` allows the latter only. A place is given back by ``lost``, or by ``vacated`` if
        the opening fails.

        Raises:
            HttpNotSentError: too many wait already.
        """
        if self._kept and not fresh:
            connection, _ = self._kept.popitem()
            del self._all_kept[connection]
            return connection
        if self._places and not self._waiting:
            self._places -= 1
            return None
        if len(self._waiting) >= self._limits.waiting:
            raise HttpNotSentError("Too many requests wait for a connection to this server.")
        if self._kept:
            # Its place goes to who waits as soon as it is lost.
            self.discard(next(iter(self._kept)))
        return await self._turn(fresh=fresh)

    def give_back(self, connection: HttpConnection, now: float) -> None:
        """Keep a connection whose exchange has ended well, or hand it to who waits."""
        first = self._first()
        if first is not None and not first.fresh:
            self._waiting.popleft().place.set_result(connection)
        elif first is not None or not self._limits.keep_alive_seconds:
            connection.abort()
        else:
            connection.idle_since = now
            self._kept[connection] = None
            self._all_kept[connection] = self

    def discard(self, connection: HttpConnection) -> None:
        """Close a kept connection."""
        del self._kept[connection], self._all_kept[connection]
        connection.abort()

    def lost(self, connection: HttpConnection) -> None:
        """Give away the place of a connection that is closed."""
        if connection in self._kept:
            del self._kept[connection], self._all_kept[connection]
        self.vacated()

    def vacated(self) -> None:
        """Give a place to who has waited longest."""
        if self._first() is None:
            self._places += 1
        else:
            self._waiting.popleft().place.set_result(None)

    async def _turn(self, *, fresh: bool) -> HttpConnection | None:
        place: asyncio.Future[HttpConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(place, fresh))
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled():
                # It came together with the cancellation: the next one gets it.
                connection = place.result()
                self.vacated() if connection is None else connection.abort()
            raise

    def _first(self) -> _Waiting | None:
        """Return who has waited longest; those who have given up are left out."""
        while self._waiting and self._waiting[0].place.done():
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None
