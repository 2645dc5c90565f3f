"""What is asked of authorization servers: their metadata, registration, tokens. All bounded."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TypeVar

import anyio

from actors.mcp_pool.core.oauth import (
    BearerChallenge,
    Discovered,
    IssuerMetadata,
    OauthError,
    ResourceMetadata,
    checked_issuer,
    checked_resource,
    chosen_issuer,
    endpoint,
    issuer_urls,
    origin_of,
    resource_urls,
)
from actors.mcp_pool.core.oauth_grants import (
    OauthClient,
    RegisteredClient,
    TokenAnswer,
    registered_client,
    registration,
    token_request,
)
from bus.codec import accept, encode
from bus.errors import ProblemError
from bus.http import HttpClient, HttpError
from schemas.tool_servers import ServerOauth

T = TypeVar("T")

ANSWER_SECONDS = 10.0
MAX_BYTES = 256 * 1024

ClientSecret = Callable[[str], str]
"""Returns the client's secret for a token endpoint. Raises ``ProblemError``: none for that one."""

Clients = Callable[[str], HttpClient]
"""Returns the client for a URL, by where that may be."""

_OK = range(200, 300)
_REFUSED = (400, 401)
_FAILED = 500
_JSON = {"accept": "application/json"}


class Authorization:
    """Speaks to the authorization servers that an MCP server names. Raises ``OauthError``."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def discover(
        self, server: str, challenge: BearerChallenge, wanted: str | None
    ) -> Discovered:
        """Find out who gives tokens for a server; ``wanted`` is the issuer it must be."""
        places = resource_urls(server, challenge.metadata)
        found = await self._first(places, ResourceMetadata)
        if found is None and challenge.metadata:
            raise OauthError("The server's metadata is not where it says.")
        if found is None:
            # A server of 2025-03-26 is its own issuer.
            resource, scopes, issuer = server, (), wanted or origin_of(server)
        else:
            checked = checked_resource(found, server)
            resource, scopes = checked.resource, tuple(checked.scopes_supported)
            issuer = chosen_issuer(checked, wanted)
        metadata = await self._first(issuer_urls(issuer), IssuerMetadata)
        if metadata is None:
            raise OauthError("The authorization server publishes no metadata.")
        return Discovered(resource, scopes, checked_issuer(metadata, issuer))

    async def register(self, issuer: IssuerMetadata, redirect: str, method: str) -> OauthClient:
        """Register a client, for logins that come back to ``redirect``."""
        url = endpoint(issuer.registration_endpoint)
        body = encode(registration(redirect, method))
        headers = {**_JSON, "content-type": "application/json"}
        status, answer = await self._ask("POST", url, headers, body)
        if status not in _OK:
            raise OauthError("The authorization server does not register clients.")
        return registered_client(_read(RegisteredClient, answer), issuer)

    async def tokens(
        self, url: str, form: Mapping[str, str], resource: str, client: OauthClient
    ) -> TokenAnswer:
        """Ask a token endpoint. A refusal is an answer with an ``error``."""
        request = token_request(form, resource, client)
        status, answer = await self._ask("POST", endpoint(url), request.headers, request.body)
        if status in _OK:
            return _read(TokenAnswer, answer)
        if status not in _REFUSED:
            raise _of(status)
        try:
            error = _read(TokenAnswer, answer).error
        except OauthError:
            error = ""
        return TokenAnswer(error=error or "invalid_request")

    async def _first(self, urls: Sequence[str], kind: type[T]) -> T | None:
        """Return the first metadata that there is; None where each place has none."""
        for url in urls:
            status, answer = await self._ask("GET", url, _JSON)
            if status >= _FAILED:
                raise _of(status)
            if status in _OK:
                return _read(kind, answer)
        return None

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Return status and body of an answer. Redirections are not followed."""
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                answer = await self._clients(url).send(method, url, headers, body)
                with closing(answer):
                    return answer.status, await answer.read(MAX_BYTES)
        except TimeoutError:
            told = "The authorization server does not answer."
            raise OauthError(told, transient=True) from None
        except HttpError:
            told = "There is no exchange with the authorization server."
            raise OauthError(told, transient=True) from None
        except ProblemError as refused:
            told = f"The authorization server may not be asked: {refused.problem.message}"
            raise OauthError(told) from None


def _read(kind: type[T], data: bytes) -> T:
    try:
        return accept(kind, data)
    except ProblemError:
        raise OauthError("What the authorization server says is no answer.") from None


def _of(status: int) -> OauthError:
    transient = status >= _FAILED
    return OauthError(f"The authorization server fails with status {status}.", transient=transient)


def with_secret(
    client: OauthClient, terms: ServerOauth, url: str, secret: ClientSecret
) -> OauthClient:
    """Return a client with the secret that the operator keeps for it.

    Raises:
        OauthError: it must not go to that token endpoint.
    """
    if terms.secret is None or client.id != terms.client_id:
        return client
    try:
        return OauthClient(id=client.id, secret=secret(url), method=client.method)
    except ProblemError as refused:
        raise OauthError(refused.problem.message) from None
