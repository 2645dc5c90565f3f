"""One request on its way to a provider, until the provider begins to answer it.

It is sent again without a field that the server refuses, or with a newer token where the one it
went with is refused. Everything else is left to who has asked.
"""

from collections.abc import Awaitable, Callable, Mapping

import anyio
import httpx

from actors.streaming.adapters.endpoint import CallContext, Endpoint, Outgoing
from actors.streaming.adapters.http import ReadBody
from actors.streaming.core.faults import (
    ProviderFaultError,
    fault,
    is_unauthenticated,
    refusal,
)
from bus.errors import ProblemError, problem
from schemas.providers import Provider

_ERROR_BODY_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 5.0

_REMEMBERED_SERVERS = 1024
_REFUSING_A_FIELD = frozenset({400, 422})

Write = Callable[[frozenset[str]], Awaitable[Outgoing]]
"""Writes the request anew, without the optional fields named."""


_COMPRESSED = "The provider has compressed its answer, which nobody asked for."


class Refusers:
    """The servers that have refused optional fields before, by their address; bounded."""

    def __init__(self) -> None:
        self._refused: dict[str, frozenset[str]] = {}

    def refused_by(self, base_url: str) -> frozenset[str]:
        """Return the optional fields that a server has refused before."""
        return self._refused.get(base_url, frozenset())

    def refuses(self, base_url: str, field: str) -> None:
        """Remember that a server refuses an optional field."""
        if len(self._refused) >= _REMEMBERED_SERVERS:
            self._refused.clear()
        self._refused[base_url] = self.refused_by(base_url) | {field}


class Sending:
    """One request; ``headers`` are those of the last answer to it, names in lower case.

    ``free`` says that nothing has been spent on it: it was refused, or has never arrived.
    """

    def __init__(self, client: httpx.AsyncClient, endpoint: Endpoint, patience: float) -> None:
        self._client = client
        self._endpoint = endpoint
        self._patience = patience
        self.headers: Mapping[str, str] = {}
        self.free = True

    async def accepted(
        self,
        write: Write,
        provider: Provider,
        context: CallContext,
        known: tuple[Refusers, str] | None = None,
    ) -> httpx.Response:
        """Return the response whose body is still to be read.

        ``known`` holds who refuses optional fields, and the address of this server among them.

        Raises:
            ProviderFaultError: the provider refused, or did not begin within ``patience`` seconds.
            ProblemError: the request must not be sent there, or not with these credentials.
        """
        optional = self._endpoint.optional if known else frozenset[str]()
        without = known[0].refused_by(known[1]) if known else frozenset[str]()
        renewed = False
        while True:
            outgoing = await write(without)
            try:
                return await self._send(outgoing, may_refuse=optional - without)
            except _FieldRefusedError as refused:
                if known is not None:
                    known[0].refuses(known[1], refused.field)
                without |= {refused.field}
            except ProviderFaultError as refused:
                if renewed or not is_unauthenticated(refused.problem):
                    raise
                renewed = await self._endpoint.renewed(provider, outgoing, context)
                if not renewed:
                    raise

    async def _send(self, outgoing: Outgoing, *, may_refuse: frozenset[str]) -> httpx.Response:
        request = _request(self._client, outgoing)
        self.free = False
        try:
            with anyio.fail_after(self._patience):
                response = await self._client.send(request, stream=True)
        except TimeoutError:
            message = f"The provider did not begin in {self._patience:g} s."
            raise fault("timeout", message) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self.free = True
            raise broken(error) from None
        except httpx.TransportError as error:
            raise broken(error) from None
        except ProblemError:
            self.free = True
            raise
        self.headers = {name.lower(): text for name, text in response.headers.items()}
        if response.is_success and _is_encoded(response):
            await response.aclose()
            raise fault("provider_error", _COMPRESSED, retryable=False)
        if response.is_success:
            return response
        self.free = True
        raise await _refused(response, may_refuse)


class _FieldRefusedError(Exception):
    """The server refuses an optional field, with nothing else known to be wrong."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def _request(client: httpx.AsyncClient, outgoing: Outgoing) -> httpx.Request:
    try:
        return client.build_request(
            "POST", outgoing.url, content=outgoing.body, headers=outgoing.headers
        )
    except httpx.InvalidURL:
        raise problem("validation", "This is no URL.", field="provider.base_url") from None


async def _refused(response: httpx.Response, may_refuse: frozenset[str]) -> Exception:
    """Read an error answer, of bounded length and for a bounded time, and say what it means."""
    try:
        # A compressed body is not read: the status is the main thing.
        body = b"" if _is_encoded(response) else await _error_body(response)
    finally:
        await response.aclose()
    if response.status_code in _REFUSING_A_FIELD:
        for field in sorted(may_refuse):
            if field.encode() in body:
                return _FieldRefusedError(field)
    headers = {name.lower(): text for name, text in response.headers.items()}
    return ProviderFaultError(refusal(response.status_code, headers, body))


async def _error_body(response: httpx.Response) -> bytes:
    read: ReadBody = response.extensions["read"]
    body = b""
    try:
        with anyio.move_on_after(_ERROR_BODY_SECONDS):
            while len(body) < _ERROR_BODY_BYTES and (chunk := await read()):
                body += chunk
    except httpx.TransportError:
        # What has come is enough: the status is the main thing.
        return body
    return body


def _is_encoded(response: httpx.Response) -> bool:
    encoding: str = response.headers.get("content-encoding", "")
    return encoding.strip().lower() not in {"", "identity"}


def broken(error: httpx.TransportError) -> ProviderFaultError:
    """Say what a failed connection means."""
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return fault("unavailable", "The provider cannot be reached.")
        case httpx.ReadTimeout():
            return fault("timeout", "The provider fell silent.")
        case httpx.UnsupportedProtocol():
            return fault("validation", "The base URL cannot be called.", retryable=False)
        case _:
            return fault("provider_error", "The provider broke the connection.")
