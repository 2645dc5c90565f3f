"""A Chat Completions stream, chunk by chunk, and what a reader makes of it."""

from typing import Any

from actors.streaming.core.deltas import Delta
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from schemas.llm import Answer, ChatMessage, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Custom, OpenAI, Provider
from tests.wires import answered, failed, sse

OPENAI = OpenAI(model="m")
CUSTOM = Custom(model="m", base_url="http://localhost/v1")
DONE = sse("[DONE]")
CUT = Problem(
    code="provider_error",
    message="The provider ended the stream in mid-answer.",
    retryable=True,
)


def reader(provider: Provider = OPENAI) -> ChatReader:
    messages = [ChatMessage(role="user", content="Hello")]
    request = GenerateRequest(provider=provider, messages=messages)
    return ChatReader(request, done_suffices=provider is CUSTOM)


def chunk(finish: str | None = None, /, **delta: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def event(**fields: Any) -> bytes:
    return sse(fields)


def read(*events: bytes, provider: Provider = OPENAI) -> tuple[list[Delta], Answer]:
    return answered(reader(provider), events)


def failure(*events: bytes, provider: Provider = OPENAI) -> Problem:
    return failed(reader(provider), events)
