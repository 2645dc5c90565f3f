"""Where each kind of provider is asked, with what credentials, and what it is not sent."""

from typing import Any

import anyio
import msgspec
import pytest

from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import AnswerWarning, ModelConfig
from schemas.problems import Problem
from schemas.provider_specs import usual_urls
from schemas.providers import Anthropic, Azure, Custom, Groq, OpenAI, Provider
from tests.attempts import KEY, config, generating, ignore, work
from tests.providers_fake import (
    FakeProvider,
    answering,
    begin,
    fake_provider,
    sending,
)
from tests.wires import sse

MESSAGES = [
    sse({"type": "message_start", "message": {"model": "fake-1", "usage": {"input_tokens": 7}}}),
    sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}),
    sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    sse({"type": "message_stop"}),
]
RESPONSES = [
    sse({"type": "response.output_text.delta", "delta": "x"}),
    sse({"type": "response.completed", "response": {"status": "completed"}}),
]


async def attempt_at(
    provider: Provider, base_url: str, **more: Any
) -> FinishGeneration | FailGeneration:
    """Run one attempt at a provider that has moved to this address, with a key for it."""
    moved = msgspec.structs.replace(provider, base_url=base_url, secret="local")
    with anyio.fail_after(20):
        async with generating() as generator:
            return await generator.run(work(moved, **more), ignore)


def lowered(headers: Any) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


def at_root(fake: FakeProvider) -> str:
    return fake.base_url.removesuffix("/v1")


@pytest.mark.parametrize(
    ("provider", "path", "header"),
    [
        (OpenAI(model="m"), "/v1/chat/completions", ("authorization", f"Bearer {KEY}")),
        (Groq(model="m"), "/v1/chat/completions", ("authorization", f"Bearer {KEY}")),
        (
            Azure(model="m", deployment="our gpt"),
            "/openai/v1/chat/completions",
            ("api-key", KEY),
        ),
        (
            Azure(model="m", deployment="our gpt", api_version="2024-10-21", auth="bearer"),
            "/openai/deployments/our%20gpt/chat/completions?api-version=2024-10-21",
            ("authorization", f"Bearer {KEY}"),
        ),
    ],
    ids=["openai", "groq", "azure v1", "azure dated"],
)
async def test_chat_completions_are_asked_where_each_provider_has_them(
    provider: Provider, path: str, header: tuple[str, str]
):
    async with fake_provider(answering("x")) as fake:
        root = at_root(fake) if isinstance(provider, Azure) else fake.base_url
        result = await attempt_at(provider, root)

    assert isinstance(result, FinishGeneration), result
    assert result.answer.text == "x"
    assert fake.paths == [path]
    sent = lowered(fake.headers[0])
    assert sent[header[0]] == header[1]
    assert ("api-key" in sent) != ("authorization" in sent)
    assert fake.bodies[0]["model"] == ("our gpt" if isinstance(provider, Azure) else "m")


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        (OpenAI(model="m", api="responses"), "/v1/responses"),
        (Custom(model="m", base_url="http://localhost", api="responses"), "/v1/responses"),
        (Azure(model="m", api="responses"), "/v1/responses"),
        (
            Azure(model="m", api="responses", api_version="2025-03-01-preview"),
            "/openai/responses?api-version=2025-03-01-preview",
        ),
    ],
    ids=["openai", "custom", "azure v1", "azure dated"],
)
async def test_responses_are_asked_where_each_provider_has_them(provider: Provider, path: str):
    async with fake_provider(sending(*RESPONSES)) as fake:
        result = await attempt_at(provider, fake.base_url)

    assert isinstance(result, FinishGeneration), result
    assert result.answer.text == "x"
    assert fake.paths == [path]
    assert fake.bodies[0]["input"] == [{"type": "message", "role": "user", "content": "Hello"}]


async def test_anthropic_is_asked_with_its_version_and_key_with_or_without_v1_in_the_address():
    headers = {"anthropic-beta": "context-1m", "anthropic-version": "mine"}
    async with fake_provider(sending(*MESSAGES)) as fake:
        for address in (fake.base_url, at_root(fake)):
            result = await attempt_at(Anthropic(model="m", headers=headers), address)
            assert isinstance(result, FinishGeneration), result
            assert result.answer.text == "x"

    assert fake.paths == ["/v1/messages", "/v1/messages"]
    sent = lowered(fake.headers[0])
    assert sent["x-api-key"] == KEY
    assert sent["anthropic-version"] == "2023-06-01"
    assert sent["anthropic-beta"] == "context-1m"
    assert "authorization" not in sent


@pytest.mark.parametrize(
    ("chosen", "version", "header"),
    [
        ({}, "2023-06-01", ("x-api-key", KEY)),
        ({"api_version": "2023-06-01"}, "2023-06-01", ("x-api-key", KEY)),
        ({"api_version": "2026-10-21"}, "2026-10-21", ("authorization", f"Bearer {KEY}")),
        ({"auth": "bearer"}, "2023-06-01", ("authorization", f"Bearer {KEY}")),
        (
            {"api_version": "2026-10-21", "auth": "api_key"},
            "2026-10-21",
            ("x-api-key", KEY),
        ),
    ],
    ids=str,
)
async def test_a_definition_chooses_anthropics_version_and_how_the_key_is_sent(
    chosen: dict[str, Any], version: str, header: tuple[str, str]
):
    async with fake_provider(sending(*MESSAGES)) as fake:
        result = await attempt_at(Anthropic(model="m", **chosen), fake.base_url)

    assert isinstance(result, FinishGeneration), result
    assert result.answer.text == "x"
    sent = lowered(fake.headers[0])
    assert sent["anthropic-version"] == version
    assert sent[header[0]] == header[1]
    assert len({"x-api-key", "authorization"} & set(sent)) == 1


async def test_an_operators_own_gateway_is_no_host_of_anthropics():
    tempered = ModelConfig(temperature=0.5)
    async with fake_provider(sending(*MESSAGES)) as fake:
        settings = config(urls=usual_urls() | {"anthropic": fake.base_url})
        async with generating(settings) as generator:
            provider = Anthropic(model="claude-sonnet-4-5", secret="local")
            result = await generator.run(work(provider, config=tempered), ignore)

    assert isinstance(result, FinishGeneration), result
    assert lowered(fake.headers[0])["anthropic-version"] == "2023-06-01"
    assert fake.bodies[0]["temperature"] == 0.5


async def test_what_the_newest_version_refuses_is_not_sent():
    newest = Anthropic(model="claude-sonnet-4-5", api_version="2026-10-21")
    wish = ModelConfig(temperature=0.5, extra={"top_k": 3, "x": 1}, unsupported="drop")
    async with fake_provider(sending(*MESSAGES)) as fake:
        refused = await attempt_at(newest, fake.base_url, config=ModelConfig(top_p=0.5))
        result = await attempt_at(newest, fake.base_url, config=wish)

    assert isinstance(refused, FailGeneration)
    assert (refused.problem.code, refused.problem.field) == ("validation", "config.top_p")
    assert isinstance(result, FinishGeneration), result
    assert {warning.field for warning in result.answer.warnings} == {
        "config.temperature",
        "config.extra",
    }
    (sent,) = fake.bodies
    assert "temperature" not in sent
    assert "top_k" not in sent
    assert sent["x"] == 1


async def test_azure_without_a_resource_is_refused_without_a_connection():
    async with generating() as generator:
        result = await generator.run(work(Azure(model="m")), ignore)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.field) == ("validation", "provider.base_url")
    assert result.usage is None


async def test_what_a_model_refuses_is_not_sent_and_the_answer_says_so():
    settings = ModelConfig(temperature=0.5, unsupported="drop")
    async with fake_provider(answering("x")) as fake:
        result = await attempt_at(OpenAI(model="o3"), fake.base_url, config=settings)

    assert isinstance(result, FinishGeneration), result
    assert "temperature" not in fake.bodies[0]
    assert result.answer.warnings == [
        AnswerWarning(
            field="config.temperature",
            message="o3 takes no temperature but 1: it was left out",
        )
    ]


async def test_what_was_not_sent_and_an_unknown_end_are_both_told():
    settings = ModelConfig(temperature=0.5, unsupported="drop")
    async with fake_provider(answering("x", finish="moonstruck")) as fake:
        result = await attempt_at(OpenAI(model="o3"), fake.base_url, config=settings)

    assert isinstance(result, FinishGeneration), result
    assert [one.field for one in result.answer.warnings] == ["config.temperature", "finish_reason"]


async def test_what_a_model_refuses_fails_without_a_connection_unless_it_may_be_left_out():
    async with fake_provider(answering("x")) as fake:
        settings = ModelConfig(temperature=0.5)
        result = await attempt_at(OpenAI(model="o3"), fake.base_url, config=settings)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.field) == ("validation", "config.temperature")
    assert fake.bodies == []


@pytest.mark.parametrize(
    "provider",
    [OpenAI(model="m", api="responses"), Anthropic(model="m")],
    ids=["responses", "messages"],
)
async def test_a_stream_that_ends_early_is_a_failure_in_every_format(provider: Provider):
    whole = MESSAGES if isinstance(provider, Anthropic) else RESPONSES
    async with fake_provider(sending(*whole[:-1])) as fake:
        result = await attempt_at(provider, fake.base_url)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("provider_error", True)
    assert result.usage is not None
    assert result.usage.quality != "exact"


@pytest.mark.parametrize(
    "bare",
    [
        b'{"error":{"type":"overloaded_error","message":"secret words"}}',
        b'{"type":"overloaded_error","message":"secret words"}',
        b'{"code":\n"overloaded_error"}\n',
    ],
)
async def test_an_error_that_comes_as_a_bare_body_with_a_good_status_is_understood(bare: bytes):
    for provider in (Anthropic(model="m"), OpenAI(model="m"), OpenAI(model="m", api="responses")):
        async with fake_provider(sending(bare)) as fake:
            result = await attempt_at(provider, fake.base_url)

        assert isinstance(result, FailGeneration)
        assert result.problem.code == "provider_overloaded"


async def test_pitfall_14_signs_of_life_alone_are_no_progress():
    async def pinging(request: Any) -> Any:
        response = await begin(request, MESSAGES[:1])
        while True:
            await response.write(sse({"type": "ping"}, "ping"))
            await anyio.sleep(0.01)

    with anyio.fail_after(20):
        async with fake_provider(pinging) as fake:
            provider = Anthropic(model="m", base_url=fake.base_url)
            async with generating(config(progress_timeout=0.2, idle_timeout=10.0)) as generator:
                result = await generator.run(work(provider), ignore)
            await fake.abandoned.wait()

    assert isinstance(result, FailGeneration)
    assert result.problem == Problem(
        code="timeout", message="The provider only signals that it is alive.", retryable=True
    )
