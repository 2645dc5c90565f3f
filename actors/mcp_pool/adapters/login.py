"""A person logs in: the authorization code comes back to a listener on the loopback interface.

Protocol: RFC 8252 (native apps), with PKCE. Nothing of it is kept here; the grant is returned.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_urlsafe
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream

from actors.mcp_pool.adapters.authorization import Authorization, ClientSecret, with_secret
from actors.mcp_pool.core.oauth import Discovered, IssuerMetadata, OauthError, auth_method
from actors.mcp_pool.core.oauth_grants import (
    LoginRequest,
    OauthClient,
    OauthGrant,
    authorization_url,
    by_code,
    callback_code,
    granted,
)
from bus.tasks import background
from schemas.tool_servers import ServerOauth

HOST = "127.0.0.1"
PATH = "/callback"
LOGIN_SECONDS = 300.0
"""So long a person may take."""

MAX_HEAD = 16 * 1024
HEAD_SECONDS = 10.0
MAX_CONNECTIONS = 16

Visit = Callable[[str], Awaitable[None]]
"""Takes the URL that a person is to open."""

_PAGE = b"Callboard has the answer; the terminal tells how it went. You may close this page.\n"


class LoginMeans(NamedTuple):
    """What a login is made with. ``port`` is that of the listener, 0 is a free one."""

    authorization: Authorization
    secret: ClientSecret
    clock: Callable[[], float]
    visit: Visit
    port: int = 0


async def log_in(
    terms: ServerOauth, means: LoginMeans, found: Discovered, scopes: tuple[str, ...]
) -> OauthGrant:
    """Have a person log in for a server, and return the grant.

    Raises:
        OauthError: there is none, for whatever reason.
    """
    state, verifier = token_urlsafe(32), token_urlsafe(48)
    async with _listening(means.port, state) as back:
        client = await _client(terms, means.authorization, found.issuer, back.redirect)
        login = LoginRequest(client, back.redirect, verifier, state, scopes)
        await means.visit(authorization_url(found, login))
        code = callback_code(await back.query(), state, found.issuer)
    url = found.issuer.token_endpoint
    empty = OauthGrant(
        resource=found.resource,
        issuer=found.issuer.issuer,
        token_endpoint=url,
        client=client,
        access_token="",
        scopes=list(scopes),
    )
    known = with_secret(client, terms, url, means.secret)
    answer = await means.authorization.tokens(url, by_code(code, login), found.resource, known)
    return granted(answer, empty, means.clock())


async def _client(
    terms: ServerOauth, authorization: Authorization, issuer: IssuerMetadata, redirect: str
) -> OauthClient:
    """Return who we are to an issuer: as it was agreed, by a document of ours, or registered."""
    methods = issuer.token_endpoint_auth_methods_supported
    if terms.client_id is not None:
        method = auth_method(methods, secret=terms.secret is not None)
        return OauthClient(id=terms.client_id, method=method)
    if issuer.client_id_metadata_document_supported and terms.client_metadata is not None:
        return OauthClient(id=terms.client_metadata)
    if not issuer.registration_endpoint:
        raise OauthError("The authorization server registers nobody: name a client_id in oauth.")
    method = auth_method(methods, secret=True)
    return await authorization.register(issuer, redirect, method)


class _Callback:
    """Waits for the browser to come back with our ``state``."""

    def __init__(self, redirect: str, state: str) -> None:
        self.redirect = redirect
        self._state = state
        self._query: str | None = None
        self._came = anyio.Event()
        self._connections = 0

    async def query(self) -> str:
        """Return what the browser has brought."""
        with anyio.move_on_after(LOGIN_SECONDS):
            await self._came.wait()
        if self._query is None:
            raise OauthError(f"Nobody has logged in within {LOGIN_SECONDS:g} s.")
        return self._query

    async def serve(self, stream: SocketStream) -> None:
        """Answer one connection; only the request that was waited for ends the waiting."""
        if self._connections >= MAX_CONNECTIONS:
            await stream.aclose()
            return
        self._connections += 1
        try:
            async with stream:
                with anyio.move_on_after(HEAD_SECONDS):
                    await stream.send(self._answer(await _head(stream)))
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
            return
        finally:
            self._connections -= 1

    def _answer(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        target = urlsplit(words[1]) if len(words) == 3 and words[0] == "GET" else urlsplit("")  # noqa: PLR2004  method, target, version
        ours = target.path == PATH and parse_qs(target.query).get("state") == [self._state]
        if ours and self._query is None:
            self._query = target.query
            self._came.set()
        line = b"200 OK" if ours else b"404 Not Found"
        body = _PAGE if ours else b""
        fields = b"content-type: text/plain\r\ncache-control: no-store\r\nconnection: close"
        length = b"content-length: %d" % len(body)
        return b"HTTP/1.1 %s\r\n%s\r\n%s\r\n\r\n%s" % (line, fields, length, body)


@asynccontextmanager
async def _listening(port: int, state: str) -> AsyncGenerator[_Callback]:
    try:
        listener = await anyio.create_tcp_listener(local_host=HOST, local_port=port)
    except OSError as error:
        raise OauthError(f"Nothing can listen on port {port}: {error.strerror}.") from None
    bound = listener.extra_attributes[SocketAttribute.local_port]()
    back = _Callback(f"http://{HOST}:{bound}{PATH}", state)
    async with listener, background(partial(listener.serve, back.serve)):
        yield back


async def _head(stream: SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
        head += await stream.receive()
    return head[:MAX_HEAD]
