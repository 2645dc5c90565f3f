"""OpenAI Chat Completions over HTTP: OpenAI itself, Groq, and every server that speaks the same."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import anyio
import httpx

from actors.streaming.adapters.http import ReadBody
from actors.streaming.adapters.providers.base import CallContext
from actors.streaming.config import StreamingConfig
from actors.streaming.core import chat_request
from actors.streaming.core.chat_completions import ChatReader
from actors.streaming.core.deltas import Delta
from actors.streaming.core.faults import ProviderFaultError, fault, refusal
from actors.streaming.core.sse import EventTooLargeError, SseParser
from bus.errors import ProblemError, problem
from bus.secrets import Secrets
from schemas.llm import Answer, GenerateRequest
from schemas.providers import Custom, Groq, OpenAI
from schemas.usage import Usage

_ERROR_BODY_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 5.0

_DRAIN_SECONDS = 0.05
"""How long to wait, after the answer, for the last bytes that make a connection reusable."""

_REMEMBERED_ENDPOINTS = 1024

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_OUR_HEADERS = frozenset({"connection", "content-length", "host", "te", "transfer-encoding"})


class Endpoint(NamedTuple):
    """Where a request goes, with what headers and which secret."""

    base_url: str
    headers: Mapping[str, str]
    secret: str | None


class OpenAIChat:
    """Calls Chat Completions servers with one HTTP client for all of them."""

    def __init__(
        self, client: httpx.AsyncClient, secrets: Secrets, config: StreamingConfig
    ) -> None:
        self.client = client
        self.secrets = secrets
        self.config = config
        self._refusing_options: set[str] = set()

    def status(self, request: GenerateRequest) -> str:
        """Name the model, and the settings it would not take."""
        omitted = chat_request.omitted(request)
        without = f" without {', '.join(omitted)}, which it does not take" if omitted else ""
        return f"Asking {request.provider.model}{without}"

    def call(self, request: GenerateRequest, context: CallContext) -> "ChatCall":
        """Prepare a call."""
        return ChatCall(self, request, context)

    def endpoint(self, request: GenerateRequest) -> Endpoint:
        """Say where a request goes.

        OpenAI's and Groq's own secrets are the default for their own hosts only: a definition that
        names another host gets no key unless it names a secret, too.
        """
        match request.provider:
            case OpenAI(base_url=url, secret=secret):
                return _own(self.config.openai_base_url, "openai", url, secret)
            case Groq(base_url=url, secret=secret):
                return _own(self.config.groq_base_url, "groq", url, secret)
            case Custom(base_url=url, headers=headers, secret=secret):
                return Endpoint(url, headers, secret)
            case _:
                raise problem("validation", "This provider speaks otherwise.", field="provider")

    def takes_stream_options(self, base_url: str) -> bool:
        """Whether the server has not refused ``stream_options`` yet."""
        return base_url not in self._refusing_options

    def refuses_stream_options(self, base_url: str) -> None:
        """Remember that the server knows no ``stream_options``."""
        if len(self._refusing_options) >= _REMEMBERED_ENDPOINTS:
            self._refusing_options.clear()
        self._refusing_options.add(base_url)


class ChatCall:
    """One call; see ``ModelCall``."""

    def __init__(self, chat: OpenAIChat, request: GenerateRequest, context: CallContext) -> None:
        self._chat = chat
        self._request = request
        self._context = context
        self._parser = SseParser()
        self._reader = ChatReader(request)
        self._response: httpx.Response | None = None
        self._free = True
        self._ended = False

    async def __aenter__(self) -> Self:
        """Send the request; returns when the provider has accepted it."""
        try:
            endpoint = self._chat.endpoint(self._request)
            self._response = await self._accepted(endpoint)
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
        if self._ended:
            return None
        try:
            chunk = await self._chunk()
            deltas = self._reader.feed(self._parser.feed(chunk))
        except EventTooLargeError:
            raise fault(
                "provider_error", "The provider sent an event beyond all bounds.", retryable=False
            ) from None
        if chunk and not self._reader.done:
            return deltas
        self._ended = True
        return deltas + self._reader.finish(self._parser.finish())

    def answer(self) -> Answer:
        """Return the whole answer."""
        return self._reader.answer()

    def spent(self) -> Usage | None:
        """Return what is known, or estimated, of a call that the provider may have begun."""
        return None if self._free else self._reader.spent()

    async def _chunk(self) -> bytes:
        """Read from the socket; b"" at the end, which silence is too once the answer is whole."""
        if not self._reader.whole:
            return await self._next_bytes()
        with anyio.move_on_after(self._chat.config.trailing_timeout):
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
            raise _broken(error) from None

    async def _accepted(self, endpoint: Endpoint) -> httpx.Response:
        """Send the request, once more without stream options where the server refuses those."""
        with_options = self._chat.takes_stream_options(endpoint.base_url)
        try:
            return await self._send(endpoint, with_options=with_options)
        except _OptionsRefusedError:
            self._chat.refuses_stream_options(endpoint.base_url)
            return await self._send(endpoint, with_options=False)

    async def _send(self, endpoint: Endpoint, *, with_options: bool) -> httpx.Response:
        request = self._http_request(endpoint, with_options=with_options)
        patience = self._chat.config.first_byte_timeout
        self._free = False
        try:
            with anyio.fail_after(patience):
                response = await self._chat.client.send(request, stream=True)
        except TimeoutError:
            raise fault("timeout", f"The provider did not begin in {patience:g} s.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._free = True
            raise _broken(error) from None
        except httpx.TransportError as error:
            raise _broken(error) from None
        except ProblemError:
            self._free = True
            raise
        if response.is_success:
            return response
        self._free = True
        raise await _refused(response, with_options=with_options)

    def _http_request(self, endpoint: Endpoint, *, with_options: bool) -> httpx.Request:
        body = chat_request.build(self._request, stream_options=with_options)
        url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        headers = httpx.Headers(_checked(endpoint.headers))
        headers["content-type"] = "application/json"
        headers["accept"] = "text/event-stream"
        if endpoint.secret is not None:
            key = self._chat.secrets.resolve(endpoint.secret, url, self._context.tenant)
            headers["authorization"] = f"Bearer {key}"
        try:
            return self._chat.client.build_request("POST", url, content=body, headers=headers)
        except httpx.InvalidURL:
            raise problem("validation", "This is no URL.", field="provider.base_url") from None


class _OptionsRefusedError(Exception):
    """The server refuses the field ``stream_options``, with nothing else known to be wrong."""


async def _refused(response: httpx.Response, *, with_options: bool) -> Exception:
    """Read an error answer, of bounded length and for a bounded time, and say what it means."""
    body = await _error_body(response)
    if with_options and response.status_code in {400, 422} and b"stream_options" in body:
        return _OptionsRefusedError()
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


def _own(base_url: str, own_secret: str, url: str | None, secret: str | None) -> Endpoint:
    target = url or base_url
    is_own_host = urlsplit(target).netloc == urlsplit(base_url).netloc
    return Endpoint(target, {}, secret or (own_secret if is_own_host else None))


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise problem("validation", "This header cannot be set.", field="provider.headers")
        if not _HEADER_VALUE.fullmatch(text):
            reason = "A header holds printable ASCII characters only."
            raise problem("validation", reason, field=f"provider.headers.{name}")
    return headers


def _broken(error: httpx.TransportError) -> ProviderFaultError:
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return fault("unavailable", "The provider cannot be reached.")
        case httpx.ReadTimeout():
            return fault("timeout", "The provider fell silent.")
        case httpx.UnsupportedProtocol():
            return fault("validation", "The base URL cannot be called.", retryable=False)
        case _:
            return fault("provider_error", "The provider broke the connection.")
