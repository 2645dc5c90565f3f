from typing import Any

import pytest

from actors.streaming.core.wires.anthropic.request import body
from schemas.llm import (
    ChatMessage,
    GenerateRequest,
    ImageData,
    ImageUrl,
    JsonSchemaFormat,
    ModelConfig,
    NamedTool,
    ProviderBlock,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from schemas.providers import Anthropic

HELLO = ChatMessage(role="user", content="Hello")
HELLO_WRITTEN = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
TOOLS = [ToolDefinition(name="time", description="The time of day")]


def written(
    *messages: ChatMessage,
    model: str = "claude-sonnet-4-5",
    tools: list[ToolDefinition] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    return body(
        GenerateRequest(
            provider=Anthropic(model=model),
            messages=list(messages) or [HELLO],
            tools=tools or [],
            config=ModelConfig(**settings),
        )
    )


def test_a_plain_request_has_a_length_because_the_format_demands_one():
    assert written() == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 32_000,
        "messages": [HELLO_WRITTEN],
        "stream": True,
    }
    assert written(model="claude-3-haiku-20240307")["max_tokens"] == 4_096
    assert written(max_tokens=7)["max_tokens"] == 7


def test_settings_have_their_names_here():
    body = written(
        temperature=0.5,
        top_k=3,
        stop_sequences=["END"],
        service_tier="auto",
        cache="1h",
        extra={"metadata": {"user_id": "u"}, "model": "mine"},
    )

    assert (
        body
        | {
            "temperature": 0.5,
            "top_k": 3,
            "stop_sequences": ["END"],
            "service_tier": "auto",
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
            "metadata": {"user_id": "u"},
            "model": "claude-sonnet-4-5",
        }
        == body
    )


@pytest.mark.parametrize(
    ("model", "settings", "thinking", "output"),
    [
        ("claude-sonnet-4-5", {}, None, None),
        ("claude-sonnet-4-5", {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "medium"},
            {"type": "enabled", "budget_tokens": 8_192},
            None,
        ),
        (
            "claude-sonnet-4-20250514",
            {"reasoning_effort": "high", "max_tokens": 4_000},
            {"type": "enabled", "budget_tokens": 2_976},
            None,
        ),
        (
            "claude-opus-4-5",
            {"reasoning_effort": "low"},
            {"type": "enabled", "budget_tokens": 2_048},
            {"effort": "low"},
        ),
        (
            "claude-3-7-sonnet-20250219",
            {"reasoning_budget": 5_000},
            {"type": "enabled", "budget_tokens": 5_000},
            None,
        ),
        (
            "claude-opus-4-7",
            {"reasoning_effort": "xhigh"},
            {"type": "adaptive"},
            {"effort": "xhigh"},
        ),
        (
            "claude-sonnet-5",
            {"reasoning_effort": "high", "reasoning_summary": "auto"},
            {"type": "adaptive", "display": "summarized"},
            {"effort": "high"},
        ),
        (
            "claude-sonnet-5",
            {"reasoning_effort": "high", "reasoning_summary": "none"},
            {"type": "adaptive", "display": "omitted"},
            {"effort": "high"},
        ),
    ],
)
def test_each_model_is_told_to_think_in_its_own_way(
    model: str, settings: dict[str, Any], thinking: Any, output: Any
):
    body = written(model=model, **settings)

    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


def test_a_schema_is_a_format_of_the_output():
    form = JsonSchemaFormat(schema={"type": "object"})

    assert written(response_format=form)["output_config"] == {
        "format": {"type": "json_schema", "schema": {"type": "object"}}
    }


@pytest.mark.parametrize(
    ("settings", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": NamedTool(name="time")}, {"type": "tool", "name": "time"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_tools_and_their_choice_have_their_names_here(settings: dict[str, Any], choice: Any):
    body = written(tools=TOOLS, **settings)

    assert body["tools"] == [
        {"name": "time", "description": "The time of day", "input_schema": {"type": "object"}}
    ]
    assert body.get("tool_choice") == choice
    assert "tool_choice" not in written(**settings)


def test_system_messages_stand_at_the_top_wherever_they_were():
    body = written(
        ChatMessage(role="system", content="Be brief.", cache="5m"),
        HELLO,
        ChatMessage(role="system", content="Be kind."),
    )

    assert body["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    assert body["messages"] == [HELLO_WRITTEN]


def test_results_of_tools_are_one_turn_of_the_user():
    calls = [
        ToolCall(id="a", name="time", arguments="{}"),
        ToolCall(id="b", name="time", arguments="not json"),
        ToolCall(id="c", name="time", arguments="[1]"),
    ]
    body = written(
        HELLO,
        ChatMessage(role="assistant", content="", tool_calls=calls),
        ChatMessage(role="tool", content="12:00", tool_call_id="a"),
        ChatMessage(role="tool", content="", tool_call_id="b", is_error=True),
        ChatMessage(role="user", content="Go on."),
    )

    assert [call["input"] for call in body["messages"][1]["content"]] == [
        {},
        {"arguments": "not json"},
        {"arguments": "[1]"},
    ]
    assert body["messages"][2] == {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "a",
                "content": [{"type": "text", "text": "12:00"}],
            },
            {"type": "tool_result", "tool_use_id": "b", "is_error": True},
            {"type": "text", "text": "Go on."},
        ],
    }


def test_images_go_by_address_or_in_base64():
    parts = [
        TextPart(text="What are these?"),
        ImageUrl(url="https://example.com/a.png"),
        ImageData(media_type="image/png", data="AAAA"),
    ]

    assert written(ChatMessage(role="user", content=parts, cache="5m"))["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What are these?"},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                    "cache_control": {"type": "ephemeral"},
                },
            ],
        }
    ]


def test_blocks_of_other_formats_stay_at_home():
    foreign = ProviderBlock(wire="gemini", raw={"thoughtSignature": "x"})
    said = ChatMessage(role="assistant", content="Hi", blocks=[foreign])

    assert written(HELLO, said)["messages"][1]["content"] == [{"type": "text", "text": "Hi"}]


def test_a_block_of_thinking_carries_no_mark_of_the_cache():
    thought = ProviderBlock(wire="anthropic", raw={"type": "redacted_thinking", "data": "A"})
    said = ChatMessage(role="assistant", content="", blocks=[thought], cache="5m")

    assert written(HELLO, said)["messages"][1]["content"] == [thought.raw]
