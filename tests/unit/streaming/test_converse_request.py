"""Request bodies for Bedrock: as expected, and as the service's own model allows."""

from typing import Any

import msgspec
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.wires.converse import request as converse
from actors.streaming.core.wires.titan import request as titan
from schemas.llm import (
    ChatMessage,
    GenerateRequest,
    ImageUrl,
    JsonObjectFormat,
    ModelConfig,
    NamedTool,
    ProviderBlock,
)
from schemas.providers import Bedrock
from tests.conversations import CALLS, FULL, PIXEL, SCHEMA, TIME, WEATHER, asked, conversation

THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}}
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def at(model: str = CLAUDE) -> Bedrock:
    return Bedrock(model=model, region="us-east-1")


def body(config: ModelConfig | None = None, model: str = CLAUDE, **more: Any) -> dict[str, Any]:
    return converse.body(asked(at(model), config, **more))


@pytest.mark.parametrize(
    "more",
    [
        {"messages": conversation("converse", THOUGHT), "tools": [WEATHER, TIME]},
        {"config": FULL},
        {"config": ModelConfig(tool_choice="required", cache="1h"), "tools": [TIME]},
        {"config": ModelConfig(tool_choice=NamedTool(name="time")), "tools": [TIME]},
        {"config": ModelConfig(reasoning_effort="high", top_k=5, service_tier="flex")},
        {"messages": [ChatMessage(role="user", content="B", cache="5m")]},
    ],
)
def test_bodies_are_what_the_service_model_allows(more: dict[str, Any]):
    service = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    shape = service.operation_model("ConverseStream").input_shape

    report = ParamValidator().validate({"modelId": "m", **body(**more)}, shape)

    assert not report.has_errors(), report.generate_report()


def test_a_whole_conversation_is_written_with_images_calls_results_and_kept_reasoning():
    written = body(FULL, messages=conversation("converse", THOUGHT), tools=[WEATHER, TIME])

    image = {"image": {"format": "png", "source": {"bytes": PIXEL}}}
    assert written["system"] == [{"text": "Be brief."}]
    assert written["messages"] == [
        {"role": "user", "content": [{"text": "Where?"}, image]},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}},
                {"toolUse": {"toolUseId": "t2", "name": "time", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": '{"sun":true}'}]}},
                {
                    "toolResult": {
                        "toolUseId": "t2",
                        "content": [{"text": "no clock"}],
                        "status": "error",
                    }
                },
                {"text": "And now?"},
            ],
        },
    ]
    weather = {
        "name": "weather",
        "inputSchema": {"json": SCHEMA},
        "description": "The weather.",
    }
    time = {"name": "time", "inputSchema": {"json": {"type": "object"}}}
    assert written["toolConfig"] == {"tools": [{"toolSpec": weather}, {"toolSpec": time}]}


def test_settings_have_the_names_of_the_service():
    written = body(FULL)

    assert written["inferenceConfig"] == {
        "maxTokens": 100,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["|"],
    }
    form = written["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    schema = form["structure"]["jsonSchema"]
    assert (schema["name"], msgspec.json.decode(schema["schema"])) == ("place", SCHEMA)


def test_nothing_is_written_that_was_not_asked_for():
    assert body() == {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        (NamedTool(name="time"), {"tool": {"name": "time"}}),
    ],
)
def test_the_choice_of_tools_is_written(choice: Any, written: dict[str, Any]):
    config = ModelConfig(tool_choice=choice)

    assert body(config, tools=[TIME])["toolConfig"]["toolChoice"] == written


def test_what_is_to_be_cached_is_marked_behind_system_tools_and_messages():
    messages = [
        ChatMessage(role="system", content="A"),
        ChatMessage(role="user", content="B", cache="5m"),
    ]

    written = body(ModelConfig(cache="1h"), messages=messages, tools=[TIME])

    hour = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert written["system"] == [{"text": "A"}, hour]
    assert written["toolConfig"]["tools"][-1] == hour
    assert written["messages"][0]["content"] == [
        {"text": "B"},
        {"cachePoint": {"type": "default"}},
    ]


@pytest.mark.parametrize(
    ("model", "config", "fields"),
    [
        (
            CLAUDE,
            ModelConfig(reasoning_effort="high", max_tokens=40_000),
            {"thinking": {"type": "enabled", "budget_tokens": 16_384}},
        ),
        (
            CLAUDE,
            ModelConfig(reasoning_effort="high", max_tokens=4000),
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        (
            CLAUDE,
            ModelConfig(reasoning_budget=5000),
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
        ),
        (
            "global.anthropic.claude-opus-4-6-v1",
            ModelConfig(reasoning_effort="max"),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        ),
        (
            "us.amazon.nova-2-lite-v1:0",
            ModelConfig(reasoning_effort="xhigh", top_k=5),
            {
                "inferenceConfig": {"topK": 5},
                "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"},
            },
        ),
        (
            "openai.gpt-oss-120b-1:0",
            ModelConfig(reasoning_effort="low"),
            {"reasoning_effort": "low"},
        ),
        (CLAUDE, ModelConfig(top_k=5), {"top_k": 5}),
        (CLAUDE, ModelConfig(reasoning_effort="none"), None),
    ],
)
def test_models_are_told_to_reason_in_their_own_fields(
    model: str, config: ModelConfig, fields: dict[str, Any] | None
):
    assert body(config, model).get("additionalModelRequestFields") == fields


def test_blank_texts_are_left_out_because_they_are_refused():
    messages = [
        ChatMessage(role="user", content="Hi"),
        ChatMessage(role="assistant", content=" \n", tool_calls=CALLS[:1]),
        ChatMessage(role="tool", content="", tool_call_id="t1"),
        ChatMessage(role="assistant", content=""),
    ]

    written = body(messages=messages, tools=[WEATHER])["messages"]

    call = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}}
    assert written[1:] == [
        {"role": "assistant", "content": [call]},
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "(empty)"}]}}],
        },
    ]


def test_extra_fields_go_under_ours():
    extra = {
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"anthropic_beta": ["x"]},
        "inferenceConfig": {"maxTokens": 1},
    }

    written = body(ModelConfig(max_tokens=9, top_k=3, extra=extra))

    assert written["guardrailConfig"] == extra["guardrailConfig"]
    assert written["additionalModelRequestFields"] == {"anthropic_beta": ["x"], "top_k": 3}
    assert written["inferenceConfig"] == {"maxTokens": 9}


def test_an_image_by_address_is_refused_because_bedrock_fetches_none():
    picture = ChatMessage(role="user", content=[ImageUrl(url="https://example.com/a.png")])

    with pytest.raises(ProviderFaultError) as caught:
        converse.body(asked(at(), messages=[picture]))

    assert (caught.value.problem.code, caught.value.problem.retryable) == ("validation", False)


def test_json_without_a_schema_is_not_written():
    assert "outputConfig" not in body(ModelConfig(response_format=JsonObjectFormat()))


def test_redacted_reasoning_goes_back_as_it_came():
    hidden = {"reasoningContent": {"redactedContent": "AQID"}}
    turn = ChatMessage(
        role="assistant", content="Hi", blocks=[ProviderBlock(wire="converse", raw=hidden)]
    )

    written = body(messages=[ChatMessage(role="user", content="A"), turn])

    assert written["messages"][1]["content"] == [hidden, {"text": "Hi"}]


def test_novas_own_format_names_its_version_and_keeps_top_k_with_the_rest():
    config = ModelConfig(max_tokens=10, top_k=5, reasoning_effort="low")

    assert converse.nova(asked(at("amazon.nova-2-lite-v1:0"), config)) == {
        "schemaVersion": "messages-v1",
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
        "inferenceConfig": {"maxTokens": 10, "topK": 5},
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"},
    }


def test_titan_gets_one_prompt_as_it_is_and_a_conversation_as_one_text():
    titan_model = at("amazon.titan-text-lite-v1")
    turns = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="Hi"),
        ChatMessage(role="assistant", content="Hello"),
        ChatMessage(role="user", content="Bye"),
    ]

    config = ModelConfig(max_tokens=10, stop_sequences=["|"])
    assert titan.body(asked(titan_model, config)) == {
        "inputText": "Hello",
        "textGenerationConfig": {"maxTokenCount": 10, "stopSequences": ["|"]},
    }
    assert titan.body(GenerateRequest(provider=titan_model, messages=turns)) == {
        "inputText": "Be brief.\n\nUser: Hi\nBot: Hello\nUser: Bye\nBot:"
    }
