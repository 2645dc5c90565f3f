from typing import Any

import msgspec
import pytest

from actors.streaming.core.chat_request import build, omitted
from schemas.llm import (
    ChatMessage,
    GenerateRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    ModelConfig,
    ToolCall,
    ToolDefinition,
)
from schemas.providers import Custom, Groq, OpenAI, Provider

HELLO = [ChatMessage(role="user", content="Hello")]
CUSTOM = Custom(model="m", base_url="http://localhost/v1")
FULL = ModelConfig(
    temperature=0.5,
    max_tokens=100,
    top_p=0.9,
    frequency_penalty=0.1,
    presence_penalty=-0.1,
    stop_sequences=["END"],
    seed=7,
    reasoning_effort="low",
    response_format=JsonObjectFormat(),
)
ALL = {
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": -0.1,
    "stop": ["END"],
    "seed": 7,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
}


def body(provider: Provider, config: ModelConfig | None = None, **more: Any) -> dict[str, Any]:
    request = GenerateRequest(
        provider=provider, messages=HELLO, config=config or ModelConfig(), **more
    )
    return msgspec.json.decode(build(request))


def test_openai_is_asked_for_usage_and_no_padding():
    assert body(OpenAI(model="gpt-4o")) == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    }


@pytest.mark.parametrize(
    ("provider", "different"),
    [
        (
            OpenAI(model="gpt-4o"),
            {
                "max_completion_tokens": 100,
                "stream_options": {"include_usage": True, "include_obfuscation": False},
            },
        ),
        (Groq(model="llama"), {"max_completion_tokens": 100}),
        (CUSTOM, {"max_tokens": 100, "stream_options": {"include_usage": True}}),
    ],
)
def test_every_setting_is_sent_under_the_name_its_server_knows(
    provider: Provider, different: dict[str, Any]
):
    common = {
        "model": provider.model,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }

    assert body(provider, FULL) == common | ALL | different


def test_stream_options_can_be_left_out():
    request = GenerateRequest(provider=CUSTOM, messages=HELLO)

    assert "stream_options" not in msgspec.json.decode(build(request, stream_options=False))


@pytest.mark.parametrize(
    ("model", "effort", "left_out"),
    [
        ("gpt-4o", "low", ()),
        ("gpt-5-chat-latest", "low", ()),
        ("gpt-5.1-chat", "low", ()),
        ("gpt-5-mini", "low", ("frequency_penalty", "presence_penalty", "temperature", "top_p")),
        ("gpt-5.1", "none", ("frequency_penalty", "presence_penalty")),
        ("gpt-5.1", "low", ("frequency_penalty", "presence_penalty", "temperature", "top_p")),
        ("o1", "low", ("frequency_penalty", "presence_penalty", "temperature", "top_p")),
        (
            "ft:o4-mini-2025:acme",
            "low",
            ("frequency_penalty", "presence_penalty", "stop", "temperature", "top_p"),
        ),
    ],
)
def test_what_an_openai_model_refuses_is_left_out_and_named(
    model: str, effort: Any, left_out: tuple[str, ...]
):
    config = msgspec.structs.replace(FULL, reasoning_effort=effort)
    request = GenerateRequest(provider=OpenAI(model=model), messages=HELLO, config=config)

    assert omitted(request) == left_out
    assert set(ALL) - set(msgspec.json.decode(build(request))) == set(left_out)


def test_only_given_settings_are_named_as_left_out():
    config = ModelConfig(top_p=0.5)

    assert omitted(GenerateRequest(provider=OpenAI(model="o3"), messages=HELLO, config=config)) == (
        "top_p",
    )
    assert omitted(GenerateRequest(provider=OpenAI(model="o3"), messages=HELLO)) == ()


def test_groq_gets_only_the_efforts_it_knows():
    config = ModelConfig(reasoning_effort="xhigh")

    assert "reasoning_effort" not in body(Groq(model="llama"), config)
    assert body(CUSTOM, config)["reasoning_effort"] == "xhigh"


def test_a_schema_becomes_a_response_format():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    config = ModelConfig(response_format=JsonSchemaFormat(schema=schema, name="sum", strict=False))

    assert body(CUSTOM, config)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "sum", "schema": schema, "strict": False},
    }


def test_tools_and_the_turns_that_used_them_are_written_out():
    messages = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(
            role="assistant",
            content="",
            tool_calls=[ToolCall(id="a", name="time", arguments="{}")],
        ),
        ChatMessage(role="tool", content="12:00", tool_call_id="a"),
    ]
    tools = [
        ToolDefinition(name="time", description="The time of day", parameters={"type": "object"})
    ]
    request = GenerateRequest(provider=CUSTOM, messages=messages, tools=tools)

    written = msgspec.json.decode(build(request))

    assert written["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "time", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "12:00", "tool_call_id": "a"},
    ]
    assert written["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "time",
                "description": "The time of day",
                "parameters": {"type": "object"},
            },
        }
    ]
