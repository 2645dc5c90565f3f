"""Which requests are the same."""

import msgspec
import pytest

from actors.streaming.core.resilience.fingerprint import fingerprint, is_cacheable
from actors.streaming.core.resilience.routes import Route
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig, ToolDefinition
from schemas.providers import OpenAI

REQUEST = GenerateRequest(
    provider=OpenAI(model="gpt-4o", secret="a"),
    messages=[ChatMessage(role="user", content="Hello")],
    config=ModelConfig(temperature=0.0),
)


def name_of(request: GenerateRequest) -> str:
    return fingerprint(request, Route(0, request.provider, request.config, (None,)))


def test_the_key_that_pays_is_no_part_of_it():
    other = msgspec.structs.replace(REQUEST, provider=OpenAI(model="gpt-4o", secret="b"))

    assert name_of(other) == name_of(REQUEST)


@pytest.mark.parametrize(
    "change",
    [
        {"provider": OpenAI(model="gpt-4o-mini")},
        {"provider": OpenAI(model="gpt-4o", base_url="http://elsewhere/v1")},
        {"messages": [ChatMessage(role="user", content="Hello!")]},
        {"config": ModelConfig(temperature=0.1)},
        {"tools": [ToolDefinition(name="search")]},
    ],
)
def test_everything_else_is(change: dict[str, object]):
    assert name_of(msgspec.structs.replace(REQUEST, **change)) != name_of(REQUEST)


def test_only_whole_answers_are_given_again():
    reasons = ("stop", "tool_calls", "length", "content_filter", "refusal", "other")

    assert [reason for reason in reasons if is_cacheable(reason)] == ["stop", "tool_calls"]
