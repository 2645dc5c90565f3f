"""What the references name that no recording holds, each format in its own words.

The streams are written by hand from the providers' own types and from compatible servers' sources.
"""

from typing import Any

import pytest

from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import ToolCall
from schemas.usage import Usage
from tests.frames import event as frame
from tests.frames import exception
from tests.wires import refused, sse, told

# Responses


def test_events_that_are_new_to_us_are_passed_over_whatever_is_in_them():
    strange = [
        sse({"type": "response.apply_patch.delta", "output_index": "none", "text": {"a": 1}}),
        sse({"type": "response.mood", "item": ["x"], "response": "x"}),
    ]
    text = sse({"type": "response.output_text.delta", "delta": "Hi"})
    end = sse({"type": "response.completed", "response": {"status": "completed"}})

    assert told(ResponsesReader, *strange, text, *strange, end).text == "Hi"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("max_messages", "length"),
        ("steered", "other"),
    ],
)
def test_an_incomplete_response_keeps_its_text_usage_and_reason(reason: str, finish: str):
    response = {
        "status": "incomplete",
        "incomplete_details": {"reason": reason},
        "usage": {"input_tokens": 7, "output_tokens": 2},
    }

    answer = told(
        ResponsesReader,
        sse({"type": "response.output_text.delta", "delta": "Hal"}),
        sse({"type": "response.incomplete", "response": response}),
    )

    assert (answer.text, answer.finish_reason) == ("Hal", finish)
    assert (answer.provider_finish_reason, answer.usage) == (reason, Usage(input=7, output=2))


def test_what_a_server_searched_is_counted_and_its_citations_are_no_text():
    search = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}
    opened = {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page"}}
    cited = {"type": "url_citation", "url": "https://x", "start_index": 0, "end_index": 2}
    told_part = {"type": "output_text", "text": "Hi", "annotations": [cited], "logprobs": []}
    item = {"type": "message", "role": "assistant", "content": [told_part]}
    spent = {"input_tokens": 7, "output_tokens": 2}

    answer = told(
        ResponsesReader,
        sse({"type": "response.output_item.added", "output_index": 0, "item": search}),
        sse({"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"}),
        sse({"type": "response.output_item.done", "output_index": 0, "item": search}),
        sse({"type": "response.output_item.done", "output_index": 2, "item": opened}),
        sse({"type": "response.output_text.delta", "output_index": 1, "delta": "Hi"}),
        sse(
            {
                "type": "response.output_text.annotation.added",
                "output_index": 1,
                "annotation": cited,
            }
        ),
        sse({"type": "response.output_item.done", "output_index": 1, "item": item}),
        sse({"type": "response.completed", "response": {"status": "completed", "usage": spent}}),
    )

    assert (answer.text, answer.tool_calls) == ("Hi", [])
    assert answer.usage == Usage(input=7, output=2, searches=1)
    assert [block.raw for block in answer.blocks] == [search, opened]


def test_a_failed_response_is_typed_by_its_code():
    problem = {"code": "rate_limit_exceeded", "message": "secret"}
    event = {"type": "response.failed", "response": {"status": "failed", "error": problem}}

    assert refused(ResponsesReader, sse(event)) == ("rate_limited", True)


# Messages


def block(index: int, **content: Any) -> bytes:
    return sse({"type": "content_block_start", "index": index, "content_block": content})


def grown(index: int, **content: Any) -> bytes:
    return sse({"type": "content_block_delta", "index": index, "delta": content})


def closed(index: int) -> bytes:
    return sse({"type": "content_block_stop", "index": index})


def ended(reason: str, **counted: Any) -> bytes:
    last = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": counted}
    return sse(last) + sse({"type": "message_stop"})


def test_citations_grow_no_text():
    cited = {"type": "web_search_result_location", "url": "https://x", "cited_text": "secret"}

    answer = told(
        MessagesReader,
        block(0, type="text", text="", citations=[]),
        grown(0, type="citations_delta", citation=cited),
        grown(0, type="text_delta", text="Hi"),
        closed(0),
        ended("end_turn"),
    )

    assert (answer.text, answer.finish_reason) == ("Hi", "stop")


def test_a_search_of_the_providers_is_kept_counted_and_no_call():
    result = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    counted = {"input_tokens": 7, "output_tokens": 2}

    answer = told(
        MessagesReader,
        block(0, type="server_tool_use", id="srv_1", name="web_search", input={}),
        grown(0, type="input_json_delta", partial_json='{"query":'),
        grown(0, type="input_json_delta", partial_json='"x"}'),
        closed(0),
        block(1, **result),
        closed(1),
        block(2, type="text", text=""),
        grown(2, type="text_delta", text="Hi"),
        closed(2),
        ended("pause_turn", **counted, server_tool_use={"web_search_requests": 2}),
    )

    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("Hi", [], "pause")
    assert answer.usage == Usage(input=7, output=2, searches=2)
    searched = {"type": "server_tool_use", "id": "srv_1", "name": "web_search"}
    assert [kept.raw for kept in answer.blocks] == [searched | {"input": {"query": "x"}}, result]


def test_events_and_deltas_that_are_new_are_passed_over_whatever_is_in_them():
    answer = told(
        MessagesReader,
        sse({"type": "message_mood", "delta": "x", "index": "none", "usage": []}),
        block(0, type="text", text=""),
        grown(0, type="mood_delta", text={"a": 1}, content=7),
        grown(0, type="text_delta", text="Hi"),
        ended("model_context_window_exceeded"),
    )

    assert (answer.text, answer.finish_reason) == ("Hi", "length")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ("provider_overloaded", True)),
        ("api_error", ("provider_error", True)),
        ("rate_limit_error", ("rate_limited", True)),
        ("invalid_request_error", ("provider_error", False)),
        ("billing_error", ("rate_limited", False)),
    ],
)
def test_an_error_event_ends_a_message_by_its_kind(kind: str, expected: Any):
    event = {"type": "error", "error": {"type": kind, "message": "secret"}, "request_id": "r"}
    text = [block(0, type="text", text=""), grown(0, type="text_delta", text="Hel")]

    assert refused(MessagesReader, *text, sse(event, "error")) == expected


# Gemini


def chunk(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    return b"data: " + sse({"candidates": [candidate], **more})[6:].replace(b"\n", b"\r\n")


def test_a_second_candidate_is_not_mixed_in():
    other = {"index": 1, "content": {"parts": [{"text": "B"}]}, "finishReason": "MAX_TOKENS"}
    first = {"index": 0, "content": {"parts": [{"text": "A"}]}, "finishReason": "STOP"}

    answer = told(GeminiReader, sse({"candidates": [other, first]}), sse({"candidates": [other]}))

    assert (answer.text, answer.finish_reason) == ("A", "stop")


def test_parallel_calls_without_ids_and_with_missing_arguments_stay_apart():
    answer = told(
        GeminiReader,
        chunk({"functionCall": {"name": "f", "args": {"x": 1}}}, {"functionCall": {"name": "f"}}),
        chunk({"functionCall": {"name": "g", "args": None}}, finish="STOP"),
    )

    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == [
        ToolCall(id="call_0", name="f", arguments='{"x":1}'),
        ToolCall(id="call_1", name="f", arguments="{}"),
        ToolCall(id="call_2", name="g", arguments="{}"),
    ]


def test_what_was_searched_and_parts_of_other_kinds_are_no_text():
    grounded = {"groundingMetadata": {"webSearchQueries": ["x"]}, "content": {"parts": []}}

    answer = told(
        GeminiReader,
        sse({"candidates": [grounded]}),
        chunk({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, {"text": "Hi"}),
        chunk({"toolCall": {"id": "1"}}, {"toolResponse": {"id": "1"}}, finish="STOP"),
    )

    assert (answer.text, answer.tool_calls) == ("Hi", [])


def test_a_blocked_prompt_has_no_candidates_and_says_what_it_used():
    feedback = {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []}

    answer = told(
        GeminiReader,
        sse({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 7}}),
    )

    assert (answer.text, answer.finish_reason) == ("", "content_filter")
    assert (answer.provider_finish_reason, answer.usage.input) == ("PROHIBITED_CONTENT", 7)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 503, "status": "UNAVAILABLE"}, ("provider_overloaded", True)),
        ({"status": "RESOURCE_EXHAUSTED"}, ("rate_limited", True)),
        ({"status": "DEADLINE_EXCEEDED"}, ("timeout", True)),
        ({"status": "INVALID_ARGUMENT"}, ("provider_error", False)),
        ({"status": "UNAUTHENTICATED"}, ("unauthorized", False)),
    ],
)
def test_googles_errors_are_typed_by_their_status(error: dict[str, Any], expected: Any):
    event = sse({"error": error | {"message": "secret"}})

    assert refused(GeminiReader, chunk({"text": "Hel"}), event) == expected


# Converse and Ollama


def test_citations_and_images_of_converse_grow_no_text():
    answer = told(
        ConverseReader,
        frame("messageStart", role="assistant"),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"citation": {"title": "secret"}}),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hi"}),
        frame("contentBlockStop", contentBlockIndex=0),
        frame("contentBlockStart", contentBlockIndex=1, start={"image": {"format": "png"}}),
        frame("messageStop", stopReason="guardrail_intervened"),
        frame("metadata", usage={"inputTokens": 7, "outputTokens": 2}, metrics={"latencyMs": 1}),
    )

    assert (answer.text, answer.finish_reason) == ("Hi", "content_filter")
    assert answer.usage == Usage(input=7, output=2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("throttlingException", ("rate_limited", True)),
        ("modelStreamErrorException", ("provider_error", True)),
        ("serviceUnavailableException", ("provider_overloaded", True)),
        ("internalServerException", ("provider_error", True)),
        ("modelTimeoutException", ("timeout", True)),
        ("validationException", ("provider_error", False)),
        ("newException", ("provider_error", True)),
    ],
)
def test_an_exception_between_the_frames_is_typed_by_its_name(name: str, expected: Any):
    text = frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hel"})

    assert refused(ConverseReader, text, exception(name, "secret")) == expected


def test_ollama_thinks_calls_and_ends_on_lines_of_their_own():
    def line(*, done: bool = False, **message: Any) -> bytes:
        told_too = {"done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2} if done else {}
        return sse({"model": "qwen3", "message": message, "done": done, **told_too})[6:-1]

    calls = [
        {"function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
        {"function": {"index": 1, "name": "f", "arguments": {}}},
    ]

    answer = told(
        OllamaReader,
        line(role="assistant", content="", thinking="Hm"),
        line(role="assistant", content="", tool_calls=calls),
        line(role="assistant", content="", done=True),
    )

    assert (answer.reasoning, answer.text, answer.finish_reason) == ("Hm", "", "tool_calls")
    assert answer.tool_calls == [
        ToolCall(id="call_0", name="f", arguments='{"x":1}'),
        ToolCall(id="call_1", name="f", arguments="{}"),
    ]
    assert answer.usage == Usage(input=7, output=2)
