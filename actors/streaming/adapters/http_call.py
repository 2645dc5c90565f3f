"""One call of a model over HTTP, whatever the wire format and wherever it goes.

The time-outs: ``connect``, first byte (status line), idle (nothing at all comes), progress (only
signs of life come), trailing (after the answer is whole) and, around it all, the deadline of the
work, which is the caller's.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import anyio
import httpx
import msgspec

from actors.streaming.adapters.endpoint import CallContext, Endpoint, Outgoing
from actors.streaming.adapters.http import ReadBody
from actors.streaming.config import StreamingConfig
from actors.streaming.core.deltas import Delta
from actors.streaming.core.faults import (
    ProviderFaultError,
    error_in,
    failure_in_stream,
    fault,
    is_unauthenticated,
    refusal,
)
from actors.streaming.core.fitting import fit
from bus.errors import ProblemError, problem
from schemas.llm import Answer, GenerateRequest
from schemas.usage import Usage

_ERROR_BODY_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 5.0

_DRAIN_SECONDS = 0.05
"""How long to wait, after the answer, for the last bytes that make a connection reusable."""

_REMEMBERED_SERVERS = 1024
_REFUSING_A_FIELD = frozenset({400, 422})


class HttpProvider:
    """Calls the models of one kind of provider; see ``ModelProvider``."""

    def __init__(
        self, client: httpx.AsyncClient, endpoint: Endpoint, config: StreamingConfig
    ) -> None:
        self.client = client
        self.endpoint = endpoint
        self.config = config
        self._refused: dict[str, frozenset[str]] = {}

    def status(self, request: GenerateRequest) -> str:
        """Name the model, and what it is not sent."""
        left_out = [warning.field.removeprefix("config.") for warning in fit(request).warnings]
        without = f" without {', '.join(left_out)}, which it does not take" if left_out else ""
        return f"Asking {request.provider.model}{without}"

    def call(self, request: GenerateRequest, context: CallContext) -> "HttpCall":
        """Prepare a call."""
        return HttpCall(self, request, context)

    def refused_by(self, base_url: str) -> frozenset[str]:
        """Return the optional fields that a server has refused before."""
        return self._refused.get(base_url, frozenset())

    def refuses(self, base_url: str, field: str) -> None:
        """Remember that a server refuses an optional field."""
        if len(self._refused) >= _REMEMBERED_SERVERS:
            self._refused.clear()
        self._refused[base_url] = self.refused_by(base_url) | {field}


class HttpCall:
    """One call; see ``ModelCall``."""

    def __init__(
        self, provider: HttpProvider, request: GenerateRequest, context: CallContext
    ) -> None:
        self._provider = provider
        self._fitted = fit(request)
        self._request = self._fitted.request
        self._context = context
        self._reader = provider.endpoint.reader(self._request)
        self._response: httpx.Response | None = None
        self.headers: Mapping[str, str] = {}
        self._free = True
        self._over = False
        self._head = b""
        self._steps = 0
        self._stuck_since: float | None = None

    async def __aenter__(self) -> Self:
        """Send the request; returns when the provider has accepted it."""
        if self._fitted.problem is not None:
            raise ProviderFaultError(self._fitted.problem)
        try:
            self._response = await self._accepted()
        except ProblemError as error:
            raise ProviderFaultError(error.problem) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection, or give it back where the stream is at its end."""
        if self._response is None:
            return
        if kind is None and self._reader.done:
            await _drain(self._response)
        await self._response.aclose()

    async def read(self) -> list[Delta] | None:
        """Return what one read of the socket brought."""
        if self._over:
            return None
        if not self._reader.done:
            chunk = await (self._trailing() if self._reader.whole else self._next_bytes())
            deltas = self._reader.feed(chunk)
            self._watch(chunk)
            if deltas or not self._reader.done:
                return deltas
        self._over = True
        return self._finished()

    def answer(self) -> Answer:
        """Return the whole answer, with what was done otherwise than asked."""
        answer = self._reader.answer()
        if not self._fitted.warnings:
            return answer
        return msgspec.structs.replace(answer, warnings=list(self._fitted.warnings))

    def spent(self) -> Usage | None:
        """Return what is known, or estimated, of a call that the provider may have begun."""
        return None if self._free else self._reader.spent()

    # Reading

    async def _trailing(self) -> bytes:
        """Read on behind a whole answer, where silence is the end too."""
        with anyio.move_on_after(self._provider.config.trailing_timeout):
            return await self._next_bytes()
        return b""

    async def _next_bytes(self) -> bytes:
        if self._response is None:
            return b""
        read: ReadBody = self._response.extensions["read"]
        try:
            return await read()
        except httpx.TransportError as error:
            if self._reader.whole:
                return b""
            raise broken(error) from None

    def _watch(self, chunk: bytes) -> None:
        """Demand that there is progress; the clock is only asked while there is none."""
        if self._reader.steps == 0 and len(self._head) < _ERROR_BODY_BYTES:
            self._head += chunk
        if self._reader.steps != self._steps:
            self._steps, self._stuck_since = self._reader.steps, None
            return
        now = anyio.current_time()
        self._stuck_since = self._stuck_since or now
        if now - self._stuck_since > self._provider.config.progress_timeout:
            raise fault("timeout", "The provider only signals that it is alive.")

    def _finished(self) -> list[Delta]:
        """Return what is left, or raise what went wrong, also where it came as a bare JSON body."""
        try:
            return self._reader.finish()
        except ProviderFaultError:
            error = error_in(self._head) if self._reader.steps == 0 else None
            if error is None:
                raise
        raise ProviderFaultError(failure_in_stream(error))

    # Sending

    async def _accepted(self) -> httpx.Response:
        """Send the request; again without a field, or with a newer token, where that is refused."""
        endpoint = self._provider.endpoint
        base_url = endpoint.base_url(self._request)
        without = self._provider.refused_by(base_url)
        renewed = False
        while True:
            outgoing = await endpoint.outgoing(self._request, self._context, without)
            try:
                return await self._send(outgoing, may_refuse=endpoint.optional - without)
            except _FieldRefusedError as refused:
                self._provider.refuses(base_url, refused.field)
                without |= {refused.field}
            except ProviderFaultError as refused:
                if renewed or not is_unauthenticated(refused.problem):
                    raise
                provider = self._request.provider
                renewed = await endpoint.renewed(provider, outgoing, self._context)
                if not renewed:
                    raise

    async def _send(self, outgoing: Outgoing, *, may_refuse: frozenset[str]) -> httpx.Response:
        request = request_of(self._provider.client, outgoing)
        patience = self._provider.config.first_byte_timeout
        self._free = False
        try:
            with anyio.fail_after(patience):
                response = await self._provider.client.send(request, stream=True)
        except TimeoutError:
            raise fault("timeout", f"The provider did not begin in {patience:g} s.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._free = True
            raise broken(error) from None
        except httpx.TransportError as error:
            raise broken(error) from None
        except ProblemError:
            self._free = True
            raise
        self.headers = {name.lower(): text for name, text in response.headers.items()}
        if response.is_success:
            return response
        self._free = True
        raise await _refused(response, may_refuse)


class _FieldRefusedError(Exception):
    """The server refuses an optional field, with nothing else known to be wrong."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def request_of(client: httpx.AsyncClient, outgoing: Outgoing) -> httpx.Request:
    """Return the request as the client sends it.

    Raises:
        ProblemError: ``validation``, its address is none.
    """
    try:
        return client.build_request(
            "POST", outgoing.url, content=outgoing.body, headers=outgoing.headers
        )
    except httpx.InvalidURL:
        raise problem("validation", "This is no URL.", field="provider.base_url") from None


async def refused_for_good(response: httpx.Response) -> Exception:
    """Read an error answer and say what it means."""
    return await _refused(response, frozenset())


async def _refused(response: httpx.Response, may_refuse: frozenset[str]) -> Exception:
    """Read an error answer, of bounded length and for a bounded time, and say what it means."""
    body = await _error_body(response)
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
    finally:
        await response.aclose()
    return body


async def _drain(response: httpx.Response) -> None:
    read: ReadBody = response.extensions["read"]
    try:
        with anyio.move_on_after(_DRAIN_SECONDS):
            await read()
    except httpx.TransportError:
        return


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
