"""Keys, signatures and tokens of clouds, as they arrive at a server on this machine."""

from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

import anyio
import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from msgspec import structs

from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import ChatMessage, ImageUrl
from schemas.problems import Problem
from schemas.providers import Bedrock, Google, Ollama, Provider
from tests.attempts import NOW, ignore, work
from tests.clouds import (
    CLAUDE,
    CONVERSE,
    ENVIRON,
    GEMINI,
    KEYS,
    PROFILE,
    bedrock,
    generating,
    line,
    problem_of,
    server,
)
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    breaking,
    fake_provider,
    in_turn,
    refusing,
    sending,
)

# Credentials


async def sent(
    provider: Callable[[str], Provider], environ: dict[str, str] | None = None
) -> tuple[FakeProvider, dict[str, str]]:
    """Let one request arrive; return the server and the request's headers."""
    async with (
        fake_provider(sending(*CONVERSE)) as fake,
        generating(environ=environ) as generator,
    ):
        await generator.run(work(provider(server(fake))), ignore)
    return fake, {name.lower(): text for name, text in fake.headers[0].items()}


@pytest.mark.parametrize("model", [CLAUDE, PROFILE])
@pytest.mark.parametrize("session", [None, "session"])
async def test_a_signature_covers_what_arrives(model: str, session: str | None):
    fake, headers = await sent(
        lambda url: bedrock(
            url, model, session_token=session, headers={"X-Amzn-Trace": "t", "X-Title": "a"}, **KEYS
        )
    )

    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"content-type", "host", "x-amz-date", "x-amzn-trace"} <= set(signed)
    assert "x-title" not in signed
    token = headers.get("x-amz-security-token")
    assert token == (ENVIRON["SESSION"] if session else None)
    arrived = AWSRequest(
        method="POST",
        url=server(fake) + fake.paths[0],
        headers={name: headers[name] for name in signed if name not in _ADDED},
        data=fake.contents[0],
    )
    keys = Credentials(ENVIRON["ID"], ENVIRON["SECRET"], token)
    with patch("botocore.auth.get_current_datetime", lambda: NOW):
        SigV4Auth(keys, "bedrock", "eu-west-1").add_auth(arrived)
    assert headers["authorization"] == arrived.headers["Authorization"]


_ADDED = {"host", "x-amz-date", "x-amz-security-token"}


@pytest.mark.parametrize(
    ("settings", "model", "region", "scope"),
    [
        ({"aws_region": "ap-south-1"}, CLAUDE, "eu-west-1", "eu-west-1"),
        ({"aws_region": "ap-south-1"}, PROFILE, None, "eu-west-1"),
        ({"aws_region": "ap-south-1"}, CLAUDE, None, "ap-south-1"),
        ({}, CLAUDE, None, "us-east-1"),
    ],
)
async def test_the_region_is_the_one_named_or_the_arns_or_the_operators(
    settings: dict[str, Any], model: str, region: str | None, scope: str
):
    async with (
        fake_provider(sending(*CONVERSE)) as fake,
        generating(**settings) as generator,
    ):
        provider = Bedrock(model=model, region=region, base_url=server(fake), **KEYS)
        await generator.run(work(provider), ignore)

    assert f"/20261121/{scope}/bedrock/aws4_request" in fake.headers[0]["Authorization"]


async def test_without_any_region_nothing_is_sent():
    async with generating() as generator:
        result = await generator.run(work(Bedrock(model=CLAUDE)), ignore)

    assert isinstance(result, FailGeneration)
    assert result.problem == Problem(
        code="validation",
        message="Name a region: this process has no AWS_REGION.",
        field="provider.region",
    )


async def test_an_api_key_of_bedrock_is_a_bearer_token_and_nothing_is_signed():
    _, headers = await sent(lambda url: bedrock(url, secret="local"))

    assert headers["authorization"] == f"Bearer {ENVIRON['KEY']}"
    assert "x-amz-date" not in headers


async def test_gemini_gets_its_key_in_a_header_of_its_own():
    _, headers = await sent(lambda url: Google(model="m", base_url=url, secret="local"))

    assert headers["x-goog-api-key"] == ENVIRON["KEY"]
    assert "authorization" not in headers


async def test_vertex_and_ollama_get_a_bearer_token():
    def vertex(url: str) -> Google:
        return Google(model="m", base_url=url, secret="local", project="p-1")

    def cloud(url: str) -> Ollama:
        return Ollama(model="m", base_url=url, secret="local")

    for provider in (vertex, cloud):
        _, headers = await sent(provider)
        assert headers["authorization"] == f"Bearer {ENVIRON['KEY']}"


async def test_a_model_that_only_converse_reaches_is_refused_before_anything_is_sent():
    place = "provider.api"

    problem = await problem_of(
        lambda url: bedrock(url, "meta.llama3-v1:0", api="invoke"), sending(*CONVERSE)
    )

    assert (problem.code, problem.field) == ("validation", place)


async def test_an_image_by_address_is_refused_because_bedrock_fetches_none():
    async with (
        fake_provider(sending(*CONVERSE)) as fake,
        generating(environ=ENVIRON) as generator,
    ):
        item = work(bedrock(server(fake), CLAUDE, api="invoke", **KEYS))
        image = ImageUrl(url="https://example.com/a.png")
        seen = structs.replace(item.request, messages=[ChatMessage(role="user", content=[image])])
        result = await generator.run(structs.replace(item, request=seen), ignore)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.field) == ("validation", "messages")
    assert fake.bodies == []


# Service accounts


def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, serialization.NoEncryption()).decode()


def key_file(token_uri: str, key: str) -> bytes:
    return msgspec.json.encode(
        {
            "type": "service_account",
            "client_email": "robot@p-1.iam.gserviceaccount.com",
            "private_key_id": "k1",
            "private_key": key,
            "token_uri": token_uri,
        }
    )


def vertex(url: str) -> Google:
    return Google(model="gemini-3-pro", base_url=url, project="p-1", secret="robot")


def token_server(*tokens: str) -> Behaviour:
    return in_turn(*(sending(line(access_token=token, expires_in=3600)) for token in tokens))


async def test_a_service_account_gets_a_token_once_and_another_when_it_runs_out(tmp_path: Path):
    key, now = private_key(), NOW
    path = tmp_path / "key.json"

    async with (
        fake_provider(token_server("ya29.one", "ya29.two")) as issuer,
        fake_provider(sending(*GEMINI)) as fake,
        generating(lambda: now, {"ROBOT": str(path)}) as generator,
    ):
        path.write_bytes(key_file(f"{server(issuer)}/token", key))
        for step in (timedelta(), timedelta(minutes=54), timedelta(minutes=2)):
            now += step
            later = work(vertex(server(fake)), deadline=timedelta(hours=2))
            assert isinstance(await generator.run(later, ignore), FinishGeneration)

    assert [headers["Authorization"] for headers in fake.headers] == [
        "Bearer ya29.one",
        "Bearer ya29.one",
        "Bearer ya29.two",
    ]
    assert issuer.paths == ["/token"] * 2
    _demand_signed(issuer.contents[0].decode(), key)


def _demand_signed(form: str, key: str) -> None:
    """Check the assertion with the other half of the key, as Google does."""
    signed, _, signature = parse_qs(form)["assertion"][0].rpartition(".")
    private = serialization.load_pem_private_key(key.encode(), password=None)
    public: Any = private.public_key()
    raw = urlsafe_b64decode(signature + "==")
    public.verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_calls_at_once_wait_for_one_token():
    key = private_key()
    async with (
        fake_provider(token_server("ya29.one")) as issuer,
        fake_provider(sending(*GEMINI)) as fake,
    ):
        packed = b64encode(key_file(f"{server(issuer)}/token", key)).decode()
        async with (
            generating(environ={"ROBOT": packed}) as generator,
            anyio.create_task_group() as calls,
        ):
            for _ in range(5):
                calls.start_soon(generator.run, work(vertex(server(fake))), ignore)

    assert len(issuer.paths) == 1
    assert {headers["Authorization"] for headers in fake.headers} == {"Bearer ya29.one"}


UNKNOWN_TOKEN = refusing(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})


async def test_a_token_that_is_refused_before_its_time_is_replaced_once():
    key = private_key()
    async with (
        fake_provider(token_server("ya29.one", "ya29.two", "ya29.three")) as issuer,
        fake_provider(in_turn(UNKNOWN_TOKEN, sending(*GEMINI), UNKNOWN_TOKEN)) as fake,
    ):
        packed = b64encode(key_file(f"{server(issuer)}/token", key)).decode()
        async with generating(environ={"ROBOT": packed}) as generator:
            first = await generator.run(work(vertex(server(fake))), ignore)
            second = await generator.run(work(vertex(server(fake))), ignore)

    assert isinstance(first, FinishGeneration)
    assert isinstance(second, FailGeneration)
    assert second.problem.code == "unauthorized"
    tokens = [headers["Authorization"].removeprefix("Bearer ya29.") for headers in fake.headers]
    assert tokens == ["one", "two", "two", "three"]


@pytest.mark.parametrize(
    ("project", "secret"), [("p-1", "local"), (None, "robot")], ids=["access token", "key"]
)
async def test_a_key_that_is_refused_is_not_sent_again(project: str | None, secret: str):
    async with (
        fake_provider(UNKNOWN_TOKEN) as fake,
        generating(environ=ENVIRON | {"ROBOT": "key"}) as generator,
    ):
        provider = Google(model="m", base_url=server(fake), project=project, secret=secret)
        result = await generator.run(work(provider), ignore)

    assert isinstance(result, FailGeneration)
    assert len(fake.headers) == 1


@pytest.mark.parametrize(
    ("behaviour", "code", "retryable"),
    [
        (refusing(400, "invalid_grant"), "unauthorized", False),
        (refusing(500), "unavailable", True),
        (refusing(429), "unavailable", True),
        (sending(b"{}"), "unavailable", True),
        (breaking(b"{"), "unavailable", True),
    ],
)
async def test_an_account_that_gets_no_token_is_a_typed_failure(
    behaviour: Behaviour, code: str, retryable: bool
):
    key = private_key()
    async with fake_provider(behaviour) as issuer:
        packed = b64encode(key_file(f"{server(issuer)}/token", key)).decode()
        async with generating(environ={"ROBOT": packed}) as generator:
            result = await generator.run(work(vertex(server(issuer))), ignore)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == (code, retryable)
    assert result.usage is None


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("/nowhere/key.json", "The service account's key file cannot be read."),
        (b64encode(b"{}").decode(), "The secret is no service account's key."),
        (
            b64encode(key_file("https://example.com/token", "x")).decode(),
            "This secret must not be sent to that host.",
        ),
    ],
)
async def test_a_secret_that_is_no_service_account_is_refused(secret: str, message: str):
    async with generating(environ={"ROBOT": secret}) as generator:
        result = await generator.run(work(vertex("http://127.0.0.1:9")), ignore)

    assert isinstance(result, FailGeneration)
    assert result.problem.message == message


async def test_a_private_key_that_is_none_is_refused():
    packed = b64encode(key_file("http://127.0.0.1:9/token", "no key")).decode()
    async with generating(environ={"ROBOT": packed}) as generator:
        result = await generator.run(work(vertex("http://127.0.0.1:9")), ignore)

    assert isinstance(result, FailGeneration)
    assert result.problem.message == "The service account's private key is none."
