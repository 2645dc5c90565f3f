"""One request on its way to a provider, until the provider begins to answer it.

It is sent again without a field that the server refuses, or with a newer token where the one it
went with is refused. Everything else is left to who has asked.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import httpx
import msgspec

from actors.streaming.adapters.endpoint import CallContext, Outgoing
from actors.streaming.adapters.http import ONCE, ReadBody
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.core.errors.faults import (
    ProviderFaultError,
    fault,
    is_unauthenticated,
    refusal,
)
from actors.streaming.core.errors.misdirected import misdirected
from actors.streaming.core.resilience.memory import ResilienceMemory
from bus.errors import ProblemError, problem
from bus.tasks import loop_time
from schemas.providers import Provider

_ERROR_BODY_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 5.0

_REFUSING_A_FIELD = frozenset({400, 422})

Write = Callable[[frozenset[str]], Awaitable[Outgoing]]
"""Writes the request anew, without the optional fields named."""


_COMPRESSED = "The provider has compressed its answer, which nobody asked for."


class Refusers:
    """Which optional fields the servers refuse, as each tenant has found by asking without them."""

    def __init__(self) -> None:
        self._memory: ResilienceMemory[frozenset[str]] = ResilienceMemory()

    def refused_by(self, provider: Provider, context: CallContext) -> frozenset[str]:
        """Return the optional fields that a tenant's endpoint is known to refuse."""
        name = msgspec.json.encode(provider)
        known = self._memory.find(context.tenant, name, loop_time())
        return known or frozenset()

    def refuses(self, provider: Provider, context: CallContext, fields: frozenset[str]) -> None:
        """Remember that a tenant's endpoint has answered without these fields, and not with."""
        name = msgspec.json.encode(provider)
        self._memory.note(context.tenant, name, fields, loop_time())


class Sending:
    """One request; ``headers`` are those of the last answer to it, names in lower case.

    ``free`` says that nothing has been spent on it: it was refused, or has never arrived.
    """

    def __init__(
        self, client: httpx.AsyncClient, endpoint: HttpEndpoint[Any], patience: float
    ) -> None:
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
        refusers: Refusers | None = None,
    ) -> httpx.Response:
        """Return the response whose body is still to be read.

        ``refusers`` are known to refuse optional fields; without it there are none.

        Raises:
            ProviderFaultError: the provider refused, or did not begin within ``patience`` seconds.
            ProblemError: the request must not be sent there, or not with these credentials.
        """
        optional = self._endpoint.optional if refusers else frozenset[str]()
        known = refusers.refused_by(provider, context) if refusers else frozenset[str]()
        without, renewed = known, False
        while True:
            outgoing = await write(without)
            try:
                response = await self._send(outgoing, may_refuse=optional - without)
            except _FieldRefusedError as refused:
                without |= {refused.field}
            except ProviderFaultError as refused:
                if renewed or not is_unauthenticated(refused.problem):
                    raise
                renewed = await self._endpoint.renewed(provider, outgoing, context)
                if not renewed:
                    raise
            else:
                if refusers is not None and without != known:
                    # Only now it is certain that the field was the reason.
                    refusers.refuses(provider, context, without)
                return response

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
        elsewhere = misdirected(response.status_code, self.headers)
        if elsewhere is not None:
            self.free = True
            await response.aclose()
            raise ProviderFaultError(elsewhere)
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
        request = client.build_request(
            outgoing.method, outgoing.url, content=outgoing.body, headers=outgoing.headers
        )
    except httpx.InvalidURL:
        raise problem("validation", "This is no URL.", field="provider.base_url") from None
    if outgoing.once:
        request.extensions[ONCE] = True
    return request


async def _refused(response: httpx.Response, may_refuse: frozenset[str]) -> Exception:
    """Read an error answer, of bounded length and for a bounded time, and say what it means."""
    try:
        # A compressed body is not read: the status is the main thing.
        body = b"" if _is_encoded(response) else await _error_body(response)
    finally:
        await response.aclose()
    if response.status_code in _REFUSING_A_FIELD:
        for field in sorted(may_refuse):
            if _names(body, field):
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


def _names(body: bytes, field: str) -> bool:
    """Say whether a text names this very field, and not one whose name holds it."""
    return re.search(rb"(?<![\w-])" + re.escape(field.encode()) + rb"(?![\w-])", body) is not None


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
