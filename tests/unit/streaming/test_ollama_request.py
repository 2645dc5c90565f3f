from typing import Any

import pytest

from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.wires.ollama.request import chat, generate
from schemas.llm import ChatMessage, ImageData, ImageUrl, JsonObjectFormat, ModelConfig, TextPart
from schemas.providers import Ollama
from tests.conversations import FULL, PIXEL, SCHEMA, TIME, WEATHER, asked, conversation

QWEN = Ollama(model="qwen3", num_ctx=8192, keep_alive="10m")


def test_a_whole_conversation_is_written_with_images_calls_and_named_results():
    written = chat(asked(QWEN, messages=conversation("ollama"), tools=[WEATHER, TIME]))

    calls = [
        {"function": {"name": "weather", "arguments": {"city": "Rome"}}},
        {"function": {"name": "time", "arguments": {}}},
    ]
    assert written == {
        "model": "qwen3",
        "stream": True,
        "keep_alive": "10m",
        "options": {"num_ctx": 8192},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where?", "images": [PIXEL]},
            {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
            {"role": "tool", "content": '{"sun":true}', "tool_name": "weather"},
            {"role": "tool", "content": "no clock", "tool_name": "time"},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "parameters": SCHEMA,
                    "description": "The weather.",
                },
            },
            {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}},
        ],
    }


def test_sampling_goes_under_options():
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

    assert chat(asked(Ollama(model="m"), config))["options"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "num_predict": 100,
        "stop": ["|"],
        "seed": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
    }


def test_structured_output_is_a_schema_or_the_word_json():
    loose = ModelConfig(response_format=JsonObjectFormat())

    assert chat(asked(QWEN, FULL))["format"] == SCHEMA
    assert chat(asked(QWEN, loose))["format"] == "json"


@pytest.mark.parametrize(
    ("model", "effort", "think"),
    [
        ("qwen3", "none", False),
        ("qwen3", "low", True),
        ("gpt-oss:20b", "minimal", "low"),
        ("gpt-oss:20b", "max", "high"),
    ],
)
def test_models_think_or_not_and_some_to_a_degree(model: str, effort: Any, think: Any):
    config = ModelConfig(reasoning_effort=effort)

    assert chat(asked(Ollama(model=model), config))["think"] == think


def test_generate_takes_one_prompt_with_its_system_and_images():
    messages = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(
            role="user",
            content=[TextPart(text="Where?"), ImageData(media_type="image/png", data=PIXEL)],
        ),
    ]

    assert generate(asked(Ollama(model="m"), messages=messages)) == {
        "model": "m",
        "stream": True,
        "prompt": "Where?",
        "system": "Be brief.",
        "images": [PIXEL],
    }


def test_generate_refuses_a_conversation_and_tools():
    requests = asked(QWEN, messages=conversation("ollama")), asked(QWEN, tools=[TIME])
    for request in requests:
        with pytest.raises(ProviderFaultError, match="one prompt"):
            generate(request)


def test_an_image_by_address_is_refused_because_ollama_fetches_none():
    picture = ChatMessage(role="user", content=[ImageUrl(url="https://example.com/a.png")])

    with pytest.raises(ProviderFaultError, match="within the message"):
        chat(asked(QWEN, messages=[picture]))


def test_extra_fields_go_under_ours():
    extra = {"options": {"mirostat": 1, "num_ctx": 1}, "logprobs": True}

    written = chat(asked(QWEN, ModelConfig(extra=extra)))

    assert written["logprobs"] is True
    assert written["options"] == {"mirostat": 1, "num_ctx": 8192}
