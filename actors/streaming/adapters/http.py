"""HTTP to providers: the interface of httpx over the client of the bus.

httpx's own pool scans all its connections at each request, which blocks the loop for milliseconds
once a few hundred streams end together; and it costs many times the processor time a chunk. So only
its interface stays, on a transport of ours. There is one client a process, and no bound on
connections but the number of executions a process takes on.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from bus.http import (
    HttpAnswer,
    HttpClient,
    HttpError,
    HttpLimits,
    HttpNotSentError,
    HttpProxies,
    HttpSilentError,
)
from bus.security.egress import Egress

ReadBody = Callable[[], Awaitable[bytes]]

FIELD = "provider.base_url"
"""Where a definition says the address that is refused."""

ONCE = "once"
"""The extension of a request that must not arrive twice."""

_CONNECTIONS = 16 * 1024
_BODY_BYTES = 1024 * 1024 * 1024
"""Of a body; who reads it has narrower bounds."""

_FAILURES: tuple[tuple[type[HttpError], type[httpx.TransportError]], ...] = (
    (HttpNotSentError, httpx.ConnectError),
    (HttpSilentError, httpx.ReadTimeout),
    (HttpError, httpx.RemoteProtocolError),
)


class HttpTransport(httpx.AsyncBaseTransport):
    """Carries httpx requests over the connections of a client of the bus.

    The time-outs are the client's; the wait for the status line is bounded by the caller. A
    response's ``extensions["read"]`` gives its body as it arrives, b"" at the end, and may be cut
    short by a timeout, which would end httpx's generators. Closing a response before its end
    closes the socket at once.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return once the status line and headers are there.

        One that must not arrive twice goes on a new connection; another one is sent again if a kept
        connection turns out to be closed.

        Raises:
            ProblemError: ``forbidden``, the address is closed; ``validation``, this is no URL.
            httpx.TransportError: anything else that went wrong.
        """
        once = bool(request.extensions.get(ONCE))
        try:
            answer = await self._client.send(
                request.method,
                str(request.url),
                [(name.decode(), text.decode()) for name, text in request.headers.raw],
                await request.aread(),
                may_repeat=not once,
                fresh=once,
            )
        except HttpError as error:
            raise _translated(error, request) from error
        body = _Body(request, answer)
        extensions: dict[str, Any] = {"read": body.read, "answer": answer}
        headers = answer.headers.raw
        return httpx.Response(answer.status, headers=headers, stream=body, extensions=extensions)

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        await self._client.aclose()


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


class _Body(httpx.AsyncByteStream):
    def __init__(self, request: httpx.Request, answer: HttpAnswer) -> None:
        self._request = request
        self._answer = answer

    async def read(self) -> bytes:
        """Return what has arrived, waiting for at least one byte; b"" at the end."""
        try:
            return await self._answer.piece()
        except HttpError as error:
            raise _translated(error, self._request) from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    async def aclose(self) -> None:
        self._answer.close()


_parsed = lru_cache(maxsize=1024)(httpx.URL)


def build_client(
    egress: Egress, *, connect_timeout: float, read_timeout: float, keep_alive: float
) -> httpx.AsyncClient:
    """Build the client of a process. Times are in seconds. It keeps no cookies.

    Cookies would tie the calls of different tenants together. Bodies come as they were sent.

    Raises:
        ConfigError: the environment names a proxy that cannot be used.
    """
    limits = HttpLimits(
        connect_seconds=connect_timeout,
        read_seconds=read_timeout,
        keep_alive_seconds=keep_alive,
        connections=_CONNECTIONS,
        body_bytes=_BODY_BYTES,
        decodes=False,
    )
    client = HttpClient(egress, limits, proxies=HttpProxies.of(os.environ), field=FIELD)
    return ProviderClient(
        HttpTransport(client),
        timeout=httpx.Timeout(read_timeout, connect=connect_timeout),
        headers={"accept-encoding": "identity", "user-agent": "callboard"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def _translated(error: HttpError, request: httpx.Request) -> httpx.TransportError:
    kind = next(to for of, to in _FAILURES if isinstance(error, of))
    return kind(str(error), request=request)
