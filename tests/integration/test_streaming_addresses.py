"""Where Bedrock, Gemini, Vertex AI and Ollama are reached, and tokens for the third."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from actors.streaming.adapters import google_tokens
from actors.streaming.adapters.google_tokens import GoogleTokens
from actors.streaming.adapters.http import build_client
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.adapters.providers.bedrock import BedrockEndpoint
from actors.streaming.adapters.providers.google import GoogleEndpoint
from actors.streaming.config import StreamingConfig
from actors.streaming.core.google.service_account import ServiceAccount
from bus.errors import ProblemError
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from schemas.llm import ChatMessage, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Bedrock, Google, Ollama, Provider
from tests.attempts import NOW, SECRETS
from tests.providers_fake import FakeProvider, fake_provider, in_turn, sending

CONFIG = StreamingConfig()
CONTEXT: Any = ("acme", 1)


@asynccontextmanager
async def fetching() -> AsyncGenerator[GoogleTokens]:
    egress = Egress(allow_loopback=True)
    with anyio.fail_after(20):
        async with build_client(egress, connect_timeout=5, read_timeout=5, keep_alive=5) as client:
            yield GoogleTokens(client, lambda: NOW)


@asynccontextmanager
async def endpoints() -> AsyncGenerator[dict[type, Any]]:
    async with fetching() as tokens:
        yield {
            Bedrock: BedrockEndpoint(SECRETS, CONFIG, lambda: NOW),
            Google: GoogleEndpoint(Secrets({}, {}), CONFIG, tokens),
            Ollama: HttpEndpoint(SECRETS, CONFIG),
        }


def asked(provider: Provider) -> GenerateRequest:
    return GenerateRequest(provider=provider, messages=[ChatMessage(role="user", content="Hello")])


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        (
            Bedrock(model="m", region="eu-west-1"),
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
        ),
        (
            Bedrock(model="m", region="cn-north-1"),
            "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
        ),
        (Google(model="m"), "https://generativelanguage.googleapis.com/v1beta"),
        (Google(model="m", project="p"), "https://aiplatform.googleapis.com/v1beta1"),
        (
            Google(model="m", project="p", location="eu"),
            "https://aiplatform.eu.rep.googleapis.com/v1beta1",
        ),
        (
            Google(model="m", project="p", location="us-east1"),
            "https://us-east1-aiplatform.googleapis.com/v1beta1",
        ),
        (Ollama(model="m"), "http://127.0.0.1:11434"),
        (Ollama(model="m", base_url="https://ollama.com"), "https://ollama.com"),
    ],
)
async def test_each_has_its_usual_address(provider: Provider, url: str):
    async with endpoints() as those:
        assert those[type(provider)].base_url(asked(provider)) == url


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3-pro", "models/gemini-3-pro"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("a b", "models/a%20b"),
        ("a?b#c", "models/a%3Fb%23c"),
    ],
)
async def test_a_model_of_gemini_is_a_path_below_the_address(model: str, path: str):
    provider = Google(model=model, base_url="http://127.0.0.1:9/v1beta")

    async with endpoints() as those:
        outgoing = await those[Google].outgoing(asked(provider), CONTEXT, frozenset())

    assert outgoing.url == f"http://127.0.0.1:9/v1beta/{path}:streamGenerateContent?alt=sse"


async def test_a_model_that_leads_elsewhere_is_refused():
    async with endpoints() as those:
        with pytest.raises(ProblemError, match="no name of a model"):
            await those[Google].outgoing(
                asked(Google(model="x/../../y", base_url="http://127.0.0.1:9")),
                CONTEXT,
                frozenset(),
            )


# Tokens


def account(issuer: FakeProvider, name: str = "robot") -> ServiceAccount:
    url = issuer.base_url.replace("/v1", "/token")
    return ServiceAccount(client_email=name, private_key="k", token_uri=url)


def issuing(*tokens: str) -> Any:
    return in_turn(*(sending(b'{"access_token":"%s"}' % token.encode()) for token in tokens))


@pytest.fixture
def unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign with nothing: these tests ask what happens to tokens."""
    monkeypatch.setattr(google_tokens, "_sign", lambda _key, _data: b"signature")


@pytest.mark.usefixtures("unsigned")
async def test_each_account_has_its_own_token_and_only_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(google_tokens, "REMEMBERED", 2)

    async with fake_provider(issuing("a", "b", "c", "d")) as issuer, fetching() as tokens:
        names = ("one", "two", "one", "three", "one", "two")
        found = [await tokens.token(account(issuer, name)) for name in names]

    assert found == ["a", "b", "a", "c", "a", "d"]


@pytest.mark.usefixtures("unsigned")
async def test_an_endless_answer_is_no_token():
    async with fake_provider(sending(b"x" * 1_000_000)) as issuer, fetching() as tokens:
        with pytest.raises(ProblemError, match="sent no token"):
            await tokens.token(account(issuer))


async def test_without_the_extra_a_service_account_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
):
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(google_tokens, "import_module", absent)

    async with fake_provider(issuing("a")) as issuer, fetching() as tokens:
        with pytest.raises(ProblemError) as caught:
            await tokens.token(account(issuer))

    assert caught.value.problem == Problem(
        code="unavailable",
        message="Service accounts need the extra: pip install 'callboard[vertex]'.",
    )
