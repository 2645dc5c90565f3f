"""Bedrock, Gemini, Vertex AI and Ollama over real HTTP, by servers on this machine."""

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web

from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.generation import Generator, Means
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from schemas.lifecycle import FailGeneration, FinishGeneration
from tests import frames
from tests.attempts import NOW, config, ignore, text_of, work
from tests.clouds import (
    CALL,
    EACH,
    FORMATS,
    USED,
    Place,
    attempt,
    bedrock,
    gemini,
    line,
    ollama,
    problem_of,
    server,
    sse,
)
from tests.providers_fake import (
    Behaviour,
    begin,
    breaking,
    fake_provider,
    falling_silent,
    refusing,
    sending,
)


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


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("invoke anthropic", {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 32_000}),
        ("invoke openai", {}),
    ],
)
async def test_an_invocation_names_its_model_in_the_path_alone(name: str, told: dict[str, Any]):
    place, stream, path = FORMATS[name]

    _, _, fake = await attempt(place, sending(*stream))

    (message,) = fake.bodies[0].pop("messages")
    assert (fake.paths, message["role"]) == ([path], "user")
    assert fake.bodies == [told]


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
    loopback, settings = Egress(allow_loopback=True), config(idle_timeout=0.8)

    with anyio.fail_after(20):
        async with (
            fake_provider(falling_silent(*stream[:1])) as fake,
            open_providers(settings, loopback, Secrets({}, {})) as providers,
        ):
            result = await Generator(Means(providers=providers, clock=lambda: NOW)).run(
                work(place(server(fake))), ignore
            )

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("timeout", True)


EARLY = sse(
    candidates=[{"content": {"parts": [{"executableCode": {}}]}, "finishReason": "STOP"}],
    usageMetadata={"promptTokenCount": 7, "candidatesTokenCount": 2},
)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        pytest.param(breaking(EARLY), "provider_error", id="broken"),
        pytest.param(falling_silent(EARLY), "timeout", id="silent"),
    ],
)
async def test_behind_a_reason_of_gemini_only_the_end_of_the_stream_is_the_end(
    behaviour: Behaviour, code: str
):
    result, _, _ = await attempt(gemini, behaviour, idle_timeout=0.8, trailing_timeout=0.1)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == (code, True)
    assert result.usage is not None


IN_STREAM = {
    "converse": frames.exception("throttlingException"),
    "invoke anthropic": frames.exception("throttlingException"),
    "invoke openai": frames.exception("throttlingException"),
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
            ("forbidden", False, None),
        ),
        (
            bedrock,
            refusing(403, headers=aws("UnrecognizedClientException")),
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


@pytest.mark.parametrize("place", [bedrock, gemini, ollama])
async def test_a_bare_json_error_may_come_in_pieces(place: Place):
    async def slowly(request: web.Request) -> web.StreamResponse:
        pieces = [b'{"message":', b' "Too many tokens', b' per day", "code": 429}']
        response = await begin(request, [])
        for piece in pieces:
            await response.write(piece)
            await anyio.sleep(0.05)
        await response.write_eof()
        return response

    problem = await problem_of(place, slowly)

    assert (problem.code, problem.retryable) == ("rate_limited", False)
    assert problem.details["quota"] == "model"
