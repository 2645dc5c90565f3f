"""Requests with a server's access token, which is renewed once where the server refuses it."""

from typing import Protocol

from actors.mcp_pool.core.upstream import Bearer
from bus.http import HttpAnswer, HttpClient
from bus.http.heads import Fields

_REFUSED = (401, 403)
_CHALLENGE = "www-authenticate"
_MORE = "insufficient_scope"


class Sender(Protocol):
    """Sends requests; see ``HttpClient.send``."""

    async def send(
        self,
        method: str,
        url: str,
        headers: Fields = (),
        body: bytes = b"",
        *,
        may_repeat: bool = False,
        endless: bool = False,
    ) -> HttpAnswer:
        """Send a request and return its answer, which the caller closes."""
        ...


class AuthorizedClient:
    """Adds a token to each request.

    A refusal comes before anything was done, so that a request may be sent once more. A session is
    ended with the token that there is.
    """

    def __init__(self, client: HttpClient, bearer: Bearer) -> None:
        self._client = client
        self._bearer = bearer

    async def send(
        self,
        method: str,
        url: str,
        headers: Fields = (),
        body: bytes = b"",
        *,
        may_repeat: bool = False,
        endless: bool = False,
    ) -> HttpAnswer:
        """See ``HttpClient.send``.

        Raises:
            UpstreamError: no token can be had.
        """
        token, renews = await self._bearer.token(), method != "DELETE"
        while True:
            answer = await self._client.send(
                method, url, _with(headers, token), body, may_repeat=may_repeat, endless=endless
            )
            challenge = answer.headers.get(_CHALLENGE) if answer.status in _REFUSED else ""
            if not renews or not _is_of_token(answer.status, challenge):
                return answer
            answer.close()
            token, renews = await self._bearer.renewed(token, challenge), False


def _with(headers: Fields, token: str) -> Fields:
    return {**dict(headers), "authorization": f"Bearer {token}"} if token else headers


def _is_of_token(status: int, challenge: str) -> bool:
    """Whether an answer refuses the token, not the request (RFC 6750 §3.1)."""
    return status in _REFUSED and (status != _REFUSED[1] or _MORE in challenge)
