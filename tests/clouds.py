"""Bedrock, Gemini, Vertex AI and Ollama as servers on this machine, and attempts against them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.generation import Generator, Means
from bus.security.egress import Egress
from bus.security.secrets import SecretEntry, Secrets
from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.llm import ToolCall
from schemas.problems import Problem
from schemas.providers import Bedrock, Google, Ollama, Provider
from schemas.streams import StreamEvent
from schemas.usage import Usage
from tests import frames
from tests.attempts import NOW, config, work
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    fake_provider,
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
            yield Generator(Means(providers=providers, clock=clock))


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
CHAT = (
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}}]},
    {
        "choices": [
            {
                "index": 0,
                "delta": {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "t1",
                            "function": {"name": "time", "arguments": CALL.arguments},
                        }
                    ]
                },
            }
        ]
    },
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], **METRICS},
)
INVOKED_CHAT = tuple(map(frames.chunk, CHAT))
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
    "invoke openai": (
        lambda url: bedrock(url, "openai.gpt-oss-20b-1:0", api="invoke"),
        INVOKED_CHAT,
        "/model/openai.gpt-oss-20b-1%3A0/invoke-with-response-stream",
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
    place: Place, behaviour: Behaviour, **settings: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent], FakeProvider]:
    """Run one attempt against the behaviour. What it published is the second part."""
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    async with fake_provider(behaviour) as fake, generating(**settings) as generator:
        return await generator.run(work(place(server(fake))), emit), events, fake


async def problem_of(place: Place, behaviour: Behaviour) -> Problem:
    result, _, _ = await attempt(place, behaviour)
    assert isinstance(result, FailGeneration)
    return result.problem
