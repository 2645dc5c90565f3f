"""OpenAI and the servers that speak its formats: its own, Groq's, and every compatible one."""

from collections.abc import Mapping
from typing import Any

from actors.streaming.adapters.endpoint import (
    Address,
    CallContext,
    Outgoing,
    joined,
    own,
    post,
    resolved,
)
from actors.streaming.config import StreamingConfig
from actors.streaming.core.reader import Reader
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses import request as responses
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from bus.errors import problem
from bus.secrets import Secrets
from schemas.llm import GenerateRequest
from schemas.providers import Custom, Groq, OpenAI


class OpenAIEndpoint:
    """Reaches OpenAI, Groq and custom servers with a bearer key."""

    optional = frozenset({chat.STREAM_OPTIONS})

    def __init__(self, secrets: Secrets, config: StreamingConfig) -> None:
        self._secrets = secrets
        self._config = config

    def base_url(self, request: GenerateRequest) -> str:
        """Return the server's address."""
        return self._address(_provider(request)).base_url

    async def outgoing(
        self, request: GenerateRequest, context: CallContext, without: frozenset[str]
    ) -> Outgoing:
        """Write the request."""
        provider = _provider(request)
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        credentials = {"authorization": f"Bearer {key}"} if key else {}
        if _speaks_responses(provider):
            path, body = "responses", responses.body(request, without)
        else:
            path, body = "chat/completions", chat.body(request, _dialect(provider), without)
        return post(joined(address.base_url, path), body, credentials, provider.headers)

    def reader(self, request: GenerateRequest) -> Reader[Any]:
        """Return the reader of the format that is spoken."""
        provider = _provider(request)
        if _speaks_responses(provider):
            return ResponsesReader(request)
        return ChatReader(request, done_suffices=_dialect(provider).done_suffices)

    async def addressed(
        self, provider: Any, path: str, body: Mapping[str, Any], context: CallContext
    ) -> Outgoing:
        """Write another JSON request."""
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        credentials = {"authorization": f"Bearer {key}"} if key else {}
        url = joined(address.base_url, path)
        return post(url, body, credentials, provider.headers, accept="application/json")

    def _address(self, provider: OpenAI | Groq | Custom) -> Address:
        match provider:
            case OpenAI(base_url=url, secret=secret):
                return own(self._config.openai_base_url, "openai", url, secret)
            case Groq(base_url=url, secret=secret):
                return own(self._config.groq_base_url, "groq", url, secret)
            case Custom(base_url=url, secret=secret):
                return Address(url, secret)


def _speaks_responses(provider: OpenAI | Groq | Custom) -> bool:
    return not isinstance(provider, Groq) and provider.api == "responses"


def _dialect(provider: OpenAI | Groq | Custom) -> chat.Dialect:
    match provider:
        case OpenAI():
            return chat.OPENAI
        case Groq():
            return chat.GROQ
        case Custom():
            return chat.COMPATIBLE


def _provider(request: GenerateRequest) -> OpenAI | Groq | Custom:
    if isinstance(request.provider, OpenAI | Groq | Custom):
        return request.provider
    raise problem("validation", "This provider is reached otherwise.", field="provider")
