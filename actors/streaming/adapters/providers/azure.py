"""Azure OpenAI: OpenAI's formats under a resource of the customer's own.

Two generations of paths: ``/openai/v1/…``, where the deployment is the body's model, and the dated
ones, where it is part of the path and an ``api-version`` goes along.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from actors.streaming.adapters.endpoint import CallContext, Outgoing, joined
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.core.spoken import Spoken, by_dialect
from actors.streaming.core.wires.openai_chat import request as chat
from schemas.providers import Azure

_DATED = by_dialect(chat.AZURE_DATED)


class AzureEndpoint(HttpEndpoint[Azure]):
    """Reaches resources of Azure OpenAI by ``api-key`` or bearer token."""

    def _spoken(self, provider: Azure) -> Spoken:
        dated = provider.api_version is not None and provider.api == "chat"
        return _DATED if dated else super()._spoken(provider)

    def _url(self, provider: Azure, path: str) -> str:
        return url_of(provider, self._address(provider).base_url, path)

    async def _credentials(self, provider: Azure, key: str, context: CallContext) -> dict[str, str]:
        if provider.auth == "api_key":
            return {"api-key": key}
        return await super()._credentials(provider, key, context)

    async def _written(
        self, provider: Azure, path: str, body: Mapping[str, Any], context: CallContext, accept: str
    ) -> Outgoing:
        """Write a request; a deployment is its body's model."""
        named = {**body, "model": _deployment(provider)}
        return await super()._written(provider, path, named, context, accept)


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
