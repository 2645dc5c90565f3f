from typing import Any

import pytest

from actors.streaming.core.wires.openai_chat import request as chat
from schemas.llm import (
    ChatMessage,
    ContentPart,
    GenerateRequest,
    ImageData,
    ImageUrl,
    JsonObjectFormat,
    JsonSchemaFormat,
    ModelConfig,
    NamedTool,
    ProviderBlock,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from schemas.providers import Custom, Groq, OpenAI, Provider

DIALECTS: dict[type, chat.Dialect] = {OpenAI: chat.OPENAI, Groq: chat.GROQ, Custom: chat.COMPATIBLE}
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
    return chat.body(request, DIALECTS[type(provider)])


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

    written = chat.body(request, chat.COMPATIBLE)

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


def test_images_go_by_address_whatever_they_came_as():
    parts = [
        TextPart(text="What are these?"),
        ImageUrl(url="https://example.com/a.png", detail="low"),
        ImageData(media_type="image/png", data="AAAA"),
    ]
    messages = [ChatMessage(role="user", content=parts)]
    request = GenerateRequest(provider=CUSTOM, messages=messages)

    assert chat.body(request, chat.COMPATIBLE)["messages"][0]["content"] == [
        {"type": "text", "text": "What are these?"},
        {
            "type": "image_url",
            "image_url": {"url": "https://example.com/a.png", "detail": "low"},
        },
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]


def test_images_of_tools_follow_their_results_as_a_users():
    image = ImageUrl(url="https://h/a.png")
    calls = [ToolCall(id=name, name="look", arguments="{}") for name in ("a", "b")]
    result: list[ContentPart] = [TextPart(text="Here."), image]
    request = GenerateRequest(
        provider=CUSTOM,
        messages=[
            ChatMessage(role="assistant", content="", tool_calls=calls),
            ChatMessage(role="tool", content=result, tool_call_id="a"),
            ChatMessage(role="tool", content="Nothing.", tool_call_id="b"),
            ChatMessage(role="user", content="So?"),
            ChatMessage(role="tool", content=result, tool_call_id="c"),
        ],
    )

    _, *messages = chat.body(request, chat.COMPATIBLE)["messages"]

    seen = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}],
    }
    assert messages == [
        {"role": "tool", "content": "Here.", "tool_call_id": "a"},
        {"role": "tool", "content": "Nothing.", "tool_call_id": "b"},
        seen,
        {"role": "user", "content": "So?"},
        {"role": "tool", "content": "Here.", "tool_call_id": "c"},
        seen,
    ]


def test_kept_reasoning_goes_back_with_its_turn_and_other_formats_blocks_do_not():
    said = ChatMessage(
        role="assistant",
        content="",
        tool_calls=[ToolCall(id="a", name="time", arguments="{}")],
        blocks=[
            ProviderBlock(wire="openai_chat", raw={"reasoning_content": "Hm."}),
            ProviderBlock(wire="anthropic", raw={"type": "thinking"}),
        ],
    )
    request = GenerateRequest(provider=CUSTOM, messages=[said])

    (written,) = chat.body(request, chat.COMPATIBLE)["messages"]

    assert written["reasoning_content"] == "Hm."
    assert set(written) == {"role", "content", "tool_calls", "reasoning_content"}


@pytest.mark.parametrize("provider", [OpenAI(model="gpt-4o"), Groq(model="m")])
def test_what_only_another_server_knows_is_not_sent(provider: Provider):
    call = ToolCall(id="a", name="look", arguments="{}")
    blocks = [
        ProviderBlock(wire="openai_chat", raw={"reasoning_content": "Hm."}),
        ProviderBlock(wire="openai_chat", raw={"extra_content": [{"google": {}}]}),
    ]
    said = ChatMessage(role="assistant", content="", tool_calls=[call], blocks=blocks)
    request = GenerateRequest(provider=provider, messages=[said])

    (written,) = chat.body(request, DIALECTS[type(provider)])["messages"]

    assert set(written) == {"role", "content", "tool_calls"}
    assert set(written["tool_calls"][0]) == {"id", "type", "function"}


def test_tools_are_chosen_and_reasoning_shown_as_each_server_says_it():
    named = ModelConfig(tool_choice=NamedTool(name="time"), parallel_tool_calls=False)
    shown, hidden = ModelConfig(reasoning_summary="auto"), ModelConfig(reasoning_summary="none")

    chosen = body(CUSTOM, named, tools=[ToolDefinition(name="time")])

    assert chosen["tool_choice"] == {"type": "function", "function": {"name": "time"}}
    assert chosen["parallel_tool_calls"] is False
    assert body(Groq(model="m"), shown)["reasoning_format"] == "parsed"
    assert body(Groq(model="m"), hidden)["reasoning_format"] == "hidden"
    assert "reasoning_format" not in body(CUSTOM, shown)


def test_where_there_are_no_tools_there_is_no_choice_among_them():
    idle = ModelConfig(tool_choice="auto", parallel_tool_calls=False)
    added = ModelConfig(tool_choice="auto", extra={"tools": [{"type": "web_search"}]})

    assert body(CUSTOM, idle) == body(CUSTOM)
    assert body(CUSTOM, added)["tool_choice"] == "auto"


def test_what_a_definition_adds_goes_along_and_replaces_nothing_of_ours():
    config = ModelConfig(extra={"logit_bias": {"1": 2}, "stream": False, "model": "another"})

    written = body(CUSTOM, config)

    assert written["logit_bias"] == {"1": 2}
    assert (written["stream"], written["model"]) == (True, "m")
