"""Azure OpenAI: OpenAI's formats under a resource of the customer's own.

Two generations of paths: ``/openai/v1/…``, where the deployment is the body's model, and the dated
ones, where it is part of the path and an ``api-version`` goes along.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses import request as responses
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from bus.errors import problem
from bus.secrets import Secrets
from schemas.llm import GenerateRequest
from schemas.providers import Azure


class AzureEndpoint:
    """Reaches resources of Azure OpenAI by ``api-key`` or bearer token."""

    optional = frozenset({chat.STREAM_OPTIONS})

    def __init__(self, secrets: Secrets, config: StreamingConfig) -> None:
        self._secrets = secrets
        self._config = config

    def base_url(self, request: GenerateRequest) -> str:
        """Return the resource's address."""
        return self._address(meant(request, Azure)).base_url

    async def outgoing(
        self, request: GenerateRequest, context: CallContext, without: frozenset[str]
    ) -> Outgoing:
        """Write the request."""
        provider = meant(request, Azure)
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        return post(
            url_of(provider, address.base_url, operation_of(provider)),
            _body(request, provider, without) | {"model": _deployment(provider)},
            _credentials(provider, key),
            provider.headers,
        )

    def reader(self, request: GenerateRequest) -> Reader[Any]:
        """Return the reader of the format that is spoken."""
        if meant(request, Azure).api == "responses":
            return ResponsesReader(request)
        return ChatReader(request)

    async def addressed(
        self, provider: Any, path: str, body: Mapping[str, Any], context: CallContext
    ) -> Outgoing:
        """Write another JSON request; a deployment is its body's model."""
        address = self._address(provider)
        key = resolved(self._secrets, address, context)
        return post(
            url_of(provider, address.base_url, path),
            {**body, "model": _deployment(provider)},
            _credentials(provider, key),
            provider.headers,
            accept="application/json",
        )

    def _address(self, provider: Azure) -> Address:
        usual = self._config.azure_base_url
        if usual is None and provider.base_url is None:
            reason = "Azure needs the address of a resource."
            raise problem("validation", reason, field="provider.base_url")
        return own(usual or "", "azure", provider.base_url, provider.secret)


def operation_of(provider: Azure) -> str:
    """Return what is asked for an answer."""
    return "responses" if provider.api == "responses" else "chat/completions"


def url_of(provider: Azure, base_url: str, path: str) -> str:
    """Return the URL of an operation; the address may be given with or without its usual path."""
    base = base_url.rstrip("/")
    if provider.api_version is None:
        if not base.endswith("/v1"):
            base = joined(base.removesuffix("/openai"), "openai/v1")
        return joined(base, path)
    root = joined(base.removesuffix("/v1").removesuffix("/openai"), "openai")
    if path != "responses":
        path = f"deployments/{quote(_deployment(provider), safe='')}/{path}"
    return f"{joined(root, path)}?api-version={provider.api_version}"


def _deployment(provider: Azure) -> str:
    return provider.deployment or provider.model


def _body(request: GenerateRequest, provider: Azure, without: frozenset[str]) -> dict[str, Any]:
    if provider.api == "responses":
        return responses.body(request, without)
    return chat.body(request, chat.AZURE_DATED if provider.api_version else chat.OPENAI, without)


def _credentials(provider: Azure, key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {"api-key": key} if provider.auth == "api_key" else {"authorization": f"Bearer {key}"}
