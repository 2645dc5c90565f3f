"""HTTP to providers: the interface of httpx over the sockets of aiohttp.

httpx's own pool scans all its connections at each request, which blocks the loop for milliseconds
once a few hundred streams end together; and it costs four times the processor time a chunk. So only
its interface stays, on a transport of ours. There is one client a process, with one keep-alive pool
a host inside, and no bound on connections but the number of executions a process takes on.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache, lru_cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address
from ssl import SSLContext
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from actors.streaming.adapters.intake import PIECE_BYTES, Connection, Intake
from bus.fairness.slices import Slices
from bus.security.egress import Address, Egress

ReadBody = Callable[[], Awaitable[bytes]]

FIELD = "provider.base_url"
"""Where a definition says the address that is refused."""

ONCE = "once"
"""The extension of a request that must not arrive twice."""

_READ_BUFFER_BYTES = 64 * 1024
"""Twice this unread, and aiohttp stops reading the socket."""

_BRIEF_BYTES = 4 * 1024
"""What a read may bring at any time; for more it waits its turn."""

_FAILURES: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientSSLError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientOSError, httpx.ReadError),
    (aiohttp.ClientError, httpx.RemoteProtocolError),
)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries httpx requests over aiohttp connections that obey the egress policy.

    Of httpx's timeouts it keeps ``connect`` (name, TCP and TLS together) and ``read`` (between two
    reads of a body); the wait for the status line is bounded by the caller. Redirects are not
    followed. A response's ``extensions["read"]`` gives its body as it arrives, b"" at the end,
    and may be cut short by a timeout, which would end httpx's generators. Closing a response before
    its end closes the socket at once.

    A read brings so much as is quickly digested, and of all bodies one large piece a turn of the
    loop; whoever sends more waits, and nobody else. Nothing is decompressed.
    """

    def __init__(self, egress: Egress, *, keep_alive: float) -> None:
        self._egress = egress
        self._slices = Slices()
        self._intake: Intake | None = None
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return once the status line and headers are there.

        Raises:
            ProblemError: ``forbidden``, the address is closed.
            httpx.TransportError: anything else that went wrong.
        """
        url = URL(str(request.url), encoded=True)
        self._egress.check_literal(url.host or "", field=FIELD)
        content = await request.aread()
        try:
            response = await self._sent(request, url, content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error, request) from error
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        return self._answer(request, response, timeouts.get("read"))

    async def _sent(
        self, request: httpx.Request, url: URL, content: bytes
    ) -> aiohttp.ClientResponse:
        """Send the request, on a new connection if a kept one turns out to be closed.

        A server may close a connection that nothing happens on, at any time. That it has done so
        shows only when the next request gets no byte in answer, and says nothing of the request.
        One that must not arrive twice goes on a new connection from the start.
        """
        kept: list[bool] = []
        if request.extensions.get(ONCE):
            return await self._send(self._open_fresh(), request, url, content, kept)
        try:
            return await self._send(self._open(), request, url, content, kept)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not kept or isinstance(error, aiohttp.ClientConnectorError):
                raise
        return await self._send(self._open_fresh(), request, url, content, kept)

    async def _send(
        self,
        session: aiohttp.ClientSession,
        request: httpx.Request,
        url: URL,
        content: bytes,
        kept: list[bool],
    ) -> aiohttp.ClientResponse:
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        return await session.request(
            request.method,
            url,
            headers=[(name.decode(), text.decode()) for name, text in request.headers.raw],
            data=content or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.get("connect")),
            trace_request_ctx=kept,
        )

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        for session in (self._session, self._fresh):
            if session is not None:
                await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._built(keepalive_timeout=self._keep_alive)
        return self._session

    def _open_fresh(self) -> aiohttp.ClientSession:
        """Return the session that opens a connection for each request and keeps none."""
        if self._fresh is None:
            self._fresh = self._built(force_close=True)
        return self._fresh

    def _answer(
        self, request: httpx.Request, response: aiohttp.ClientResponse, read_timeout: float | None
    ) -> httpx.Response:
        # From here on, not before: a model may think long until its first byte.
        body = _Body(request, response, read_timeout, self._slices)
        extensions: dict[str, Any] = {"read": body.read}
        headers = response.raw_headers
        return httpx.Response(response.status, headers=headers, stream=body, extensions=extensions)

    def _built(self, **keeping: Any) -> aiohttp.ClientSession:
        self._intake = self._intake or Intake(asyncio.get_running_loop())
        connector = _Connector(
            self._intake,
            limit=0,
            resolver=PinningResolver(self._egress),
            use_dns_cache=False,
            ssl=tls(),
            **keeping,
        )
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_kept)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trace_configs=[tracing],
        )


class ProviderClient(httpx.AsyncClient):
    """An httpx client whose requests go straight to its transport.

    On their way through httpx they would pass cookies, redirects and authentication of which there
    are none, at twice what the transport itself costs.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._straight = transport
        self._always = dict(self.headers)
        self._patience = {"timeout": self.timeout.as_dict()}

    def build_request(
        self,
        method: str,
        url: httpx.URL | str,
        *,
        content: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> httpx.Request:
        """Build a request, without further options at a third of what it costs httpx.

        Then names of headers are in lower case, and the URL is absolute.

        Raises:
            httpx.InvalidURL: it is none.
        """
        if options:
            return super().build_request(method, url, content=content, headers=headers, **options)
        return httpx.Request(
            method,
            _parsed(str(url)),
            headers={**self._always, **(headers or {})},
            content=content,
            extensions=dict(self._patience),
        )

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_options: Any
    ) -> httpx.Response:
        """Send a request. Raises as the transport does."""
        response = await self._straight.handle_async_request(request)
        response.request = request
        if not stream:
            await response.aread()
        return response


class _Connector(aiohttp.TCPConnector):
    def __init__(self, intake: Intake, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]  an open type
        self._factory = partial(Connection, self._loop, intake)


class PinningResolver(AbstractResolver):
    """Resolves through the egress policy; the connection goes to the addresses it let pass."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the open addresses of a host, in the resolver's order."""
        addresses = await self._egress.resolve(host, port, field=FIELD)
        results = [_resolved(host, port, address) for address in addresses]
        return [each for each in results if family in {socket.AF_UNSPEC, each["family"]}]

    async def close(self) -> None:
        """Nothing is held."""


class _Body(httpx.AsyncByteStream):
    """Reads a body, each time at most ``patience`` seconds.

    One timer goes on beside all reads and looks how long the present one has waited. That of
    aiohttp is set anew by every read, which costs a tenth of reading a token stream.
    """

    def __init__(
        self,
        request: httpx.Request,
        response: aiohttp.ClientResponse,
        patience: float | None,
        slices: Slices,
    ) -> None:
        self._request = request
        self._slices = slices
        self._left = b""
        self._response = response
        self._content = response.content
        self._patience = patience
        self._waiting_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(patience, self._look) if patience else None

    async def read(self) -> bytes:
        """Return what has arrived, waiting for at least one byte; b"" at the end."""
        # Kept until it is returned: whoever waits here for his turn may be called off.
        self._left = chunk = self._left or await self._arrived()
        if len(chunk) > _BRIEF_BYTES:
            await self._slices.ticket(self._request.url.host)
        self._left = chunk[PIECE_BYTES:]
        return chunk[:PIECE_BYTES]

    async def _arrived(self) -> bytes:
        self._waiting_since = self._loop.time()
        try:
            chunk = await self._content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error, self._request) from error
        finally:
            self._waiting_since = None
        if not chunk:
            self._stop_looking()
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    async def aclose(self) -> None:
        self._stop_looking()
        # After its end the connection is back in the pool, and this does nothing.
        self._response.close()

    def _look(self) -> None:
        """End a read that has waited too long, or look again when it will have."""
        patience = self._patience or 0
        now = self._loop.time()
        left = patience - (now - (self._waiting_since or now))
        if left <= 0:
            self._content.set_exception(aiohttp.SocketTimeoutError())
        else:
            self._timer = self._loop.call_later(left, self._look)

    def _stop_looking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


_parsed = lru_cache(maxsize=1024)(httpx.URL)


@cache
def tls() -> SSLContext:
    """Return the process's TLS settings, with the certificates httpx trusts."""
    return httpx.create_ssl_context()


def build_client(
    egress: Egress, *, connect_timeout: float, read_timeout: float, keep_alive: float
) -> httpx.AsyncClient:
    """Build the client of a process. Times are in seconds. It keeps no cookies and no proxies.

    Cookies would tie the calls of different tenants together.
    """
    return ProviderClient(
        AiohttpTransport(egress, keep_alive=keep_alive),
        timeout=httpx.Timeout(read_timeout, connect=connect_timeout),
        headers={"accept-encoding": "identity", "user-agent": "callboard"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


async def _note_kept(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    """Note that a request went over a connection that an earlier one had opened."""
    context.trace_request_ctx.append(True)


def _translated(error: Exception, request: httpx.Request) -> httpx.TransportError:
    kind = next((to for of, to in _FAILURES if isinstance(error, of)), httpx.ReadTimeout)
    return kind(type(error).__name__, request=request)


def _resolved(host: str, port: int, address: Address) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )
