"""Bedrock, Gemini, Vertex AI and Ollama over real HTTP, by servers on this machine."""

from base64 import b64encode, urlsafe_b64decode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
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

from actors.streaming.adapters.generation import Generator
from actors.streaming.adapters.providers import open_providers
from bus.egress import Egress
from bus.secrets import SecretEntry, Secrets
from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import ToolCall
from schemas.problems import Problem
from schemas.providers import Bedrock, Google, Ollama, Provider
from schemas.streams import StreamEvent
from schemas.usage import Usage
from tests import frames
from tests.attempts import NOW, config, ignore, text_of, work
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    breaking,
    fake_provider,
    falling_silent,
    in_turn,
    refusing,
    sending,
)

CLAUDE = "anthropic.claude-sonnet-4-5-v1:0"
PROFILE = f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{CLAUDE}"
KEYS: dict[str, Any] = {"access_key_id": "id", "secret_access_key": "key"}
ENVIRON = {
    "KEY": "token-0123456789",
    "ID": "AKIDEXAMPLE",
    "SECRET": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "SESSION": "session//token==",
}
NAMES = {"local": "KEY", "id": "ID", "key": "SECRET", "session": "SESSION", "robot": "ROBOT"}
USED = Usage(input=7, output=2)


def server(fake: FakeProvider) -> str:
    return fake.base_url.removesuffix("/v1")


@asynccontextmanager
async def generating(
    clock: Callable[[], datetime] = lambda: NOW,
    environ: dict[str, str] | None = None,
    **more: Any,
) -> AsyncGenerator[Generator]:
    """Generate with secrets that may go to this machine."""
    entries = {name: SecretEntry(env=env, hosts=("127.0.0.1",)) for name, env in NAMES.items()}
    secrets = Secrets(entries, ENVIRON | (environ or {}))
    loopback, settings = Egress(allow_loopback=True), config(cold_start_timeout=5.0, **more)
    with anyio.fail_after(20):
        async with open_providers(settings, loopback, secrets, clock) as providers:
            yield Generator(providers, clock)


def bedrock(base_url: str, model: str = CLAUDE, **more: Any) -> Bedrock:
    return Bedrock(model=model, region="eu-west-1", base_url=base_url, **more)


def gemini(base_url: str) -> Google:
    return Google(model="gemini-3-pro", base_url=base_url)


def ollama(base_url: str) -> Ollama:
    return Ollama(model="qwen3", base_url=base_url)


# Streams of an answer "Hello" with one call, of every format; the terminal event is the last.


def sse(**chunk: Any) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n"


def line(**fields: Any) -> bytes:
    return msgspec.json.encode(fields) + b"\n"


COUNTED = {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 2}}
CALL = ToolCall(id="t1", name="time", arguments='{"zone":"UTC"}')

CONVERSE = (
    frames.event("messageStart", role="assistant"),
    frames.event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hello"}),
    frames.event(
        "contentBlockStart",
        contentBlockIndex=1,
        start={"toolUse": {"toolUseId": "t1", "name": "time"}},
    ),
    frames.event(
        "contentBlockDelta", contentBlockIndex=1, delta={"toolUse": {"input": CALL.arguments}}
    ),
    frames.event("metadata", usage=COUNTED),
    frames.event("messageStop", stopReason="tool_use"),
)
MESSAGES = (
    {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 99}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t1", "name": "time", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": CALL.arguments},
    },
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop", **METRICS},
)
NOVA = (
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}},
    {
        "contentBlockStart": {
            "contentBlockIndex": 1,
            "start": {"toolUse": {"toolUseId": "t1", "name": "time"}},
        }
    },
    {
        "contentBlockDelta": {
            "contentBlockIndex": 1,
            "delta": {"toolUse": {"input": {"zone": "UTC"}}},
        }
    },
    {"metadata": {"usage": COUNTED}, **METRICS},
    {"messageStop": {"stopReason": "tool_use"}},
)
INVOKED = tuple(map(frames.chunk, MESSAGES))
INVOKED_NOVA = tuple(map(frames.chunk, NOVA))
GEMINI = (
    sse(candidates=[{"content": {"parts": [{"text": "Hello"}]}}]),
    sse(
        candidates=[
            {
                "content": {
                    "parts": [
                        {"functionCall": {"name": "time", "args": {"zone": "UTC"}, "id": "t1"}}
                    ]
                },
                "finishReason": "STOP",
            }
        ],
        usageMetadata={"promptTokenCount": 7, "candidatesTokenCount": 2},
    ),
)
OLLAMA = (
    line(message={"content": "Hello"}),
    line(
        message={
            "tool_calls": [{"id": "t1", "function": {"name": "time", "arguments": {"zone": "UTC"}}}]
        },
        done=True,
        done_reason="stop",
        prompt_eval_count=7,
        eval_count=2,
    ),
)

VERTEX_PATH = "projects/p-1/locations/us-east1/publishers/google/models"

Place = Callable[[str], Provider]
FORMATS: dict[str, tuple[Place, tuple[bytes, ...], str]] = {
    "converse": (bedrock, CONVERSE, f"/model/{CLAUDE.replace(':', '%3A')}/converse-stream"),
    "invoke anthropic": (
        lambda url: bedrock(url, api="invoke"),
        INVOKED,
        f"/model/{CLAUDE.replace(':', '%3A')}/invoke-with-response-stream",
    ),
    "invoke nova": (
        lambda url: bedrock(url, "amazon.nova-micro-v1:0", api="invoke"),
        INVOKED_NOVA,
        "/model/amazon.nova-micro-v1%3A0/invoke-with-response-stream",
    ),
    "gemini": (gemini, GEMINI, "/models/gemini-3-pro:streamGenerateContent?alt=sse"),
    "vertex": (
        lambda url: Google(
            model="gemini-3-pro", base_url=f"{url}/v1", project="p-1", location="us-east1"
        ),
        GEMINI,
        f"/v1/{VERTEX_PATH}/gemini-3-pro:streamGenerateContent?alt=sse",
    ),
    "ollama": (ollama, OLLAMA, "/api/chat"),
    "ollama generate": (
        lambda url: Ollama(model="qwen3", base_url=url, api="generate"),
        OLLAMA,
        "/api/generate",
    ),
}
EACH = pytest.mark.parametrize("name", FORMATS)


async def attempt(
    place: Place, behaviour: Behaviour
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent], FakeProvider]:
    """Run one attempt against the behaviour. What it published is the second part."""
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    async with fake_provider(behaviour) as fake, generating() as generator:
        return await generator.run(work(place(server(fake))), emit), events, fake


async def problem_of(place: Place, behaviour: Behaviour) -> Problem:
    result, _, _ = await attempt(place, behaviour)
    assert isinstance(result, FailGeneration)
    return result.problem


@EACH
async def test_an_answer_comes_whole_through_http(name: str):
    place, stream, path = FORMATS[name]

    result, events, fake = await attempt(place, sending(*stream))

    assert isinstance(result, FinishGeneration)
    assert (result.answer.text, text_of(events)) == ("Hello", "Hello")
    assert result.answer.tool_calls == [CALL]
    assert result.answer.finish_reason == "tool_calls"
    assert result.answer.usage == USED
    assert fake.paths == [path]
    sent = {header.lower() for header in fake.headers[0]}
    assert not {"authorization", "x-goog-api-key", "x-amz-date"} & sent


@EACH
@pytest.mark.parametrize("ending", [sending, breaking])
async def test_an_answer_without_its_terminal_event_is_a_failure_that_may_be_retried(
    name: str, ending: Callable[..., Behaviour]
):
    place, stream, _ = FORMATS[name]

    result, events, _ = await attempt(place, ending(*stream[:-1]))

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("provider_error", True)
    assert result.usage is not None
    assert result.usage.quality != "exact"
    assert text_of(events) == "Hello"


@EACH
async def test_a_provider_that_falls_silent_times_out(name: str):
    place, stream, _ = FORMATS[name]
    loopback, settings = Egress(allow_loopback=True), config(idle_timeout=0.2)

    with anyio.fail_after(20):
        async with (
            fake_provider(falling_silent(*stream[:1])) as fake,
            open_providers(settings, loopback, Secrets({}, {})) as providers,
        ):
            result = await Generator(providers, lambda: NOW).run(work(place(server(fake))), ignore)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("timeout", True)


IN_STREAM = {
    "converse": frames.exception("throttlingException"),
    "invoke anthropic": frames.exception("throttlingException"),
    "invoke nova": frames.exception("throttlingException"),
    "gemini": sse(error={"code": 429, "message": "secret words", "status": "RESOURCE_EXHAUSTED"}),
    "vertex": sse(error={"code": 429, "message": "secret words", "status": "RESOURCE_EXHAUSTED"}),
    "ollama": line(error="secret words"),
    "ollama generate": line(error="secret words"),
}


@EACH
async def test_an_error_inside_a_stream_is_typed_and_loses_no_delta(name: str):
    place, stream, _ = FORMATS[name]

    result, events, _ = await attempt(place, sending(*stream[:-1], IN_STREAM[name]))

    assert isinstance(result, FailGeneration)
    code = "provider_error" if name.startswith("ollama") else "rate_limited"
    assert (result.problem.code, result.problem.retryable) == (code, True)
    assert text_of(events) == "Hello"
    assert "secret words" not in str(result)


def aws(exception: str) -> dict[str, str]:
    return {"x-amzn-errortype": f"{exception}:http://internal.amazon.com/coral/"}


def google(code: int, status: str, *details: Any) -> Any:
    return {"code": code, "message": "secret words", "status": status, "details": details}


@pytest.mark.parametrize(
    ("place", "behaviour", "expected"),
    [
        (bedrock, refusing(429, headers=aws("ThrottlingException")), ("rate_limited", True, None)),
        (
            bedrock,
            refusing(429, headers=aws("ModelNotReadyException")),
            ("provider_overloaded", True, None),
        ),
        (
            bedrock,
            refusing(400, headers=aws("ServiceQuotaExceededException")),
            ("rate_limited", False, None),
        ),
        (
            bedrock,
            refusing(424, headers=aws("ModelErrorException")),
            ("provider_error", True, None),
        ),
        (bedrock, refusing(408, headers=aws("ModelTimeoutException")), ("timeout", True, None)),
        (
            bedrock,
            refusing(403, headers=aws("AccessDeniedException")),
            ("unauthorized", False, None),
        ),
        (
            bedrock,
            refusing(400, headers=aws("ValidationException")),
            ("provider_error", False, None),
        ),
        (
            bedrock,
            refusing(404, headers=aws("ResourceNotFoundException")),
            ("not_found", False, None),
        ),
        (
            gemini,
            refusing(
                429,
                google(
                    429,
                    "RESOURCE_EXHAUSTED",
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"},
                ),
            ),
            ("rate_limited", True, 12.5),
        ),
        (
            gemini,
            refusing(
                400,
                google(
                    400,
                    "INVALID_ARGUMENT",
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "API_KEY_INVALID",
                    },
                ),
            ),
            ("unauthorized", False, None),
        ),
        (
            gemini,
            refusing(503, body=b'[{"error":{"code":503,"status":"UNAVAILABLE"}}]'),
            ("provider_overloaded", True, None),
        ),
        (ollama, refusing(404, "model 'secret words' not found"), ("not_found", False, None)),
        (ollama, refusing(503, "server busy"), ("provider_overloaded", True, None)),
        (ollama, refusing(400, "does not support tools"), ("provider_error", False, None)),
    ],
)
async def test_a_refusal_before_the_stream_is_typed(
    place: Place, behaviour: Behaviour, expected: tuple[str, bool, float | None]
):
    problem = await problem_of(place, behaviour)

    assert (problem.code, problem.retryable, problem.retry_after) == expected
    assert "secret words" not in str(problem)


async def test_a_bare_json_error_in_the_place_of_a_stream_is_typed():
    body = msgspec.json.encode({"error": google(503, "UNAVAILABLE")})

    assert (await problem_of(gemini, sending(body))).code == "provider_overloaded"


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
