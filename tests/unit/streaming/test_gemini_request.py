from typing import Any

import pytest

from actors.streaming.core.wires.gemini.request import body
from schemas.llm import (
    ChatMessage,
    ImageUrl,
    JsonObjectFormat,
    ModelConfig,
    NamedTool,
    ProviderBlock,
    ToolCall,
)
from schemas.providers import Google
from tests.conversations import FULL, PIXEL, SCHEMA, TIME, WEATHER, asked, conversation

GEMINI = Google(model="gemini-2.5-flash")
SIGNED_CALL = {"functionCall": {}, "thoughtSignature": "c2ln"}


def written(config: ModelConfig | None = None, model: str = GEMINI.model, **more: Any) -> Any:
    return body(asked(Google(model=model), config, **more))


def test_a_whole_conversation_is_written_with_images_calls_results_and_signatures():
    messages = conversation("gemini")
    signature = ProviderBlock(wire="gemini", raw=SIGNED_CALL, after_text=11)
    messages[2] = ChatMessage(
        role="assistant",
        content=messages[2].content,
        tool_calls=messages[2].tool_calls,
        blocks=[signature],
    )

    whole = written(messages=messages, tools=[WEATHER, TIME])

    assert whole["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert whole["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "Where?"},
                {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {
                    "functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "t1"},
                    "thoughtSignature": "c2ln",
                },
                {"functionCall": {"name": "time", "args": {}, "id": "t2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"sun": True}, "id": "t1"}},
                {
                    "functionResponse": {
                        "name": "time",
                        "response": {"error": "no clock"},
                        "id": "t2",
                    }
                },
                {"text": "And now?"},
            ],
        },
    ]
    assert whole["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "parametersJsonSchema": SCHEMA,
                    "description": "The weather.",
                },
                {"name": "time", "parametersJsonSchema": {"type": "object"}},
            ]
        }
    ]


def test_settings_have_the_names_of_the_service():
    config = ModelConfig(
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        max_tokens=100,
        stop_sequences=["|"],
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
    )

    assert written(config)["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 5,
        "maxOutputTokens": 100,
        "stopSequences": ["|"],
        "seed": 7,
        "frequencyPenalty": 0.1,
        "presencePenalty": 0.2,
    }


def test_structured_output_is_a_type_and_maybe_a_schema():
    whole = written(FULL)["generationConfig"]
    loose = written(ModelConfig(response_format=JsonObjectFormat()))["generationConfig"]

    assert whole["responseMimeType"] == "application/json"
    assert whole["responseJsonSchema"] == SCHEMA
    assert loose == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("model", "config", "thinking"),
    [
        ("gemini-2.5-pro", ModelConfig(reasoning_effort="low"), {"thinkingBudget": 1024}),
        ("gemini-2.5-flash", ModelConfig(reasoning_effort="none"), {"thinkingBudget": 0}),
        ("gemini-3-pro", ModelConfig(reasoning_effort="low"), {"thinkingLevel": "LOW"}),
        ("gemini-3.5-flash", ModelConfig(reasoning_effort="max"), {"thinkingLevel": "XHIGH"}),
        (
            "gemini-3-pro",
            ModelConfig(reasoning_effort="low", reasoning_budget=99),
            {"thinkingBudget": 99},
        ),
        (
            "gemini-3-pro",
            ModelConfig(reasoning_effort="high", reasoning_summary="auto"),
            {"thinkingLevel": "HIGH", "includeThoughts": True},
        ),
        ("gemini-3-pro", ModelConfig(reasoning_summary="none"), {"includeThoughts": False}),
    ],
)
def test_thinking_is_asked_for_by_level_or_by_budget_and_never_by_both(
    model: str, config: ModelConfig, thinking: dict[str, Any]
):
    assert written(config, model)["generationConfig"] == {"thinkingConfig": thinking}


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        (NamedTool(name="time"), {"mode": "ANY", "allowedFunctionNames": ["time"]}),
    ],
)
def test_the_choice_of_tools_is_written(choice: Any, mode: dict[str, Any]):
    config = ModelConfig(tool_choice=choice)

    assert written(config, tools=[TIME])["toolConfig"] == {"functionCallingConfig": mode}


def test_nothing_is_written_that_was_not_asked_for():
    assert written() == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_signed_texts_go_back_as_parts_of_their_own_in_their_places():
    blocks = [
        ProviderBlock(wire="gemini", raw={"text": "th", "thought": True, "thoughtSignature": "a"}),
        ProviderBlock(wire="gemini", raw={"text": "done", "thoughtSignature": "b"}, after_text=6),
        ProviderBlock(wire="gemini", raw={"text": "", "thoughtSignature": "c"}, after_text=10),
    ]
    turn = ChatMessage(role="assistant", content="Look: done.", blocks=blocks)

    assert written(messages=[turn])["contents"][0]["parts"] == [
        blocks[0].raw,
        {"text": "Look: "},
        blocks[1].raw,
        blocks[2].raw,
        {"text": "."},
    ]


@pytest.mark.parametrize(
    ("model", "blocks", "signatures"),
    [
        ("gemini-3-pro", [], ["skip_thought_signature_validator", None]),
        ("gemini-3-pro", [SIGNED_CALL], ["c2ln", None]),
        ("gemini-2.5-flash", [], [None, None]),
    ],
)
def test_calls_of_another_model_are_vouched_for_where_unsigned_ones_are_refused(
    model: str, blocks: list[dict[str, Any]], signatures: list[str | None]
):
    contents = written(model=model, messages=conversation("gemini", *blocks))["contents"]

    calls = [part for turn in contents for part in turn["parts"] if "functionCall" in part]
    assert [part.get("thoughtSignature") for part in calls] == signatures


def test_ids_that_are_ours_are_not_shown_to_the_service():
    turns = [
        ChatMessage(
            role="assistant",
            content="",
            tool_calls=[ToolCall(id="call_0", name="time", arguments="{}")],
        ),
        ChatMessage(role="tool", content="noon", tool_call_id="call_0"),
    ]

    assert written(messages=turns)["contents"] == [
        {"role": "model", "parts": [{"functionCall": {"name": "time", "args": {}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "time", "response": {"result": "noon"}}}],
        },
    ]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.com/a.PNG?x=1", "image/png"),
        ("https://example.com/a.jpg", "image/jpeg"),
        ("https://example.com/a", "image/jpeg"),
    ],
)
def test_an_image_by_address_is_written_with_its_kind(url: str, kind: str):
    picture = ChatMessage(role="user", content=[ImageUrl(url=url)])

    assert written(messages=[picture])["contents"][0]["parts"] == [
        {"fileData": {"mimeType": kind, "fileUri": url}}
    ]


def test_extra_fields_go_under_ours():
    extra = {"cachedContent": "c", "generationConfig": {"seed": 1, "candidateCount": 1}}

    whole = written(ModelConfig(seed=7, extra=extra))

    assert whole["cachedContent"] == "c"
    assert whole["generationConfig"] == {"seed": 7, "candidateCount": 1}
