"""One call of a model over HTTP, whatever the wire format and wherever it goes.

The time-outs: ``connect``, first byte (status line), idle (nothing at all comes), progress (only
signs of life come), trailing (after the answer is settled) and, around it all, the deadline of the
work, which is the caller's.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http import ReadBody
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.adapters.sending import Refusers, Sending, broken
from actors.streaming.config import StreamingConfig
from actors.streaming.core.deltas import Delta
from actors.streaming.core.errors.faults import (
    ProviderFaultError,
    error_in,
    failure_in_stream,
    fault,
)
from actors.streaming.core.resilience.keys import concerns_the_key
from actors.streaming.core.writing.fitting import fit
from bus.errors import ProblemError
from bus.tasks import loop_time
from schemas.llm import Answer, GenerateRequest
from schemas.usage import Usage

_HEAD_BYTES = 64 * 1024
"""Of a body that is no stream: enough to read the error that it may be."""

_JSON = frozenset({b"{", b"["})

MAX_SILENT_BYTES = 8 * 1024 * 1024 + _HEAD_BYTES
"""What may come without an event: the largest event that is read, and some signs of life."""

MAX_CALL_BYTES = 256 * 1024 * 1024
"""What may come in all; the largest answers have a tenth of it."""

_DRAIN_SECONDS = 0.05
"""How long to wait, after the answer, for the last bytes that make a connection reusable."""


class HttpProvider:
    """Calls the models of one kind of provider; see ``ModelProvider``."""

    def __init__(
        self, client: httpx.AsyncClient, endpoint: HttpEndpoint[Any], config: StreamingConfig
    ) -> None:
        self.client = client
        self.endpoint = endpoint
        self.config = config
        self.refusers = Refusers()

    def status(self, request: GenerateRequest) -> str:
        """Name the model, what it is not sent, and that a batch takes its time."""
        fitted = fit(self.endpoint.settled(request))
        left_out = [warning.field.removeprefix("config.") for warning in fitted.warnings]
        without = f" without {', '.join(left_out)}, which it does not take" if left_out else ""
        batch = " in a batch, which may take a day" if request.batch else ""
        return f"Asking {request.provider.model}{without}{batch}"

    def call(self, request: GenerateRequest, context: CallContext) -> "HttpCall":
        """Prepare a call."""
        return HttpCall(self, request, context)


class HttpCall:
    """One call; see ``ModelCall``."""

    def __init__(
        self, provider: HttpProvider, request: GenerateRequest, context: CallContext
    ) -> None:
        self._provider = provider
        self._fitted = fit(provider.endpoint.settled(request))
        self._request = self._fitted.request
        self._context = context
        self._reader = provider.endpoint.reader(self._request)
        self._sending = Sending(
            provider.client, provider.endpoint, provider.config.first_byte_timeout
        )
        self._response: httpx.Response | None = None
        self._more: ReadBody = _nothing
        self._over = False
        self._head = b""
        self._steps = 0
        self._bytes = 0
        self._bytes_at_step = 0
        self._stuck_since: float | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """See ``ModelCall.headers``."""
        return self._sending.headers

    @property
    def foreign(self) -> bool:
        """See ``ModelCall.foreign``."""
        return self._provider.endpoint.is_foreign(self._request.provider, self._context)

    async def __aenter__(self) -> Self:
        """Send the request; returns when the provider has accepted it."""
        if self._fitted.problem is not None:
            raise ProviderFaultError(self._fitted.problem)
        endpoint = self._provider.endpoint
        try:
            self._response = await self._sending.accepted(
                lambda without: endpoint.outgoing(self._request, self._context, without),
                self._request.provider,
                self._context,
                self._provider.refusers,
            )
        except ProblemError as error:
            raise ProviderFaultError(error.problem) from None
        self._more = self._response.extensions["read"]
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
        reader = self._reader
        chunk = b""
        if not reader.done:
            try:
                chunk = await (self._trailing() if reader.settled else self._more())
            except httpx.TransportError as error:
                chunk = self._after(error)
            deltas = reader.feed(chunk)
            self._watch(chunk)
            if deltas or not reader.done:
                return deltas
        self._over = True
        if reader.steps == 0 and chunk and self._head.lstrip()[:1] in _JSON:
            await self._bare()
        return self._finished()

    def answer(self) -> Answer:
        """Return the whole answer, with what was done otherwise than asked."""
        answer = self._reader.answer()
        if not self._fitted.warnings:
            return answer
        warnings = [*self._fitted.warnings, *answer.warnings]
        return msgspec.structs.replace(answer, warnings=warnings)

    def spent(self) -> Usage | None:
        """Return what is known, or estimated, of a call that the provider may have begun."""
        return None if self._sending.free else self._reader.spent()

    # Reading

    async def _trailing(self) -> bytes:
        """Read on behind a settled answer, where silence is the end too."""
        with anyio.move_on_after(self._provider.config.trailing_timeout):
            return await self._more()
        return b""

    def _after(self, error: httpx.TransportError) -> bytes:
        """Take the loss of the connection for the end of a settled answer; else it is a fault."""
        if self._reader.settled:
            return b""
        raise broken(error) from None

    def _watch(self, chunk: bytes) -> None:
        """Demand that there is progress; the clock is only asked while there is none."""
        if self._steps == 0 and len(self._head) < _HEAD_BYTES:
            self._head += chunk
        self._bytes += len(chunk)
        if self._reader.steps != self._steps:
            self._steps, self._stuck_since = self._reader.steps, None
            self._bytes_at_step = self._bytes
            if self._bytes > MAX_CALL_BYTES:
                raise fault("provider_error", _TOO_MUCH, retryable=False)
            return
        if self._bytes - self._bytes_at_step > MAX_SILENT_BYTES:
            raise fault("provider_error", _TOO_MUCH, retryable=False)
        now = loop_time()
        self._stuck_since = self._stuck_since or now
        if now - self._stuck_since > self._provider.config.progress_timeout:
            raise fault("timeout", "The provider only signals that it is alive.")

    async def _bare(self) -> None:
        """Read on where a framing has given up at once: the whole body may be a JSON error."""
        try:
            with anyio.move_on_after(self._provider.config.trailing_timeout):
                while len(self._head) < _HEAD_BYTES and (chunk := await self._more()):
                    self._head += chunk
        except httpx.TransportError:
            # What has come may be enough.
            return

    def _finished(self) -> list[Delta]:
        """Return what is left, or raise what went wrong, also where it came as a bare JSON body."""
        try:
            return self._reader.finish()
        except ProviderFaultError as refused:
            # A body that is one JSON object was read as an event, and was no answer.
            error = error_in(self._head) if self._reader.silent else None
            problem = refused.problem if error is None else failure_in_stream(error)
        # A refusal is free under whatever status it comes, if nothing was said before it.
        self._sending.free = self._reader.silent and concerns_the_key(problem)
        raise ProviderFaultError(problem)


_TOO_MUCH = "The provider's stream breaks all bounds."


async def _nothing() -> bytes:
    return b""


async def _drain(response: httpx.Response) -> None:
    read: ReadBody = response.extensions["read"]
    try:
        with anyio.move_on_after(_DRAIN_SECONDS):
            await read()
    except httpx.TransportError:
        return
