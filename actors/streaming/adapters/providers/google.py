"""Google's Gemini, by the Gemini API with a key, or by Vertex AI with a token.

What a secret for Vertex AI holds tells itself: an access token, or a service account's key, for
which tokens are fetched.
"""

from actors.streaming.adapters.endpoint import Address, CallContext, Outgoing, own, resolved
from actors.streaming.adapters.google_tokens import GoogleTokens
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.config import StreamingConfig
from actors.streaming.core.google.service_account import TOKEN_URI, ServiceAccount
from bus.security.secrets import Secrets
from schemas.providers import Google

_CONTINENTS = frozenset({"us", "eu"})


class GoogleEndpoint(HttpEndpoint[Google]):
    """Reaches Gemini with ``x-goog-api-key``, and Vertex AI with a bearer token."""

    def __init__(self, secrets: Secrets, config: StreamingConfig, tokens: GoogleTokens) -> None:
        super().__init__(secrets, config)
        self._tokens = tokens

    def _address(self, provider: Google) -> Address:
        if provider.project is None:
            return super()._address(provider)
        return own(_vertex(provider.location), "vertex", provider.base_url, provider.secret)

    async def _credentials(
        self, provider: Google, key: str, context: CallContext
    ) -> dict[str, str]:
        if provider.project is None:
            return {"x-goog-api-key": key}
        account = await self._account(provider, key, context)
        if account is not None:
            key = await self._tokens.token(account)
        return await super()._credentials(provider, key, context)

    async def renewed(self, provider: Google, refused: Outgoing, context: CallContext) -> bool:
        """See ``HttpEndpoint.renewed``: for a service account there is another token to be had."""
        key = self._key(provider, context)
        if provider.project is None or key is None:
            return False
        account = await self._account(provider, key, context)
        if account is None:
            return False
        self._tokens.forget(account, refused.headers["authorization"].removeprefix("Bearer "))
        return True

    async def _account(
        self, provider: Google, key: str, context: CallContext
    ) -> ServiceAccount | None:
        account = await self._tokens.account(key)
        if account is not None and account.token_uri != TOKEN_URI:
            # What is signed with the key goes there, so that the operator's map must allow it too.
            token_server = self._address(provider)._replace(base_url=account.token_uri)
            resolved(self._secrets, token_server, context)
        return account


def _vertex(location: str) -> str:
    """Return Vertex AI's address: the world's, a continent's, or a region's."""
    if location == "global":
        host = "aiplatform.googleapis.com"
    elif location in _CONTINENTS:
        host = f"aiplatform.{location}.rep.googleapis.com"
    else:
        host = f"{location}-aiplatform.googleapis.com"
    return f"https://{host}/v1beta1"
