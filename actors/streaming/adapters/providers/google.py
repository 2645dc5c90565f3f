"""Google's Gemini, by the Gemini API with a key, or by Vertex AI with a token.

What a secret for Vertex AI holds tells itself: an access token, or a service account's key, for
which tokens are fetched.
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
from actors.streaming.adapters.google_tokens import GoogleTokens
from actors.streaming.config import StreamingConfig
from actors.streaming.core.reader import Reader
from actors.streaming.core.wires.gemini import request as gemini
from actors.streaming.core.wires.gemini.reader import GeminiReader
from bus.errors import problem
from bus.secrets import Secrets
from schemas.llm import GenerateRequest
from schemas.providers import Google

_METHOD = "streamGenerateContent?alt=sse"
_CONTINENTS = frozenset({"us", "eu"})


class GoogleEndpoint:
    """Reaches Gemini with ``x-goog-api-key``, and Vertex AI with a bearer token."""

    optional: frozenset[str] = frozenset()

    def __init__(self, secrets: Secrets, config: StreamingConfig, tokens: GoogleTokens) -> None:
        self._secrets = secrets
        self._config = config
        self._tokens = tokens

    def base_url(self, request: GenerateRequest) -> str:
        """Return the server's address."""
        return self._address(meant(request, Google)).base_url

    async def outgoing(
        self, request: GenerateRequest, context: CallContext, without: frozenset[str]
    ) -> Outgoing:
        """Write the request, with a token that is good for some minutes."""
        del without
        provider = meant(request, Google)
        address = self._address(provider)
        return post(
            joined(address.base_url, _path(provider)),
            gemini.body(request),
            await self._credentials(provider, address, context),
            provider.headers,
        )

    def reader(self, request: GenerateRequest) -> Reader[Any]:
        """Return the reader of Gemini's chunks."""
        return GeminiReader(request)

    async def addressed(
        self, provider: Any, path: str, body: Mapping[str, Any], context: CallContext
    ) -> Outgoing:
        """Write another JSON request."""
        address = self._address(provider)
        credentials = await self._credentials(provider, address, context)
        url = joined(address.base_url, path)
        return post(url, body, credentials, provider.headers, accept="application/json")

    async def _credentials(
        self, provider: Google, address: Address, context: CallContext
    ) -> dict[str, str]:
        key = resolved(self._secrets, address, context)
        if key is None:
            return {}
        if provider.project is None:
            return {"x-goog-api-key": key}
        account = await self._tokens.account(key)
        if account is not None:
            # What is signed with the key goes there, so that the operator's map must allow it too.
            resolved(self._secrets, address._replace(base_url=account.token_uri), context)
            key = await self._tokens.token(account)
        return {"authorization": f"Bearer {key}"}

    def _address(self, provider: Google) -> Address:
        if provider.project is None:
            return own(self._config.google_base_url, "google", provider.base_url, provider.secret)
        return own(_vertex(provider.location), "vertex", provider.base_url, provider.secret)


def _vertex(location: str) -> str:
    """Return Vertex AI's address: the world's, a continent's, or a region's."""
    if location == "global":
        host = "aiplatform.googleapis.com"
    elif location in _CONTINENTS:
        host = f"aiplatform.{location}.rep.googleapis.com"
    else:
        host = f"{location}-aiplatform.googleapis.com"
    return f"https://{host}/v1beta1"


def _path(provider: Google) -> str:
    """Return the path of a model. A name with slashes is a path of its own, as tuned models have.

    Raises:
        ProblemError: ``validation``, it leads elsewhere.
    """
    name = provider.model
    if ".." in name.split("/"):
        raise problem("validation", "This is no name of a model.", field="provider.model")
    name = quote(name, safe="/@")
    if provider.project is None:
        return f"{name if '/' in name else f'models/{name}'}:{_METHOD}"
    place = f"projects/{quote(provider.project, safe='')}/locations/{provider.location}"
    return f"{place}/{name if '/' in name else f'publishers/google/models/{name}'}:{_METHOD}"
