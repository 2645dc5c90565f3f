"""Ollama: on this machine, elsewhere, or its makers' own service."""

from actors.streaming.adapters.endpoint import Address, own
from actors.streaming.adapters.http_endpoint import HttpEndpoint, Spoken
from actors.streaming.core.wires.ollama import request as ollama
from actors.streaming.core.wires.ollama.reader import OllamaReader
from schemas.providers import Ollama

SERVICE = "https://ollama.com"
"""The only place that needs a key."""

_BODIES = {"chat": ollama.chat, "generate": ollama.generate}


class OllamaEndpoint(HttpEndpoint[Ollama]):
    """Reaches an Ollama server, with a bearer key where one is named."""

    SERVES = (Ollama,)

    def _address(self, provider: Ollama) -> Address:
        url = provider.base_url or self._config.urls["ollama"]
        return own(SERVICE, "ollama", url, provider.secret)

    def _spoken(self, provider: Ollama) -> Spoken:
        path, body = f"api/{provider.api}", _BODIES[provider.api]
        return Spoken(path, body, OllamaReader, accept="application/x-ndjson")
