"""Ollama: on this machine, elsewhere, or its makers' own service."""

from collections.abc import Mapping
from typing import Any

from actors.streaming.adapters.endpoint import (
    Address,
    CallContext,
    Outgoing,
    joined,
    meant,
    own,
    post,
    resolved,
)
from actors.streaming.config import StreamingConfig
from actors.streaming.core.reader import Reader
from actors.streaming.core.wires.ollama import request as ollama
from actors.streaming.core.wires.ollama.reader import OllamaReader
from bus.secrets import Secrets
from schemas.llm import GenerateRequest
from schemas.providers import Ollama

SERVICE = "https://ollama.com"
"""The only place that needs a key."""

_BODIES = {"chat": ollama.chat, "generate": ollama.generate}


class OllamaEndpoint:
    """Reaches an Ollama server, with a bearer key where one is named."""

    optional: frozenset[str] = frozenset()

    def __init__(self, secrets: Secrets, config: StreamingConfig) -> None:
        self._secrets = secrets
        self._config = config

    def base_url(self, request: GenerateRequest) -> str:
        """Return the server's address."""
        return self._address(meant(request, Ollama)).base_url

    async def outgoing(
        self, request: GenerateRequest, context: CallContext, without: frozenset[str]
    ) -> Outgoing:
        """Write the request."""
        del without
        provider = meant(request, Ollama)
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        return post(
            joined(address.base_url, f"api/{provider.api}"),
            _BODIES[provider.api](request),
            {"authorization": f"Bearer {key}"} if key else {},
            provider.headers,
            accept="application/x-ndjson",
        )

    def reader(self, request: GenerateRequest) -> Reader[Any]:
        """Return the reader of Ollama's lines."""
        return OllamaReader(request)

    async def addressed(
        self, provider: Any, path: str, body: Mapping[str, Any], context: CallContext
    ) -> Outgoing:
        """Write another JSON request."""
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        credentials = {"authorization": f"Bearer {key}"} if key else {}
        url = joined(address.base_url, path)
        return post(url, body, credentials, provider.headers, accept="application/json")

    def _address(self, provider: Ollama) -> Address:
        url = provider.base_url or self._config.ollama_base_url
        return own(SERVICE, "ollama", url, provider.secret)
