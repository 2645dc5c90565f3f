"""The model providers a definition may name: what each needs to be found and asked.

A secret is named, never written out: the operator's map says what the name stands for, and which
hosts and tenants it may serve.
"""

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from schemas.base import StrictValue
from schemas.ids import END, Token

BaseUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^https?://[^\s/?#@]+[^\s?#]*" + END,
        max_length=2048,
        description="an http or https URL without user, query and fragment, such as https://api.example.com/v1",
    ),
]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
HeaderValue = Annotated[str, msgspec.Meta(max_length=1024)]
Region = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}" + END,
        description="1 to 32 small letters, digits or hyphens, such as eu-central-1",
    ),
]

OpenAIApi = Literal["chat", "responses"]
"""Chat Completions, which every compatible server speaks, or OpenAI's newer Responses."""


class _Provider(StrictValue, omit_defaults=True):
    """What every provider has: a model."""

    model: ModelName


class _Remote(_Provider):
    """What is reached over HTTP: an address unless the usual one is meant, and a named secret.

    ``headers`` are sent along and must not hold credentials.
    """

    base_url: BaseUrl | None = None
    secret: Token | None = None
    headers: dict[str, HeaderValue] = {}


class OpenAI(_Remote, tag="openai"):
    """OpenAI, or a server of the same wire formats at ``base_url``."""

    api: OpenAIApi = "chat"


class Azure(_Remote, tag="azure"):
    """Azure OpenAI: ``base_url`` is the resource, as in ``https://NAME.openai.azure.com``.

    Without an ``api_version`` the v1 paths are called, with one the older paths by deployment. The
    deployment is the model's name unless it is given; ``model`` decides what the model can do.
    """

    api: OpenAIApi = "chat"
    deployment: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    api_version: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[0-9A-Za-z.-]{1,40}" + END,
                description="a version such as 2025-04-01-preview",
            ),
        ]
        | None
    ) = None
    auth: Literal["api_key", "bearer"] = "api_key"


AnthropicVersion = Literal["2023-06-01", "2026-10-21"]
"""The ``anthropic-version`` of a request; each has rules of its own (``schemas.capabilities``)."""


class Anthropic(_Remote, tag="anthropic"):
    """Anthropic Messages, or a server of the same wire format at ``base_url``.

    Without an ``api_version`` the newest is spoken with Anthropic's own hosts; elsewhere it is the
    oldest, which every compatible server knows. Without an ``auth`` the key goes as Anthropic's own
    SDKs send it: as a bearer token under 2026-10-21, in ``x-api-key`` under 2023-06-01.
    """

    api_version: AnthropicVersion | None = None
    auth: Literal["api_key", "bearer"] | None = None

    def version(self) -> AnthropicVersion:
        """Return the version that is spoken."""
        if self.api_version is not None:
            return self.api_version
        is_own = self.base_url is None or _is_anthropics(self.base_url)
        return "2026-10-21" if is_own else "2023-06-01"


def _is_anthropics(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "anthropic.com" or host.endswith(".anthropic.com")


class Bedrock(_Provider, tag="bedrock"):
    """AWS Bedrock. ``model`` is a model id, or the id or ARN of an inference profile.

    The ``region`` is the ARN's, or else the operator's, unless it is named.
    A ``secret`` is a Bedrock API key. Without one, requests are signed with the named access and
    secret keys, and the session token where those are temporary; without those either, with the
    operator's. ``invoke`` speaks a vendor's own format, where ``family_of`` knows one.
    """

    region: Region | None = None
    api: Literal["converse", "invoke"] = "converse"
    base_url: BaseUrl | None = None
    secret: Token | None = None
    access_key_id: Token | None = None
    secret_access_key: Token | None = None
    session_token: Token | None = None
    headers: dict[str, HeaderValue] = {}


Family = Literal["anthropic.", "amazon.nova", "amazon.titan", "openai."]
"""What a model's id holds whose own format Bedrock's ``invoke`` speaks here."""

_FAMILIES: tuple[Family, ...] = ("anthropic.", "amazon.nova", "amazon.titan", "openai.")


def family_of(model: str) -> Family | None:
    """Return whose format a model is invoked in, None if Converse is the only way.

    A name that tells no vendor, as an application's own inference profile has, is Anthropic's.
    """
    for family in _FAMILIES:
        if family in model:
            return family
    return None if "." in model.rpartition("/")[2] else "anthropic."


_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_PLACES_OF_AN_ARN = 6


def region_of(arn: str) -> str | None:
    """Return the region of a model that is named by its ARN, None if that names none."""
    told = _told(arn)
    return told if _REGION.match(told) else None


def _told(arn: str) -> str:
    """Return what stands where an ARN tells its region."""
    parts = arn.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) >= _PLACES_OF_AN_ARN else ""


class Google(_Remote, tag="google"):
    """Google Gemini by API key; with a ``project``, Vertex AI.

    There the secret is an OAuth token, or a service account's key: its JSON in base64, or the path
    of the file, as GOOGLE_APPLICATION_CREDENTIALS has it.
    """

    project: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[a-z0-9][a-z0-9_.:-]{0,62}" + END,
                description="the id of a project, such as my-project-1",
            ),
        ]
        | None
    ) = None
    location: Region = "global"


class Ollama(_Remote, tag="ollama"):
    """Ollama's own API. ``num_ctx`` is the context length to load the model with.

    Ollama cuts a prompt silently that is longer; ``keep_alive`` is how long it keeps the model.
    ``generate`` takes one prompt, without a conversation and without tools.
    """

    api: Literal["chat", "generate"] = "chat"

    num_ctx: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    keep_alive: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^-?[0-9]{1,9}(ms|s|m|h)?" + END,
                description="seconds, or a time such as 10m",
            ),
        ]
        | None
    ) = None


class Groq(_Remote, tag="groq"):
    """Groq: the format of OpenAI Chat Completions with usage and reasoning of its own."""


class Custom(_Provider, tag="custom"):
    """Any OpenAI-compatible server; ``headers`` must not hold credentials, ``secret`` names one."""

    base_url: BaseUrl
    headers: dict[str, HeaderValue] = {}
    secret: Token | None = None
    api: OpenAIApi = "chat"


class ScriptedFailure(StrictValue):
    """A failure played at the given call (from 0), after ``after_words`` words of the response."""

    call: Annotated[int, msgspec.Meta(ge=0)]
    code: Literal[
        "provider_error", "provider_overloaded", "rate_limited", "unauthorized", "timeout"
    ]
    after_words: Annotated[int, msgspec.Meta(ge=0)] = 0
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None


class ScriptedCalls(StrictValue):
    """A response that asks for tools. ``arguments`` are JSON, or a text that is sent as it is."""

    calls: Annotated[list["ScriptedTool"], msgspec.Meta(min_length=1, max_length=200)]
    text: str = ""


class ScriptedTool(StrictValue):
    """A call of a tool by the name that the model knows."""

    name: str
    arguments: dict[str, Any] | str = {}


class Scripted(_Provider, tag="scripted"):
    """Plays ``responses`` in turn, word by word, ``delay_ms`` apart: for tests and trial.

    A script that asks for tools plays its first response to a question, and the next one each time
    that tools have answered.
    """

    model: ModelName = "scripted"
    responses: Annotated[list[str | ScriptedCalls], msgspec.Meta(min_length=1, max_length=1000)]
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 100
    failures: list[ScriptedFailure] = []


def path_fault(provider: "Provider") -> str | None:
    """Return the field that would leave its place in the path of a URL, None if none would.

    Names of models stand in paths at Bedrock, Google and Azure. They are escaped there; but a
    segment ``..``, ``.`` or none is taken out by whoever puts a path in order, escaped or not. An
    ARN's region is a part of the host.
    """
    match provider:
        case Bedrock(model=arn, region=None) if _told(arn) and not region_of(arn):
            return "model"
        case Bedrock(model=name) | Google(model=name):
            return "model" if _leaves(name) else None
        case Azure(deployment=str() as name):
            return "deployment" if _leaves(name) else None
        case Azure(model=name):
            return "model" if _leaves(name) else None
        case _:
            return None


def _leaves(name: str) -> bool:
    return any(segment.strip() in {"", ".", ".."} for segment in re.split(r"[/\\]", name))


Remote = OpenAI | Azure | Anthropic | Bedrock | Google | Ollama | Groq | Custom
"""What is asked over HTTP."""

_CLOUD_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".googleapis.com")
"""Where clouds are reached, whose hosts differ by region."""

_NAMES = ("secret", "access_key_id", "secret_access_key")


def may_take_secret(
    provider: "Provider", keys: Sequence[str], usual_hosts: Collection[str]
) -> bool:
    """Say whether a secret may go along with a call: one is named, or the address is a usual one.

    Where none can, the operator does not pay. A script has no host, and is the fleet's own.
    ``usual_hosts`` are those to which requests take a secret that their definition does not name.
    """
    if isinstance(provider, Scripted) or keys:
        return True
    if provider.base_url is None or any(getattr(provider, name, None) for name in _NAMES):
        return True
    host = urlsplit(provider.base_url).netloc.lower()
    known = {usual.lower() for usual in usual_hosts}
    return host in known or host.partition(":")[0].endswith(_CLOUD_DOMAINS)


Provider = OpenAI | Azure | Anthropic | Bedrock | Google | Ollama | Groq | Custom | Scripted
