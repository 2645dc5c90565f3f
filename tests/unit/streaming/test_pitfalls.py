"""What providers are known to do on the wire, each by its number in the list of known pitfalls.

Numbers 14 (time-outs) and 15 (closing) are about connections: ``tests/integration``.
"""

from typing import Any

import msgspec
import pytest

from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.errors.faults import failure_in_stream, refusal
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Custom
from schemas.usage import Usage
from tests.frames import event as frame
from tests.wires import answered, bytewise, failed, play, sse

REQUEST = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
)
DONE = b"data: [DONE]\n\n"


def delta(finish: str | None = None, /, **grown: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": grown, "finish_reason": finish}]}


def chat(*events: dict[str, Any] | bytes, custom: bool = False) -> Answer:
    written = [one if isinstance(one, bytes) else sse(one) for one in events]
    return answered(ChatReader(REQUEST, done_suffices=custom), written)[1]


def outcome(reader: Reader[Any], *events: Any) -> tuple[list[Any], Answer | Problem]:
    written = [one if isinstance(one, bytes) else sse(one) for one in events]
    return play(reader, written)


# 1: framing


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(sse(delta(content="ä😀\u2028")), id="characters split over reads"),
        pytest.param(sse(delta(content="ä😀\u2028")).replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(sse(delta(content="ä😀\u2028")).replace(b"\n", b"\r"), id="CR"),
        pytest.param(sse(delta(content="ä😀\u2028")).replace(b"data: ", b"data:"), id="no space"),
        pytest.param(
            sse(delta(content="ä😀\u2028")).replace(b'"choices":', b'"choices":\ndata: '),
            id="several data lines in one event",
        ),
        pytest.param(b"\xef\xbb\xbf" + sse(delta(content="ä😀\u2028")), id="byte order mark"),
        pytest.param(
            b": OPENROUTER PROCESSING\n\n" + sse(delta(content="ä😀\u2028")) + b":\n\n",
            id="comments that keep the connection alive",
        ),
        pytest.param(b"id: 1\nretry: 5\n" + sse(delta(content="ä😀\u2028")), id="id and retry"),
    ],
)
def test_pitfall_01_a_stream_may_be_framed_and_cut_in_any_way_the_standard_allows(stream: bytes):
    body = stream + sse(delta("stop"))

    for chunks in ([body], bytewise(body)):
        assert answered(ChatReader(REQUEST), chunks)[1].text == "ä😀\u2028"


# 2: the end


def test_pitfall_02_done_may_be_missing_or_followed_by_more_and_the_last_blank_line_too():
    end = sse(delta("stop"))

    assert chat(delta(content="x"), end).text == "x"
    assert chat(delta(content="x"), end, DONE, delta(content="y"), DONE).text == "x"
    assert chat(delta(content="x"), end.rstrip()).text == "x"
    assert chat(delta(content="x"), b"data: [DONE]", custom=True).text == "x"


# 3: no choices


def test_pitfall_03_a_chunk_without_choices_is_the_usage_or_azures_first():
    first = {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{}]}
    last = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}, "model": "m-1"}

    answer = chat(first, delta(content="x"), delta("stop"), last, DONE)

    assert (answer.text, answer.usage, answer.model_served) == (
        "x",
        Usage(input=7, output=2),
        "m-1",
    )


# 4: empty fields


def test_pitfall_04_empty_and_null_fields_say_nothing():
    first = delta(role="assistant", content="") | {"usage": None}
    call = delta(content=None, tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}}])

    answer = chat(first, call, delta(content=None, tool_calls=None), delta("tool_calls"))

    assert (answer.text, answer.tool_calls) == ("", [ToolCall(id="a", name="f", arguments="{}")])


# 5: parallel calls of OpenAI's kind


@pytest.mark.parametrize("marks", [[0, 1], [0, 0], [None, None]], ids=["by index", "all 0", "none"])
def test_pitfall_05_parallel_calls_are_told_apart_even_without_a_sound_index(marks: list[Any]):
    def part(mark: int | None, call_id: str, **function: str) -> dict[str, Any]:
        index = {} if mark is None else {"index": mark}
        return delta(tool_calls=[{**index, "id": call_id, "function": function}])

    answer = chat(
        part(marks[0], "a", name="f", arguments='{"x":'),
        part(marks[0], "a", arguments="1}"),
        part(marks[1], "b", name="f", arguments=""),
        delta("tool_calls"),
    )

    assert answer.tool_calls == [
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="f", arguments="{}"),
    ]


def test_pitfall_05_malformed_arguments_stay_the_text_they_are():
    call = delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{x"}}])

    assert chat(call, delta("tool_calls")).tool_calls[0].arguments == "{x"


# 6, 7: Gemini


def gemini(*parts: dict[str, Any], finish: str | None = None) -> bytes:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}
    return sse({"candidates": [candidate]}).replace(b"\n", b"\r\n")


def test_pitfall_06_gemini_sends_calls_whole_without_index_or_id_and_signs_any_part():
    call = {"functionCall": {"name": "f", "args": {"x": 1}}}
    stream = [
        gemini(call | {"thoughtSignature": "c2ln"}),
        gemini(call, {"text": "a"}, {"text": "b"}, finish="STOP"),
        sse({"usageMetadata": {"promptTokenCount": 3}}),
        gemini({"text": "", "thoughtSignature": "bGFzdA=="}, finish="STOP"),
    ]

    answer = answered(GeminiReader(REQUEST), stream)[1]

    assert answer.text == "ab"
    assert answer.finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", '{"x":1}')] * 2
    assert len({call.id for call in answer.tool_calls}) == 2
    assert len(answer.blocks) == 2


def test_pitfall_07_gemini_may_stream_arguments_by_path_until_an_empty_call():
    def path(text: str) -> dict[str, Any]:
        partial = {"jsonPath": "$.city", "stringValue": text, "willContinue": True}
        return {"functionCall": {"partialArgs": [partial], "willContinue": True}}

    stream = [
        gemini({"functionCall": {"name": "f", "willContinue": True}}),
        gemini(path("Os")),
        gemini(path("lo")),
        gemini({"functionCall": {}}),
        gemini(finish="STOP"),
    ]

    (call,) = answered(GeminiReader(REQUEST), stream)[1].tool_calls

    assert (call.name, msgspec.json.decode(call.arguments)) == ("f", {"city": "Oslo"})


# 8: Anthropic


def test_pitfall_08_anthropic_pings_invents_blocks_interleaves_and_counts_anew():
    stream: list[Any] = [
        {"type": "ping"},
        {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "brand_new"}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        },
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "brand_new_delta", "z": 1}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": ""},
        },
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_stop", "index": 0},
        {"type": "brand_new_event"},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"input_tokens": 6, "output_tokens": 9},
        },
        {"type": "message_stop"},
    ]

    answer = answered(MessagesReader(REQUEST), map(sse, stream))[1]

    assert answer.tool_calls == [ToolCall(id="a", name="f", arguments="{}")]
    assert answer.usage == Usage(input=6, output=9)


# 9: errors inside a good status


@pytest.mark.parametrize(
    ("reader", "events"),
    [
        pytest.param(
            ChatReader(REQUEST),
            [delta("length"), {"error": {"code": 502}, **delta("error", content="")}, DONE],
            id="beside choices, after a finish reason",
        ),
        pytest.param(ChatReader(REQUEST), [{"error": {"message": "x"}}, DONE], id="alone"),
        pytest.param(
            MessagesReader(REQUEST),
            [sse({"type": "error", "error": {"type": "overloaded_error"}}, "error")],
            id="Anthropic",
        ),
        pytest.param(
            ResponsesReader(REQUEST),
            [{"type": "response.failed", "response": {"error": {"code": "server_error"}}}],
            id="Responses",
        ),
        pytest.param(
            GeminiReader(REQUEST),
            [{"error": {"code": 503, "status": "UNAVAILABLE"}}],
            id="Gemini",
        ),
        pytest.param(OllamaReader(REQUEST), [b'{"error":"x"}\n'], id="Ollama"),
    ],
)
def test_pitfall_09_an_error_after_a_good_status_is_a_failure(
    reader: Reader[Any], events: list[Any]
):
    _, problem = outcome(reader, *events)

    assert isinstance(problem, Problem)
    assert problem.code in {"provider_error", "provider_overloaded"}
    assert problem.retryable


# 10: Responses


def test_pitfall_10_responses_rotate_ids_spread_text_and_report_an_error_once():
    def text(index: int, item: str, piece: str) -> dict[str, Any]:
        place = {"output_index": index, "content_index": 0, "item_id": item}
        return {"type": "response.output_text.delta", "delta": piece, **place}

    sealed = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"}
    last = {"type": "response.completed", "response": {"status": "completed"}}
    error = {"type": "error", "code": "server_error"}
    failure = {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}

    answer = answered(
        ResponsesReader(REQUEST),
        map(
            sse,
            [
                {"type": "response.output_item.done", "output_index": 0, "item": sealed},
                text(1, "m1", "a"),
                text(1, "m2", "b"),
                text(2, "m3", "c"),
                last,
            ],
        ),
    )[1]

    assert answer.text == "abc"
    assert [block.raw for block in answer.blocks] == [sealed]
    assert failed(ResponsesReader(REQUEST), [sse(error), sse(failure)]).code == "provider_error"


# 11: Bedrock


def test_pitfall_11_bedrock_begins_texts_unannounced_and_tells_usage_after_the_stop():
    stream = [
        frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "x"}),
        frame("contentBlockStop", contentBlockIndex=0),
        frame("messageStop", stopReason="guardrail_intervened"),
        frame("metadata", usage={"inputTokens": 7, "outputTokens": 2}),
    ]

    for chunks in (stream, bytewise(b"".join(stream))):
        answer = answered(ConverseReader(REQUEST), chunks)[1]
        assert (answer.text, answer.finish_reason) == ("x", "content_filter")
        assert answer.usage == Usage(input=7, output=2)


# 12: Ollama


def test_pitfall_12_ollama_calls_on_the_last_line_with_arguments_as_an_object():
    call = {"function": {"name": "f", "arguments": {"x": "y" * 100_000}}}
    last = {"message": {"tool_calls": [call]}, "done": True, "done_reason": "stop"}

    answer = answered(OllamaReader(REQUEST), [msgspec.json.encode(last) + b"\n"])[1]

    assert answer.finish_reason == "tool_calls"
    assert msgspec.json.decode(answer.tool_calls[0].arguments) == {"x": "y" * 100_000}


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_pitfall_12_ollama_may_have_only_loaded_its_model(reason: str):
    last = {"message": {"content": ""}, "done": True, "done_reason": reason}

    _, problem = outcome(OllamaReader(REQUEST), msgspec.json.encode(last))

    assert isinstance(problem, Problem)
    assert problem.retryable


# 13: Groq, and several choices


def test_pitfall_13_groq_tells_its_usage_twice_and_ends_an_error_without_done():
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    twice = delta("stop") | {"usage": usage, "x_groq": {"usage": usage}}
    error = sse({"error": {"code": "tool_use_failed", "failed_generation": "secret"}}, "error")

    deltas, problem = outcome(ChatReader(REQUEST), delta(content="x"), error)

    assert chat(delta(content="x"), twice, DONE).usage == Usage(input=7, output=2)
    assert deltas == [TextDelta("x")]
    assert isinstance(problem, Problem)
    assert problem.retryable
    assert "secret" not in str(problem)


def test_pitfall_13_of_several_choices_the_first_is_read():
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}

    answer = chat(other, delta(content="yes"), other, delta("stop"))

    assert (answer.text, answer.finish_reason) == ("yes", "stop")


# 16: redaction


def test_pitfall_16_no_word_of_the_providers_error_is_passed_on():
    words = {
        "message": "Incorrect API key provided: sk-abc***xyz",
        "failed_generation": "my diary",
        "innererror": {"content_filter_result": {"hate": {"filtered": True}}},
        "code": "sk-abc123xyz",
        "type": "invalid_request_error",
    }
    body = msgspec.json.encode({"error": words})

    for problem in (refusal(401, {}, body), failure_in_stream(words)):
        assert problem.details.get("provider_type") == "invalid_request_error"
        assert not any(word in str(problem) for word in ("sk-", "diary", "hate", "Incorrect"))


# Compatible servers


def test_compatible_servers_name_reasoning_in_two_ways_and_content_in_parts():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "a"}]},
        {"type": "text", "text": "b"},
    ]
    stream = [
        delta(reasoning="x"),
        delta(reasoning_content="y"),
        delta(content=parts),
        delta("stop"),
    ]

    deltas, _ = outcome(ChatReader(REQUEST), *stream)

    assert deltas == [ReasoningDelta("x"), ReasoningDelta("y"), ReasoningDelta("a"), TextDelta("b")]
