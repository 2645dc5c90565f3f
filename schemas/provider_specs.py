"""What is known of each provider in one place: addresses, variables, secrets, continuation. Pure.

How it is spoken with is its wire format, in the actor that calls it; what its models take and
refuse is in ``schemas.capabilities``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from schemas.providers import (
    Anthropic,
    Azure,
    BaseUrl,
    Bedrock,
    Custom,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
    Scripted,
)
from schemas.settings import env_each

Window = Literal["book", "num_ctx", "unknown"]
"""Who tells how large a model's window is: the rate book, the definition's ``num_ctx``, nobody."""


class SecretSpec(NamedTuple):
    """A secret that the operator gives in a variable, and the hosts to which it may go.

    Without hosts these are the host of the provider's address. ``doc`` says more of what it is.
    """

    name: str
    variable: str
    hosts: tuple[str, ...] = ()
    doc: str = ""


class ProviderSpec(NamedTuple):
    """What is known of a provider.

    ``url`` is where definitions without a ``base_url`` go, unless ``variable`` says otherwise.
    ``continues`` are the models, matched from the beginning of the name, that write on from a
    conversation which ends with the assistant's words; others answer anew, or refuse it.
    """

    kind: type[Provider]
    url: str | None = None
    variable: str | None = None
    secrets: tuple[SecretSpec, ...] = ()
    continues: re.Pattern[str] | None = None
    window: Window = "book"

    @property
    def name(self) -> str:
        """The type that a definition names."""
        return str(self.kind.__struct_config__.tag)


_ALL = re.compile("")

_VERTEX_PLACES = (
    "aiplatform.googleapis.com",
    "*-aiplatform.googleapis.com",
    "aiplatform.us.rep.googleapis.com",
    "aiplatform.eu.rep.googleapis.com",
)
_VERTEX_HOSTS = tuple(f"{host}/{path}" for host in _VERTEX_PLACES for path in ("v1", "v1beta1"))
"""A token of Google's is good for all its services, and so goes to this one alone."""

_BEDROCK_HOSTS = ("bedrock-runtime.*.amazonaws.com", "bedrock-runtime.*.amazonaws.com.cn")
"""Anybody can have a host in AWS's domain, but none of that name."""

SPECS = (
    ProviderSpec(
        OpenAI,
        "https://api.openai.com/v1",
        "OPENAI_BASE_URL",
        (SecretSpec("openai", "OPENAI_API_KEY"),),
    ),
    ProviderSpec(
        Anthropic,
        "https://api.anthropic.com",
        "ANTHROPIC_BASE_URL",
        (SecretSpec("anthropic", "ANTHROPIC_API_KEY"),),
        # Opus 4.6 and later refuse a conversation that ends with the assistant.
        re.compile(r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:-\d{8})?\Z)"),
    ),
    # Anybody can have a resource at Azure, so its key goes to the operator's alone.
    ProviderSpec(
        Azure,
        None,
        "AZURE_OPENAI_ENDPOINT",
        (SecretSpec("azure", "AZURE_OPENAI_API_KEY", doc=", for AZURE_OPENAI_ENDPOINT"),),
    ),
    ProviderSpec(
        Groq,
        "https://api.groq.com/openai/v1",
        "GROQ_BASE_URL",
        (SecretSpec("groq", "GROQ_API_KEY"),),
        _ALL,
    ),
    ProviderSpec(
        Google,
        "https://generativelanguage.googleapis.com/v1beta",
        secrets=(
            SecretSpec("google", "GOOGLE_API_KEY", doc=", for Gemini"),
            SecretSpec(
                "vertex",
                "GOOGLE_APPLICATION_CREDENTIALS",
                _VERTEX_HOSTS,
                ", for Vertex AI: an access token, or a service account's key as the path of its "
                "file or as its JSON in base64",
            ),
        ),
    ),
    ProviderSpec(
        Bedrock,
        secrets=(
            SecretSpec("bedrock", "AWS_BEARER_TOKEN_BEDROCK", _BEDROCK_HOSTS, ", an API key"),
            SecretSpec("aws_access_key_id", "AWS_ACCESS_KEY_ID", _BEDROCK_HOSTS),
            SecretSpec("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", _BEDROCK_HOSTS),
            SecretSpec("aws_session_token", "AWS_SESSION_TOKEN", _BEDROCK_HOSTS),
        ),
    ),
    ProviderSpec(
        Ollama,
        "http://127.0.0.1:11434",
        "OLLAMA_BASE_URL",
        # Its servers need no key, but for the service of its makers.
        (SecretSpec("ollama", "OLLAMA_API_KEY", ("ollama.com",), ", for ollama.com"),),
        _ALL,
        "num_ctx",
    ),
    ProviderSpec(Custom, window="unknown"),
    ProviderSpec(Scripted, window="unknown"),
)
"""All providers, in the order in which their settings are listed."""

BY_KIND = {spec.kind: spec for spec in SPECS}


ProviderUrls = Annotated[
    dict[str, BaseUrl],
    env_each(
        {spec.name: spec.variable for spec in SPECS if spec.variable is not None},
        "base URL of `{}` agents that name none",
    ),
]
"""A setting: where each provider's definitions go that name no address."""


def usual_urls() -> dict[str, str]:
    """Return where each provider's definitions go that name no address, by provider."""
    return {spec.name: spec.url for spec in SPECS if spec.url is not None}


def secret_hosts(urls: Mapping[str, str]) -> Iterator[tuple[SecretSpec, tuple[str, ...]]]:
    """Yield each provider's secrets with the hosts they may go to, by the providers' addresses.

    A secret of what has no address until the operator gives one may go nowhere, and is left out.
    """
    for spec in SPECS:
        url = urls.get(spec.name)
        for secret in spec.secrets:
            if secret.hosts:
                yield secret, secret.hosts
            elif url:
                yield secret, (urlsplit(url).netloc.rpartition("@")[2],)


def usual_hosts(urls: Mapping[str, str]) -> frozenset[str]:
    """Return the hosts to which a definition's request takes a secret that it does not name.

    Where clouds are reached is known by their domains.
    """
    hosts = (host for _, some in secret_hosts(urls) for host in some)
    return frozenset(host for host in hosts if "*" not in host and "/" not in host)
