"""The endpoints that are asked by JSON over HTTP, as the specs of their providers say.

A provider's spec says where it is, what is spoken there, and with which credentials. What differs
besides, such as a signature, is written over the step that makes it (``adapters.providers``).
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urlsplit

from actors.streaming.adapters.endpoint import (
    Address,
    CallContext,
    Outgoing,
    beside,
    joined,
    post,
    resolved,
)
from actors.streaming.config import StreamingConfig
from actors.streaming.core.batches.form import BatchForm, Step
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.spoken import BATCHING, Spoken, spoken
from actors.streaming.core.wires.openai_chat.request import STREAM_OPTIONS
from bus.errors import ProblemError, problem
from bus.security.secrets import Secrets
from schemas.llm import GenerateRequest
from schemas.provider_specs import spec_of
from schemas.providers import Provider, Remote, path_fault

P = TypeVar("P", bound=Remote)


_OF_A_STREAM = frozenset({"stream", "stream_options"})


class HttpEndpoint(Generic[P]):
    """How providers are reached that are as their specs say, and which wire format is spoken there.

    A key goes along as a bearer token. One object serves a whole process. A request's settings fit
    its model already.
    """

    optional: frozenset[str] = frozenset({STREAM_OPTIONS})
    """Fields of the body that a server may refuse, and that are then left out for it."""

    def __init__(self, secrets: Secrets, config: StreamingConfig) -> None:
        self._secrets = secrets
        self._config = config

    # What a kind of provider may do otherwise

    def _address(self, provider: P) -> Address:
        """Return the server, and the name of its key.

        The operator's secret is the default for its own hosts only, or those of the usual address:
        a definition that names another host gets no key unless it names a secret, too.

        Raises:
            ProblemError: ``validation``, nobody says where the provider is.
        """
        spec, remote = spec_of(cast("Provider", provider)), cast("Any", provider)
        usual = self._config.urls.get(spec.name)
        url: str | None = remote.base_url or usual
        if url is None:
            reason = f"The provider {spec.name} needs the address of a server."
            raise problem("validation", reason, field="provider.base_url")
        if remote.secret is not None or not spec.secrets:
            return Address(url, remote.secret)
        first = spec.secrets[0]
        hosts = first.hosts or ((urlsplit(usual).netloc,) if usual else ())
        return Address(url, first.name if urlsplit(url).netloc in hosts else None)

    def _spoken(self, provider: P) -> Spoken:
        """Return what is spoken there."""
        return spoken(provider)

    def _url(self, provider: P, path: str) -> str:
        return joined(self._address(provider).base_url, path)

    async def _credentials(self, provider: P, key: str, context: CallContext) -> dict[str, str]:
        """Return the headers that carry a key."""
        del provider, context
        return {"authorization": f"Bearer {key}"}

    # The steps that are the same everywhere

    def base_url(self, request: GenerateRequest) -> str:
        """Return the address of the server that is meant."""
        return self._address(cast("P", request.provider)).base_url

    def settled(self, request: GenerateRequest) -> GenerateRequest:
        """Return the request with what the server's address decides, before it is fitted."""
        return request

    async def outgoing(
        self, request: GenerateRequest, context: CallContext, without: frozenset[str]
    ) -> Outgoing:
        """Write the request, without the optional fields named; fetch a token for it if need be.

        Raises:
            ProblemError: a key is missing or must not go there, a header cannot be set.
            ProviderFaultError: the wire format cannot say what the request says.
        """
        provider = cast("P", request.provider)
        spoken = self._spoken(provider)
        written = spoken.body(request)
        body = {name: value for name, value in written.items() if name not in without}
        return await self._written(provider, spoken.path, body, context, spoken.accept)

    def whole(self, request: GenerateRequest) -> dict[str, Any]:
        """Return the body that asks for a whole answer in place of a stream.

        Raises:
            ProviderFaultError: the wire format cannot say what the request says.
        """
        written = self._spoken(cast("P", request.provider)).body(request)
        return {name: value for name, value in written.items() if name not in _OF_A_STREAM}

    async def addressed(
        self, provider: Any, path: str, body: Mapping[str, Any], context: CallContext
    ) -> Outgoing:
        """Write another JSON request to the same server with the same credentials.

        Raises:
            ProblemError: as ``outgoing``.
        """
        return await self._written(provider, path, body, context, "application/json")

    def reader(self, request: GenerateRequest) -> Reader[Any]:
        """Return what reads the answer."""
        return self._spoken(cast("P", request.provider)).reader(request)

    def batching(self, provider: Any) -> BatchForm | None:
        """Return how batches are made there; None where there are none, or none that is known."""
        form = spec_of(provider).batches
        return None if form is None else BATCHING[form](self._spoken(provider).path)

    async def stepped(self, provider: Any, step: Step, context: CallContext) -> Outgoing:
        """Write a request of a batch's life, with the same credentials as a single request.

        Raises:
            ProblemError: as ``outgoing``.
        """
        ours = {"accept": "application/json", **await self._headers(provider, context)}
        if step.method == "POST":
            ours["content-type"] = step.content_type
        url, headers = self._url(provider, step.path), beside(provider.headers, ours)
        return Outgoing(url, headers, step.content, step.method, step.once)

    def is_foreign(self, provider: Any, context: CallContext) -> bool:
        """Say whether no secret of the operator goes along, so that he does not pay for the call.

        What such a host tells of its usage is the word of a stranger.
        """
        try:
            name = self._secret_of(provider, context)
        except ProblemError:
            # Without an address nothing is sent at all.
            return True
        return name is None or not self._secrets.is_operators(name)

    def _secret_of(self, provider: P, context: CallContext) -> str | None:
        """Return the name of the secret that goes along, None where none does."""
        del context
        return self._address(provider).secret

    async def renewed(self, provider: Any, refused: Outgoing, context: CallContext) -> bool:
        """Say whether the same request can be written with newer credentials than were refused."""
        del provider, refused, context
        return False

    async def _written(
        self, provider: P, path: str, body: Mapping[str, Any], context: CallContext, accept: str
    ) -> Outgoing:
        field = path_fault(provider)
        if field is not None:
            reason = f"This is no name of a {field}."
            raise problem("validation", reason, field=f"provider.{field}")
        headers = await self._headers(provider, context)
        return post(self._url(provider, path), body, headers, provider.headers, accept=accept)

    async def _headers(self, provider: P, context: CallContext) -> dict[str, str]:
        key = self._key(provider, context)
        return {} if key is None else await self._credentials(provider, key, context)

    def _key(self, provider: P, context: CallContext) -> str | None:
        """Return the key that is named, or else the operator's; None where none is needed.

        Raises:
            ProblemError: as ``Secrets.resolve``.
        """
        return resolved(self._secrets, self._address(provider), context)
