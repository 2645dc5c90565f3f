"""AWS Bedrock: ConverseStream for all models, InvokeModelWithResponseStream for four families.

Requests are signed (Signature Version 4), or carry a Bedrock API key. In an invocation travels a
vendor's own format: Anthropic's, OpenAI's Chat Completions, or Amazon's for Nova and Titan.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from actors.streaming.adapters.endpoint import Address, CallContext, Outgoing, own, resolved
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.config import StreamingConfig
from actors.streaming.core.aws.framings import (
    InvokeFraming,
    NovaFraming,
    anthropic_usage,
    chat_usage,
)
from actors.streaming.core.aws.sigv4 import Credentials, CredentialScope, Signable, sign
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.spoken import Spoken
from actors.streaming.core.wires.anthropic import request as anthropic
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse import request as converse
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.titan import request as titan
from actors.streaming.core.wires.titan.reader import TitanReader
from bus.errors import problem
from bus.ports import Clock
from bus.security.secrets import Secrets
from schemas.llm import GenerateRequest, ImageUrl
from schemas.providers import Bedrock, Family, family_of, region_of

API_KEY = "bedrock"
ACCESS_KEY_ID = "aws_access_key_id"
SECRET_ACCESS_KEY = "aws_secret_access_key"
SESSION_TOKEN = "aws_session_token"

_ACCEPT = "application/vnd.amazon.eventstream"
_STAND_INS_REGION = "us-east-1"
"""What is signed for a server at a ``base_url`` where nobody names a region."""

_ANTHROPIC_VERSION = "bedrock-2023-05-31"
_OURS_ALONE = frozenset({"model", "stream"})
"""What Anthropic and OpenAI want in the body and Bedrock in the path."""


class BedrockEndpoint(HttpEndpoint[Bedrock]):
    """Reaches Bedrock in a region, or what stands in for it at a ``base_url``."""

    def __init__(self, secrets: Secrets, config: StreamingConfig, clock: Clock) -> None:
        super().__init__(secrets, config)
        self._clock = clock

    def _address(self, provider: Bedrock) -> Address:
        return Address(provider.base_url or _usual(self._region(provider)), None)

    def _spoken(self, provider: Bedrock) -> Spoken:
        spoken = _spoken(provider)
        path = f"model/{quote(provider.model, safe='-._~')}/{spoken.path}"
        return spoken._replace(path=path)

    async def _written(
        self,
        provider: Bedrock,
        path: str,
        body: Mapping[str, Any],
        context: CallContext,
        accept: str,
    ) -> Outgoing:
        """Write a request, and sign it unless an API key goes along."""
        outgoing = await super()._written(provider, path, body, context, accept)
        if self._key(provider, context) is not None:
            return outgoing
        credentials = self._signer(provider, context)
        return outgoing if credentials is None else self._signed(outgoing, credentials, provider)

    def _signed(self, outgoing: Outgoing, credentials: Credentials, provider: Bedrock) -> Outgoing:
        covered = {
            name: text
            for name, text in outgoing.headers.items()
            if name == "content-type" or name.startswith("x-amz")
        }
        request = Signable("POST", outgoing.url, covered, outgoing.body)
        scope = CredentialScope(self._region(provider), "bedrock")
        added = sign(request, credentials, scope, self._clock())
        return outgoing._replace(headers={**outgoing.headers, **added})

    def _key(self, provider: Bedrock, context: CallContext) -> str | None:
        """Return the API key that is named, or else the operator's, if there is one."""
        if provider.access_key_id or provider.secret_access_key:
            return None
        name = API_KEY if self._secrets.holds(API_KEY, context.tenant) else None
        return self._resolved(provider, name, provider.secret, context)

    def _secret_of(self, provider: Bedrock, context: CallContext) -> str | None:
        """Return the API key's name, or that of the key that signs."""
        usual = _usual(self._region(provider))
        if not (provider.access_key_id or provider.secret_access_key):
            name = API_KEY if self._secrets.holds(API_KEY, context.tenant) else None
            if key := own(usual, name, provider.base_url, provider.secret).secret:
                return key
        return own(usual, ACCESS_KEY_ID, provider.base_url, provider.access_key_id).secret

    def _signer(self, provider: Bedrock, context: CallContext) -> Credentials | None:
        """Return the keys that are named, or else the operator's. None for a server without any."""
        named = provider.access_key_id or provider.secret_access_key
        token = SESSION_TOKEN if self._secrets.holds(SESSION_TOKEN, context.tenant) else None
        key_id = self._resolved(provider, ACCESS_KEY_ID, provider.access_key_id, context)
        key = self._resolved(provider, SECRET_ACCESS_KEY, provider.secret_access_key, context)
        session = self._resolved(
            provider, None if named else token, provider.session_token, context
        )
        return Credentials(key_id, key, session) if key_id and key else None

    def _resolved(
        self, provider: Bedrock, own_name: str | None, named: str | None, context: CallContext
    ) -> str | None:
        address = own(_usual(self._region(provider)), own_name, provider.base_url, named)
        return resolved(self._secrets, address, context)

    def _region(self, provider: Bedrock) -> str:
        """Return the region that is named, the one of the model's ARN, or the operator's.

        Raises:
            ProblemError: ``validation``, there is none, and it decides where the request goes.
        """
        region = provider.region or region_of(provider.model) or self._config.aws_region
        if region is None and provider.base_url is not None:
            return _STAND_INS_REGION
        if region is None:
            reason = "Name a region: this process has no AWS_REGION."
            raise problem("validation", reason, field="provider.region")
        return region


def _usual(region: str) -> str:
    """Return Bedrock's address in a region; China's have a domain of their own."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://bedrock-runtime.{region}.{domain}"


def _spoken(provider: Bedrock) -> Spoken:
    """Return what is spoken, whose path is the operation that follows the model's."""
    if provider.api == "converse":
        return _CONVERSE
    family = family_of(provider.model)
    return _INVOKE[family] if family is not None else _UNSPOKEN


def _unspoken(_request: GenerateRequest) -> dict[str, Any]:
    reason = "Of this model only Converse is spoken here: leave out provider.api."
    raise problem("validation", reason, field="provider.api")


def _anthropic_body(request: GenerateRequest) -> dict[str, Any]:
    if any(isinstance(part, ImageUrl) for one in request.messages for part in one.parts):
        reason = "Bedrock takes images within the message only, not by their address."
        raise problem("validation", reason, field="messages")
    return {"anthropic_version": _ANTHROPIC_VERSION, **_within(anthropic.body(request))}


def _chat_body(request: GenerateRequest) -> dict[str, Any]:
    return _within(chat.body(request, chat.BEDROCK))


def _within(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _OURS_ALONE}


def _anthropic_reader(request: GenerateRequest) -> Reader[Any]:
    return MessagesReader(request, framing=InvokeFraming(anthropic_usage))


def _chat_reader(request: GenerateRequest) -> Reader[Any]:
    return ChatReader(request, framing=InvokeFraming(chat_usage))


def _nova_reader(request: GenerateRequest) -> Reader[Any]:
    return ConverseReader(request, NovaFraming())


_CONVERSE = Spoken("converse-stream", converse.body, ConverseReader, _ACCEPT)
_UNSPOKEN = Spoken("", _unspoken, ConverseReader)
_OPERATION = "invoke-with-response-stream"
_INVOKE: dict[Family, Spoken] = {
    "anthropic.": Spoken(_OPERATION, _anthropic_body, _anthropic_reader, _ACCEPT),
    "amazon.nova": Spoken(_OPERATION, converse.nova, _nova_reader, _ACCEPT),
    "openai.": Spoken(_OPERATION, _chat_body, _chat_reader, _ACCEPT),
    "amazon.titan": Spoken(_OPERATION, titan.body, TitanReader, _ACCEPT),
}
