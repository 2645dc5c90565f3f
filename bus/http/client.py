"""The client: exchanges with any number of servers over kept connections."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Self

import anyio

from bus.fairness.slices import Slices
from bus.http.answer import HttpAnswer
from bus.http.connection import HttpConnection
from bus.http.errors import HttpBrokenError, HttpNotSentError
from bus.http.heads import Extra, Fields, request_head
from bus.http.intake import Intake
from bus.http.limits import HttpLimits
from bus.http.opening import Opening
from bus.http.pool import Kept, OriginPool
from bus.http.proxies import HttpProxies
from bus.http.reading import Reading
from bus.http.urls import HttpOrigin, HttpTarget, http_target
from bus.security.egress import FIELD, Egress

_CLOSING_SECONDS = 2.0
_LOOKS_A_PATIENCE = 8
_SHORTEST_LOOK, _LONGEST_LOOK = 0.01, 1.0

_USUAL = HttpLimits()
_DIRECT = HttpProxies({})


class HttpClient:
    """Makes exchanges (one request, one answer) over HTTP/1.1.

    Connections go to addresses that the egress policy allows and to no others; ``field`` is named
    where it refuses. Redirects are not followed, and cookies are not kept. One sweep a second
    looks after old connections and silent servers: an exchange sets no timer. ``opened`` and
    ``closed`` count connections, the ledger of leaks.
    """

    def __init__(
        self,
        egress: Egress,
        limits: HttpLimits = _USUAL,
        *,
        proxies: HttpProxies = _DIRECT,
        field: str = FIELD,
    ) -> None:
        self.opened = 0
        self.closed = 0
        self._limits = limits
        self._field = field
        self._proxies = proxies
        self._opening = Opening(egress, field, limits.connect_seconds)
        self._slices = Slices()
        self._pools: dict[HttpOrigin, OriginPool] = {}
        self._open: set[HttpConnection] = set()
        self._kept: Kept = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._intake: Intake | None = None
        self._is_closed = False
        self._all_lost = anyio.Event()
        self._look_seconds = _look_seconds(limits)
        self._extra = Extra(accept_encoding="gzip, deflate" if limits.decodes else "")
        self._unpacks = limits.body_bytes if limits.decodes else 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def exchange(
        self,
        method: str,
        url: str,
        headers: Fields = (),
        body: bytes = b"",
        *,
        may_repeat: bool = False,
        fresh: bool = False,
        endless: bool = False,
    ) -> "HttpExchange":
        """Return an exchange to enter; see ``send``. Leaving it closes the answer."""
        wish = _Wish(method, url, headers, body, may_repeat, fresh, endless)
        return HttpExchange(partial(self._send, wish))

    async def send(
        self,
        method: str,
        url: str,
        headers: Fields = (),
        body: bytes = b"",
        *,
        may_repeat: bool = False,
        fresh: bool = False,
        endless: bool = False,
    ) -> HttpAnswer:
        """Send a request and return its answer once the head is there. The caller closes it.

        A server may close a kept connection at any time. That it has done so may show only when
        the next request gets no byte in answer: a request that ``may_repeat`` is then sent once
        more, on a new connection. One that must neither fail so nor arrive twice goes on a
        ``fresh`` connection from the start. The body of an ``endless`` answer may pause as long
        as it likes. Cancelling closes the connection.

        Raises:
            ProblemError: ``validation``, ``forbidden`` or ``unavailable``: the URL, a header, the
                egress policy or the name's resolution forbid it.
            HttpNotSentError: nothing of it was sent.
            HttpBrokenError: it was sent, and there is no answer.
        """
        wish = _Wish(method, url, headers, body, may_repeat, fresh, endless)
        return await self._send(wish, _unheard)

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        if not self._open:
            return
        for connection in list(self._open):
            connection.abort()
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            await self._all_lost.wait()

    # Inside

    async def _send(self, wish: "_Wish", sending: Callable[[], None]) -> HttpAnswer:
        """Do as ``send``; ``sending`` is called just before the first byte leaves."""
        target = http_target(wish.url, self._field)
        origin = target.origin
        head = self._head(wish.method, target, wish.headers, len(wish.body))
        patience = None if wish.endless else self._limits.read_seconds
        fresh = wish.fresh
        while True:
            pool = self._pool(origin)
            connection = await self._connection(origin, pool, fresh=fresh)
            kept = connection.exchanges > 0
            reading: Reading | None = None
            sending()
            try:
                reading = await connection.ask(
                    head, wish.body, bodiless=wish.method == "HEAD", patience=patience
                )
            except (HttpNotSentError, HttpBrokenError):
                if not (kept and wish.may_repeat) or connection.is_answered:
                    raise
                fresh = True
            finally:
                if reading is None:
                    connection.abort()
            if reading is not None:
                release = partial(self._release, pool)
                turns = (self._slices, origin.host)
                return HttpAnswer(connection, reading, release, turns, self._unpacks)

    def _pool(self, origin: HttpOrigin) -> OriginPool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = OriginPool(self._limits, self._kept, self._proxies.before(origin))
            self._pools[origin] = pool
        return pool

    def _head(self, method: str, target: HttpTarget, headers: Fields, size: int) -> bytes:
        pool = self._pools.get(target.origin)
        proxy = self._proxies.before(target.origin) if pool is None else pool.proxy
        extra = self._extra
        if proxy is not None and target.origin.scheme == "http":
            extra = extra._replace(absolute=True, proxy_credentials=proxy.credentials)
        return request_head(method, target, headers, size, extra)

    async def _connection(
        self, origin: HttpOrigin, pool: OriginPool, *, fresh: bool
    ) -> HttpConnection:
        kept = await pool.take(fresh=fresh)
        if kept is not None:
            return kept
        loop = asyncio.get_running_loop()
        self._intake = self._intake or Intake(loop)
        heard = (self._made, partial(self._lost, origin, pool))
        connection = HttpConnection(loop, self._intake, self._limits, heard)
        opened = False
        try:
            await self._opening.open(origin, pool.proxy, connection)
            opened = True
        finally:
            if not connection.is_made:
                pool.vacated()
                self._forget(origin, pool)
            elif not opened:
                connection.abandon()
        return connection

    def _release(self, pool: OriginPool, connection: HttpConnection) -> None:
        """Keep a connection whose exchange has ended, if another one may follow."""
        if not connection.release():
            return
        pool.give_back(connection, asyncio.get_running_loop().time())
        if len(self._kept) > self._limits.kept:
            oldest, its_pool = next(iter(self._kept.items()))
            its_pool.discard(oldest)

    def _made(self, connection: HttpConnection) -> None:
        self.opened += 1
        self._open.add(connection)
        if self._is_closed:
            connection.abort()
        elif self._sweeping is None:
            self._sweep_later()

    def _lost(self, origin: HttpOrigin, pool: OriginPool, connection: HttpConnection) -> None:
        self.closed += 1
        self._open.discard(connection)
        pool.lost(connection)
        self._forget(origin, pool)
        if self._is_closed and not self._open:
            self._all_lost.set()

    def _forget(self, origin: HttpOrigin, pool: OriginPool) -> None:
        """Drop the pool of an origin that nobody uses."""
        if pool.is_unused and self._pools.get(origin) is pool:
            del self._pools[origin]

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(self._look_seconds, self._sweep)

    def _sweep(self) -> None:
        """Close connections that were kept for too long, and end reads that wait for too long."""
        self._sweeping = None
        for connection in list(self._open):
            connection.look(self._look_seconds)
        before = asyncio.get_running_loop().time() - self._limits.keep_alive_seconds
        for connection, pool in list(self._kept.items()):
            if connection.idle_since > before:
                break
            pool.discard(connection)
        if self._open and not self._is_closed:
            self._sweep_later()


class HttpExchange:
    """One request and its answer, as a context. ``is_sent``: bytes of it may have left."""

    def __init__(self, call: Callable[[Callable[[], None]], Awaitable[HttpAnswer]]) -> None:
        self._call = call
        self._answer: HttpAnswer | None = None
        self.is_sent = False

    async def __aenter__(self) -> HttpAnswer:
        self._answer = await self._call(self._sending)
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        if self._answer is not None:
            self._answer.close()

    def _sending(self) -> None:
        self.is_sent = True


class _Wish(NamedTuple):
    """What is to be sent; see ``HttpClient.send``."""

    method: str
    url: str
    headers: Fields
    body: bytes
    may_repeat: bool
    fresh: bool
    endless: bool


def _unheard() -> None:
    """Stand for whoever does not ask whether bytes have left."""


def _look_seconds(limits: HttpLimits) -> float:
    """Return how often to look, so that a time-out is late by an eighth or a second at most."""
    shortest = min(limits.read_seconds or _LONGEST_LOOK, limits.keep_alive_seconds or _LONGEST_LOOK)
    return min(max(shortest / _LOOKS_A_PATIENCE, _SHORTEST_LOOK), _LONGEST_LOOK)
