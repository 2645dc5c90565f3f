"""What is known of each provider, in one place: all that is not its type or its wire format. Pure.

A new provider is a type in ``schemas.providers``, a ``ProviderSpec`` here, and a wire format in
``actors.streaming.core.wires`` unless it speaks one that is there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from schemas.capabilities.anthropic import CLAUDE_RULES
from schemas.capabilities.clouds import BEDROCK_RULES, GEMINI_RULES, OLLAMA_RULES
from schemas.capabilities.openai import GROQ_RULES, OPENAI_RULES
from schemas.capabilities.rule import CapabilityRule, models
from schemas.llm import Wire
from schemas.provider_checks import Fault, bedrock_check, google_check, ollama_check
from schemas.providers import (
    Anthropic,
    Azure,
    BaseUrl,
    Bedrock,
    Custom,
    Family,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
    Scripted,
    family_of,
)
from schemas.settings import env_each

Window = Literal["book", "num_ctx", "unknown"]
"""Who tells how large a model's window is: the rate book, the definition's ``num_ctx``, nobody."""

ChatDialect = Literal["openai", "azure", "groq", "compatible"]
"""How a server differs from others that speak Chat Completions."""

Embeds = Literal["openai", "google", "bedrock", "ollama"]
Batches = Literal["openai", "anthropic"]


class SecretSpec(NamedTuple):
    """A secret that the operator gives in a variable, and the hosts to which it may go.

    Without hosts these are the host of the provider's address. ``doc`` says more of what it is.
    """

    name: str
    variable: str
    hosts: tuple[str, ...] = ()
    doc: str = ""


def _by_api(provider: Any) -> Wire:
    return "openai_responses" if getattr(provider, "api", "") == "responses" else "openai_chat"


def _unchecked(_provider: Any, *, tools: bool) -> Fault:
    del tools
    return None


class ProviderSpec(NamedTuple):
    """What is known of a provider; the defaults are those of a server compatible with OpenAI's.

    What it says does not depend on a definition, but for ``wire`` and ``check``, which take the
    provider that one names.
    """

    kind: type[Provider]

    url: str | None = None
    """Where definitions without a ``base_url`` go, unless ``variable`` says otherwise."""

    variable: str | None = None

    secrets: tuple[SecretSpec, ...] = ()
    """The first goes along with requests to its hosts that name no secret of their own."""

    wire: Callable[[Any], Wire | None] = _by_api
    """The format that is spoken; None where nothing is sent."""

    dialect: ChatDialect = "compatible"

    embeds: Embeds | None = "openai"
    """The format of embeddings, None if there are none."""

    batches: Batches | None = None
    """The batch API that is spoken, None if there is none."""

    continues: re.Pattern[str] | None = None
    """The models, matched from the beginning of the name, that write on from a conversation which
    ends with the assistant's words; others answer anew, or refuse it."""

    window: Window = "book"

    rules: tuple[CapabilityRule, ...] = ()
    """What its models refuse of the settings."""

    blind: re.Pattern[str] | None = None
    """Models that are known to see no images."""

    is_limited: bool = False
    """Whether its own service refuses more output than the model is known to write."""

    is_cold: bool = False
    """Whether it loads a model while the request waits, which takes minutes."""

    check: Callable[..., Fault] = _unchecked
    """``check(provider, tools=…)`` says what is wrong with how a definition names it, if it has
    tools or not."""

    is_sold_by_address: bool = True
    """Whether an address that the rate book knows tells who is paid, more than the type does."""

    is_exact: bool = False
    """Whether the model's name in a definition says more of its price than the one that served: an
    inference profile of Bedrock, a zone of Azure."""

    @property
    def name(self) -> str:
        """The type that a definition names."""
        return str(self.kind.__struct_config__.tag)


def _always(wire: Wire | None) -> Callable[[Any], Wire | None]:
    return lambda _provider: wire


_INVOKED: dict[Family, Wire] = {
    "anthropic.": "anthropic",
    "amazon.nova": "converse",
    "amazon.titan": "titan",
    "openai.": "openai_chat",
}


def _of_bedrock(provider: Bedrock) -> Wire:
    family = family_of(provider.model) if provider.api == "invoke" else None
    return "converse" if family is None else _INVOKED[family]


_ALL = re.compile("")

_UNSEEING_GPT = models(r"gpt-3|gpt-4(?:-\d{4}(?!\d))?$|gpt-4-32k|o1-mini|o1-preview|o3-mini")
_UNSEEING_CLAUDE = r"claude-(?:2|v2|instant)"

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
        dialect="openai",
        batches="openai",
        rules=OPENAI_RULES,
        blind=_UNSEEING_GPT,
        is_limited=True,
    ),
    ProviderSpec(
        Anthropic,
        "https://api.anthropic.com",
        "ANTHROPIC_BASE_URL",
        (SecretSpec("anthropic", "ANTHROPIC_API_KEY"),),
        wire=_always("anthropic"),
        embeds=None,
        batches="anthropic",
        rules=CLAUDE_RULES,
        blind=models(_UNSEEING_CLAUDE),
        is_limited=True,
        # Opus 4.6 and later refuse a conversation that ends with the assistant.
        continues=re.compile(r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:-\d{8})?\Z)"),
    ),
    # Anybody can have a resource at Azure, so its key goes to the operator's alone.
    ProviderSpec(
        Azure,
        None,
        "AZURE_OPENAI_ENDPOINT",
        (SecretSpec("azure", "AZURE_OPENAI_API_KEY", doc=", for AZURE_OPENAI_ENDPOINT"),),
        dialect="azure",
        rules=OPENAI_RULES,
        blind=_UNSEEING_GPT,
        is_limited=True,
        is_sold_by_address=False,
        is_exact=True,
    ),
    ProviderSpec(
        Groq,
        "https://api.groq.com/openai/v1",
        "GROQ_BASE_URL",
        (SecretSpec("groq", "GROQ_API_KEY"),),
        dialect="groq",
        continues=_ALL,
        rules=GROQ_RULES,
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
        wire=_always("gemini"),
        embeds="google",
        rules=GEMINI_RULES,
        check=google_check,
        is_sold_by_address=False,
    ),
    ProviderSpec(
        Bedrock,
        secrets=(
            SecretSpec("bedrock", "AWS_BEARER_TOKEN_BEDROCK", _BEDROCK_HOSTS, ", an API key"),
            SecretSpec("aws_access_key_id", "AWS_ACCESS_KEY_ID", _BEDROCK_HOSTS),
            SecretSpec("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", _BEDROCK_HOSTS),
            SecretSpec("aws_session_token", "AWS_SESSION_TOKEN", _BEDROCK_HOSTS),
        ),
        wire=_of_bedrock,
        embeds="bedrock",
        rules=BEDROCK_RULES,
        blind=models(
            rf"{_UNSEEING_CLAUDE}|titan|nova-micro|gpt-oss|deepseek|mistral-7b|mixtral"
            r"|llama3-(?!2-[19])"
        ),
        is_limited=True,
        check=bedrock_check,
        is_sold_by_address=False,
        is_exact=True,
    ),
    ProviderSpec(
        Ollama,
        "http://127.0.0.1:11434",
        "OLLAMA_BASE_URL",
        # Its servers need no key, but for the service of its makers.
        (SecretSpec("ollama", "OLLAMA_API_KEY", ("ollama.com",), ", for ollama.com"),),
        wire=_always("ollama"),
        embeds="ollama",
        continues=_ALL,
        window="num_ctx",
        rules=OLLAMA_RULES,
        check=ollama_check,
        is_cold=True,
        is_sold_by_address=False,
    ),
    ProviderSpec(Custom, window="unknown"),
    ProviderSpec(Scripted, wire=_always(None), embeds=None, window="unknown"),
)
"""All providers, in the order in which their settings are listed."""

BY_KIND: dict[type[Provider], ProviderSpec] = {spec.kind: spec for spec in SPECS}


def spec_of(provider: Provider) -> ProviderSpec:
    """Return what is known of the provider that a definition names."""
    return BY_KIND[type(provider)]


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
