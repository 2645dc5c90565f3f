"""Anthropic's own service, and servers that speak its format at a ``base_url``."""

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
from actors.streaming.core.wires.anthropic import request as messages
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from bus.secrets import Secrets
from schemas.llm import GenerateRequest
from schemas.providers import Anthropic

VERSION = "2023-06-01"
"""The version of the format; features in trial are switched on by a definition's headers."""


class AnthropicEndpoint:
    """Reaches Anthropic with a key in ``x-api-key``."""

    optional: frozenset[str] = frozenset()

    def __init__(self, secrets: Secrets, config: StreamingConfig) -> None:
        self._secrets = secrets
        self._config = config

    def base_url(self, request: GenerateRequest) -> str:
        """Return the server's address."""
        return self._address(meant(request, Anthropic)).base_url

    async def outgoing(
        self, request: GenerateRequest, context: CallContext, without: frozenset[str]
    ) -> Outgoing:
        """Write the request."""
        del without
        provider = meant(request, Anthropic)
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        # Some name the address with the version of the API, as for OpenAI, and some without.
        path = "messages" if address.base_url.rstrip("/").endswith("/v1") else "v1/messages"
        url = joined(address.base_url, path)
        return post(url, messages.body(request), headers, provider.headers)

    async def addressed(
        self, provider: Any, path: str, body: Mapping[str, Any], context: CallContext
    ) -> Outgoing:
        """Write another JSON request."""
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        url = joined(address.base_url, path)
        return post(url, body, headers, provider.headers, accept="application/json")

    def reader(self, request: GenerateRequest) -> Reader[Any]:
        """Return the reader of Messages events."""
        return MessagesReader(request)

    def _address(self, provider: Anthropic) -> Address:
        usual = self._config.anthropic_base_url
        return own(usual, "anthropic", provider.base_url, provider.secret)
