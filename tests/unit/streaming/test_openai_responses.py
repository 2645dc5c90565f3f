from typing import Any

import pytest

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader, usage_of
from actors.streaming.core.wires.openai_responses.request import body
from schemas.llm import (
    Answer,
    ChatMessage,
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
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.usage import Usage
from tests.wires import answered, failed, play, sse

HELLO = ChatMessage(role="user", content="Hello")
USAGE = {"input_tokens": 9, "output_tokens": 5}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "gAAA",
}


def reader() -> ResponsesReader:
    provider = OpenAI(model="m", api="responses")
    return ResponsesReader(GenerateRequest(provider=provider, messages=[HELLO]))


def event(kind: str, **fields: Any) -> bytes:
    return sse({"type": f"response.{kind}", "sequence_number": 1, **fields}, f"response.{kind}")


def text(*pieces: str, index: int = 0) -> list[bytes]:
    whole = "".join(pieces)
    place = {"output_index": index, "content_index": 0, "item_id": f"msg_{index}"}
    content = [{"type": "output_text", "text": whole}]
    return [
        event("output_item.added", output_index=index, item={"type": "message", "content": []}),
        *(event("output_text.delta", delta=piece, **place) for piece in pieces),
        event("output_text.done", text=whole, **place),
        event("output_item.done", output_index=index, item={"type": "message", "content": content}),
    ]


def ended(status: str = "completed", **fields: Any) -> bytes:
    response = {"model": "gpt-x", "status": status, "usage": USAGE} | fields
    return event(status, response=response)


def read(*events: bytes) -> tuple[list[Delta], Answer]:
    return answered(reader(), [event("created", response={"model": "gpt-x"}), *events])


def test_an_answer_is_its_pieces_with_the_reason_usage_and_model():
    deltas, answer = read(*text("Hel", "lo"), ended())

    assert deltas == [TextDelta("Hel"), TextDelta("lo")]
    assert answer == Answer(
        text="Hello",
        finish_reason="stop",
        usage=Usage(input=9, output=5),
        model_served="gpt-x",
        provider_finish_reason="completed",
        raw_usage=USAGE,
    )


def test_text_may_come_in_several_items():
    assert read(*text("Hel", index=0), *text("lo", index=1), ended())[1].text == "Hello"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("steered", "other"),
    ],
)
def test_an_incomplete_response_says_why(reason: str, finish: str):
    _, answer = read(*text("x"), ended("incomplete", incomplete_details={"reason": reason}))

    assert (answer.finish_reason, answer.provider_finish_reason) == (finish, reason)


def test_a_refusal_is_text_with_its_own_reason():
    place = {"output_index": 0, "content_index": 0}
    events = [
        event("refusal.delta", delta="I can", **place),
        event("refusal.delta", delta="not.", **place),
        event("refusal.done", refusal="I cannot.", **place),
    ]

    _, answer = read(*events, ended())

    assert (answer.text, answer.finish_reason) == ("I cannot.", "refusal")


def test_calls_are_put_together_whatever_happens_to_their_ids():
    added = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather"}
    events = [
        event("output_item.added", output_index=0, item=added | {"arguments": ""}),
        event("output_item.added", output_index=1, item={"type": "function_call", "call_id": "c2"}),
        event("function_call_arguments.delta", output_index=0, item_id="fc_1", delta='{"a"'),
        event("function_call_arguments.delta", output_index=0, item_id="fc_9", delta=":1}"),
        event("function_call_arguments.done", output_index=0, arguments='{"a":1}'),
        event("output_item.done", output_index=0, item=added | {"arguments": '{"a":1}'}),
        event(
            "output_item.done",
            output_index=1,
            item={"type": "function_call", "call_id": "c2", "name": "time", "arguments": ""},
        ),
    ]

    deltas, answer = read(*events, ended())

    assert answer.finish_reason == "tool_calls"
    assert deltas == answer.tool_calls
    assert answer.tool_calls == [
        ToolCall(id="c1", name="weather", arguments='{"a":1}'),
        ToolCall(id="c2", name="time", arguments="{}"),
    ]


def test_a_custom_tool_is_called_with_plain_text():
    item = {"type": "custom_tool_call", "call_id": "c1", "name": "shell"}
    events = [
        event("output_item.added", output_index=0, item=item),
        event("custom_tool_call_input.delta", output_index=0, delta="ls"),
        event("output_item.done", output_index=0, item=item | {"input": "ls -l"}),
    ]

    assert read(*events, ended())[1].tool_calls == [
        ToolCall(id="c1", name="shell", arguments="ls -l")
    ]


@pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text"])
def test_reasoning_is_told_and_its_item_kept_for_the_next_turn(kind: str):
    place = {"output_index": 0, "content_index": 0, "summary_index": 0}
    events = [
        event("output_item.added", output_index=0, item={"type": "reasoning", "summary": []}),
        event(f"{kind}.delta", delta="H", **place),
        event(f"{kind}.delta", delta="m.", **place),
        event(f"{kind}.done", text="Hm.", **place),
        event("output_item.done", output_index=0, item=REASONING),
    ]

    deltas, answer = read(*events, *text("Yes", index=1), ended())

    assert deltas == [ReasoningDelta("H"), ReasoningDelta("m."), TextDelta("Yes")]
    assert answer.reasoning == "Hm."
    assert answer.blocks == [ProviderBlock(wire="openai_responses", raw=REASONING)]


def test_reasoning_that_could_not_be_sent_back_is_not_kept():
    hollow = {"type": "reasoning", "id": "rs_1", "summary": []}
    done = event("output_item.done", output_index=0, item=hollow)

    assert read(done, *text("x", index=1), ended())[1].blocks == []


def test_searches_are_counted_and_their_items_kept():
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    done = event("output_item.done", output_index=0, item=search)

    _, answer = read(done, *text("x", index=1), ended())

    assert answer.usage == Usage(input=9, output=5, searches=1)
    assert [block.raw for block in answer.blocks] == [search]


def test_a_server_may_send_texts_whole_in_any_of_the_last_events():
    part = event("output_text.done", output_index=0, content_index=0, text="Hello")
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    item = event("output_item.done", output_index=0, item=message)

    for events in ([part], [part, item], [item]):
        assert read(*events, ended())[1].text == "Hello"
    assert read(ended(output=[message]))[1].text == "Hello"
    assert read(*text("Hello"), ended(output=[message]))[1].text == "Hello"


def test_what_is_not_known_is_passed_over():
    unknown = [
        event("apply_patch_call_operation_diff.delta", output_index=0, delta={"a": 1}),
        event("output_text.annotation.added", annotation={"type": "url"}),
        event("in_progress", response={"status": "in_progress"}),
        sse({"type": "keepalive"}, "keepalive"),
        sse({}),
        sse(""),
    ]

    assert read(*unknown, *text("x"), ended(), sse("[DONE]"))[1].text == "x"


# The end and errors


def test_without_its_last_event_a_response_was_cut():
    for events in (text("Hello"), [*text("Hello"), sse("[DONE]")]):
        assert failed(reader(), events).message == "The provider ended the stream in mid-answer."


def test_an_error_and_the_failure_that_follows_are_one():
    error = {"type": "error", "code": "rate_limit_exceeded", "message": "secret words"}
    failure = ended("failed", error={"code": "server_error", "message": "secret words"})

    deltas, problem = play(reader(), [*text("x"), sse(error, "error") + failure])

    assert deltas == [TextDelta("x")]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.retryable) == ("rate_limited", True)
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "server_error"}, "provider_error"),
        ({"code": "rate_limit_exceeded"}, "rate_limited"),
        (None, "provider_error"),
    ],
)
def test_a_failed_response_is_a_failure(error: Any, code: str):
    assert failed(reader(), [*text("x"), ended("failed", error=error)]).code == code


def test_a_nested_error_is_understood_as_well():
    error = {"type": "error", "error": {"type": "invalid_request_error", "code": "x"}}

    assert not failed(reader(), [sse(error, "error")]).retryable


def test_an_unreadable_event_fails_the_call_and_loses_no_other():
    deltas, problem = play(reader(), [*text("a"), sse("{"), *text("b", index=1), ended()])

    assert deltas == [TextDelta("a"), TextDelta("b")]
    assert isinstance(problem, Problem)


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (USAGE, Usage(input=9, output=5)),
        (
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(input=10, cache_read=60, cache_write=30, output=20, reasoning=15),
        ),
        ({}, Usage()),
    ],
)
def test_usage_goes_into_buckets_that_never_overlap(raw: dict[str, Any], usage: Usage):
    assert usage_of(raw, "exact") == usage


# Requests


def written(
    *messages: ChatMessage,
    model: str = "gpt-4o",
    tools: list[ToolDefinition] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    request = GenerateRequest(
        provider=OpenAI(model=model, api="responses"),
        messages=list(messages) or [HELLO],
        tools=tools or [],
        config=ModelConfig(**settings),
    )
    return body(request)


def test_a_plain_request_stores_nothing_and_asks_for_no_padding():
    assert written() == {
        "model": "gpt-4o",
        "input": [{"type": "message", "role": "user", "content": "Hello"}],
        "store": False,
        "stream": True,
        "stream_options": {"include_obfuscation": False},
    }
    assert written(extra={"store": True})["store"] is True


def test_models_that_think_send_their_reasoning_along():
    assert written(model="gpt-5")["include"] == ["reasoning.encrypted_content"]
    assert "include" not in written(model="gpt-5-chat-latest")


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"max_tokens": 7}, {"max_output_tokens": 7}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"reasoning_summary": "auto"}, {"reasoning": {"summary": "auto"}}),
        ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
        (
            {"response_format": JsonObjectFormat()},
            {"text": {"format": {"type": "json_object"}}},
        ),
        (
            {"response_format": JsonSchemaFormat(schema={"type": "object"})},
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "answer",
                        "schema": {"type": "object"},
                        "strict": True,
                    }
                }
            },
        ),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {}),
        (
            {"temperature": 0.5, "service_tier": "flex"},
            {"temperature": 0.5, "service_tier": "flex"},
        ),
    ],
)
def test_settings_have_their_names_here(settings: dict[str, Any], fields: dict[str, Any]):
    assert written(**settings) == written() | fields


@pytest.mark.parametrize(
    ("choice", "sent"),
    [(NamedTool(name="a"), {"type": "function", "name": "a"}), ("required", "required")],
)
def test_the_choice_among_tools_has_its_names_here(choice: Any, sent: Any):
    assert written(tools=[ToolDefinition(name="a")], tool_choice=choice)["tool_choice"] == sent


def test_tools_are_flat_here():
    assert written(tools=[ToolDefinition(name="time", description="The time")])["tools"] == [
        {
            "type": "function",
            "name": "time",
            "description": "The time",
            "parameters": {"type": "object"},
            "strict": False,
        }
    ]


def test_each_message_goes_back_in_the_phase_it_was_said_in():
    def said(index: int, text: str, phase: str) -> list[bytes]:
        content = [{"type": "output_text", "text": text}]
        item = {"type": "message", "role": "assistant", "content": content, "phase": phase}
        added = {"type": "response.output_item.added", "output_index": index}
        delta = {"type": "response.output_text.delta", "output_index": index, "delta": text}
        done = {"type": "response.output_item.done", "output_index": index, "item": item}
        return [sse(added | {"item": item | {"content": []}}), sse(delta), sse(done)]

    _, answer = read(
        *said(0, "Let me see.", "commentary"), *said(1, "Four.", "final_answer"), ended()
    )
    message = ChatMessage(role="assistant", content=answer.text, blocks=answer.blocks)
    written = body(GenerateRequest(provider=OpenAI(model="m"), messages=[message]))["input"]

    assert [(item["content"][0]["text"], item["phase"]) for item in written] == [
        ("Let me see.", "commentary"),
        ("Four.", "final_answer"),
    ]


def test_a_conversation_goes_along_whole_with_its_reasoning_in_place():
    said = ChatMessage(
        role="assistant",
        content="I look.",
        tool_calls=[ToolCall(id="c1", name="look", arguments="{}")],
        blocks=[
            ProviderBlock(wire="openai_responses", raw=REASONING, after_text=0),
            ProviderBlock(wire="anthropic", raw={"type": "thinking"}),
        ],
    )
    picture = ChatMessage(
        role="user",
        content=[
            TextPart(text="What is it?"),
            ImageUrl(url="https://example.com/a.png", detail="low"),
            ImageData(media_type="image/png", data="AAAA"),
        ],
    )
    result = ChatMessage(role="tool", content="A cat.", tool_call_id="c1")

    assert written(ChatMessage(role="system", content="Look."), picture, said, result)["input"] == [
        {"type": "message", "role": "system", "content": "Look."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {
                    "type": "input_image",
                    "image_url": "https://example.com/a.png",
                    "detail": "low",
                },
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,AAAA",
                    "detail": "auto",
                },
            ],
        },
        REASONING,
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look."}],
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "A cat."},
    ]
