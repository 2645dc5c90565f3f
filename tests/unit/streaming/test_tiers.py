"""The service tier that served, as each wire format tells it."""

from typing import Any

import pytest

from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import ChatMessage, GenerateRequest
from schemas.providers import Custom
from tests.wires import answered, sse

REQUEST = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
)


def chat(tier: Any) -> str | None:
    chunk = {"service_tier": tier, "choices": [{"delta": {"content": "x"}}]}
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    return answered(ChatReader(REQUEST), [sse(chunk), sse(end)])[1].service_tier


def responses(tier: Any) -> str | None:
    response = {"status": "completed", "service_tier": tier, "output": []}
    event = {"type": "response.completed", "response": response}
    return answered(ResponsesReader(REQUEST), [sse(event)])[1].service_tier


def messages(**usage: Any) -> str | None:
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1, **usage}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_stop"},
    ]
    return answered(MessagesReader(REQUEST), [sse(event) for event in events])[1].service_tier


def gemini(**usage: Any) -> str | None:
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, **usage},
    }
    return answered(GeminiReader(REQUEST), [sse(chunk)])[1].service_tier


@pytest.mark.parametrize("read", [chat, responses])
@pytest.mark.parametrize(
    ("told", "tier"), [("flex", "flex"), ("default", "default"), (None, None), ({"a": 1}, None)]
)
def test_openais_formats_tell_it_beside_the_usage(read: Any, told: Any, tier: str | None):
    assert read(told) == tier


def test_anthropic_tells_it_within_the_usage_and_speed_apart():
    assert messages() is None
    assert messages(service_tier="priority") == "priority"
    assert messages(service_tier="standard", speed="fast") == "fast"


def test_gemini_tells_it_as_a_tier_or_as_a_kind_of_traffic():
    assert gemini() is None
    assert gemini(serviceTier="flex") == "flex"
    assert gemini(trafficType="ON_DEMAND_PRIORITY") == "priority"
    assert gemini(trafficType="ON_DEMAND") == "on_demand"
