"""Anthropic's own service, and servers that speak its format at a ``base_url``."""

from typing import cast

import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.core.spoken import Spoken
from schemas.llm import GenerateRequest
from schemas.providers import Anthropic


class AnthropicEndpoint(HttpEndpoint[Anthropic]):
    """Reaches Anthropic, under the version of the format that the definition or the host decides.

    Features in trial are switched on by a definition's headers.
    """

    def settled(self, request: GenerateRequest) -> GenerateRequest:
        """See ``HttpEndpoint.settled``: the version depends on where the request really goes."""
        provider = cast("Anthropic", request.provider)
        chosen = msgspec.structs.replace(provider, api_version=self._versioned(provider).version())
        return msgspec.structs.replace(request, provider=chosen)

    def _spoken(self, provider: Anthropic) -> Spoken:
        # Some name the address with the version of the API, as for OpenAI, and some without.
        told = super()._spoken(provider)
        versioned = self._address(provider).base_url.rstrip("/").endswith("/v1")
        return told._replace(path="messages") if versioned else told

    async def _headers(self, provider: Anthropic, context: CallContext) -> dict[str, str]:
        version = self._versioned(provider).version()
        return {"anthropic-version": version, **await super()._headers(provider, context)}

    async def _credentials(
        self, provider: Anthropic, key: str, context: CallContext
    ) -> dict[str, str]:
        del context
        usual = "bearer" if self._versioned(provider).version() == "2026-10-21" else "api_key"
        if (provider.auth or usual) == "bearer":
            return {"authorization": f"Bearer {key}"}
        return {"x-api-key": key}

    def _versioned(self, provider: Anthropic) -> Anthropic:
        """Return the provider at its real address: the operator's usual one may be a gateway."""
        url = provider.base_url or self._config.urls["anthropic"]
        return msgspec.structs.replace(provider, base_url=url)
