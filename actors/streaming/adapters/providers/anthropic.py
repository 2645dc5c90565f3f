"""Anthropic's own service, and servers that speak its format at a ``base_url``."""

from actors.streaming.adapters.endpoint import Address, CallContext, own
from actors.streaming.adapters.http_endpoint import HttpEndpoint, Spoken
from actors.streaming.core.batches.anthropic import AnthropicBatches
from actors.streaming.core.batches.form import BatchForm
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.anthropic.request import body
from schemas.providers import Anthropic

VERSION = "2023-06-01"
"""The version of the format; features in trial are switched on by a definition's headers."""


class AnthropicEndpoint(HttpEndpoint[Anthropic]):
    """Reaches Anthropic with a key in ``x-api-key``."""

    SERVES = (Anthropic,)

    def _address(self, provider: Anthropic) -> Address:
        usual = self._config.anthropic_base_url
        return own(usual, "anthropic", provider.base_url, provider.secret)

    def _spoken(self, provider: Anthropic) -> Spoken:
        # Some name the address with the version of the API, as for OpenAI, and some without.
        versioned = self._address(provider).base_url.rstrip("/").endswith("/v1")
        return Spoken("messages" if versioned else "v1/messages", body, MessagesReader)

    def batching(self, provider: Anthropic) -> BatchForm:
        """See ``Endpoint.batching``."""
        return AnthropicBatches(self._spoken(provider).path)

    async def _headers(self, provider: Anthropic, context: CallContext) -> dict[str, str]:
        return {"anthropic-version": VERSION, **await super()._headers(provider, context)}

    async def _credentials(
        self, provider: Anthropic, key: str, context: CallContext
    ) -> dict[str, str]:
        del provider, context
        return {"x-api-key": key}
