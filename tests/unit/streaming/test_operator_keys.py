"""The operator's own keys: which variable goes to which host, and how, where nobody names one."""

from collections.abc import Mapping

import httpx
import msgspec
import pytest

from actors.streaming.adapters.http import HttpTransport
from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.flow.generation import Generator, Means
from bus.config import load
from bus.security.egress import Egress
from schemas.provider_specs import SPECS, ProviderSpec
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
)
from tests.attempts import NOW, ignore, work

ENVIRON = {
    "OPENAI_API_KEY": "key-of-openai",
    "ANTHROPIC_API_KEY": "key-of-anthropic",
    "GROQ_API_KEY": "key-of-groq",
    "GOOGLE_API_KEY": "key-of-google",
    "GOOGLE_APPLICATION_CREDENTIALS": "token-of-vertex",
    "AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com",
    "AZURE_OPENAI_API_KEY": "key-of-azure",
    "OLLAMA_API_KEY": "key-of-ollama",
    "AWS_REGION": "eu-west-1",
}
SIGNING = {
    "AWS_ACCESS_KEY_ID": "AKIDOFTHEOPERATOR",
    "AWS_SECRET_ACCESS_KEY": "secret-of-aws",
    "AWS_SESSION_TOKEN": "session-of-aws",
}
BEDROCK = "bedrock-runtime.eu-west-1.amazonaws.com"
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIDOFTHEOPERATOR/"


async def sent(
    provider: Provider, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> httpx.Request:
    """Return the request that a process of this environment makes for a call of this provider."""
    requests: list[httpx.Request] = []

    async def note(_: HttpTransport, request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise httpx.ConnectError("nobody is asked", request=request)

    monkeypatch.setattr(HttpTransport, "handle_async_request", note)
    config = load(StreamingConfig, environ)
    secrets = operator_secrets(config, environ)
    async with open_providers(config, Egress(), secrets, lambda: NOW) as providers:
        generator = Generator(Means(providers=providers, clock=lambda: NOW))
        await generator.run(work(provider), ignore)
    return requests[0]


@pytest.mark.parametrize(
    ("provider", "host", "headers"),
    [
        (OpenAI(model="m"), "api.openai.com", {"authorization": "Bearer key-of-openai"}),
        (Anthropic(model="m"), "api.anthropic.com", {"authorization": "Bearer key-of-anthropic"}),
        (
            Anthropic(model="m", api_version="2023-06-01"),
            "api.anthropic.com",
            {"x-api-key": "key-of-anthropic"},
        ),
        (Groq(model="m"), "api.groq.com", {"authorization": "Bearer key-of-groq"}),
        (
            Google(model="m"),
            "generativelanguage.googleapis.com",
            {"x-goog-api-key": "key-of-google"},
        ),
        (
            Google(model="m", project="p", location="us-east1"),
            "us-east1-aiplatform.googleapis.com",
            {"authorization": "Bearer token-of-vertex"},
        ),
        (Azure(model="m"), "ours.openai.azure.com", {"api-key": "key-of-azure"}),
        (
            Ollama(model="m", base_url="https://ollama.com"),
            "ollama.com",
            {"authorization": "Bearer key-of-ollama"},
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(getattr(value, "model", value)),
)
async def test_the_operators_key_is_sent_to_its_providers_own_host(
    provider: Provider, host: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    request = await sent(provider, ENVIRON, monkeypatch)

    assert (request.url.scheme, request.url.host) == ("https", host)
    assert {name: request.headers.get(name) for name in headers} == headers


async def test_bedrock_is_signed_for_with_the_operators_keys(monkeypatch: pytest.MonkeyPatch):
    request = await sent(Bedrock(model="amazon.nova-micro-v1:0"), ENVIRON | SIGNING, monkeypatch)

    assert request.url.host == BEDROCK
    assert request.headers["authorization"].startswith(SIGNED)
    assert "/eu-west-1/bedrock/" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] == "session-of-aws"


async def test_the_operators_api_key_of_bedrock_goes_before_the_keys_that_sign(
    monkeypatch: pytest.MonkeyPatch,
):
    environ = ENVIRON | SIGNING | {"AWS_BEARER_TOKEN_BEDROCK": "key-of-bedrock"}
    request = await sent(Bedrock(model="amazon.nova-micro-v1:0"), environ, monkeypatch)

    assert request.url.host == BEDROCK
    assert request.headers["authorization"] == "Bearer key-of-bedrock"


@pytest.mark.parametrize(
    "spec", [each for each in SPECS if each.variable], ids=lambda spec: spec.variable
)
async def test_the_operators_address_is_asked_with_a_key_that_is_not_for_other_hosts(
    spec: ProviderSpec, monkeypatch: pytest.MonkeyPatch
):
    environ = ENVIRON | {str(spec.variable): "https://model.example/front"}
    provider = msgspec.convert({"type": spec.name, "model": "m"}, spec.kind)
    request = await sent(provider, environ, monkeypatch)

    assert (request.url.host, request.url.path[:7]) == ("model.example", "/front/")
    keyed = any(f"key-of-{spec.name}" in value for value in request.headers.values())
    assert keyed == (not spec.secrets[0].hosts)


async def test_a_provider_has_as_long_to_connect_as_the_operator_says(
    monkeypatch: pytest.MonkeyPatch,
):
    environ = ENVIRON | {"CONNECT_TIMEOUT": "3.5"}
    request = await sent(OpenAI(model="m"), environ, monkeypatch)

    assert request.extensions["timeout"]["connect"] == 3.5
