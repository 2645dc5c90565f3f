"""What servers send that only nearly speak a format: read as it is meant, or not at all."""

from typing import Any

import msgspec
import pytest

from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import ChatMessage, GenerateRequest, ToolCall
from schemas.providers import Custom
from schemas.usage import Usage
from tests.frames import event as frame
from tests.wires import answered, failed, sse

REQUEST = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
)
GUESS = Usage(input=6, output=1, quality="estimated")
"""What is estimated of the request and of an answer of one letter."""


def delta(finish: str | None = None, /, **grown: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": grown, "finish_reason": finish}]})


def completed(**more: Any) -> bytes:
    return sse({"type": "response.completed", "response": {"status": "completed", **more}})


TEXT = {"type": "response.output_text.delta", "delta": "x"}
BLOCK = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
ENDED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}


@pytest.mark.parametrize(
    ("reader", "stream", "told"),
    [
        pytest.param(
            ChatReader(REQUEST),
            [delta("stop", content="x"), sse({"usage": {"prompt_tokens": None}})],
            {},
            id="null",
        ),
        pytest.param(
            ChatReader(REQUEST),
            [delta("stop", content="x"), sse({"usage": {"prompt_tokens": 9}})],
            {"input": 9},
            id="of the input alone",
        ),
        pytest.param(
            ResponsesReader(REQUEST),
            [sse(TEXT), completed(usage={"total_tokens": 9})],
            {},
            id="sums",
        ),
        pytest.param(
            MessagesReader(REQUEST),
            [
                sse(BLOCK),
                sse(ENDED | {"usage": {"output_tokens": 9}}),
                sse({"type": "message_stop"}),
            ],
            {"output": 9},
            id="of the output alone",
        ),
        pytest.param(
            ConverseReader(REQUEST),
            [
                frame("contentBlockDelta", delta={"text": "x"}),
                frame("messageStop", stopReason="end_turn"),
                frame("metadata", usage={}),
            ],
            {},
            id="empty",
        ),
    ],
)
def test_usage_that_does_not_tell_all_is_estimated_where_it_does_not_and_never_zero(
    reader: Reader[Any], stream: list[bytes], told: dict[str, int]
):
    assert answered(reader, stream)[1].usage == msgspec.structs.replace(GUESS, **told)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, GUESS),
        ({"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}, Usage(input=9)),
    ],
)
def test_zeros_beside_a_text_are_zeros_only_where_the_total_says_so(
    told: dict[str, int], usage: Usage
):
    answer = answered(ChatReader(REQUEST), [delta("stop", content="x"), sse({"usage": told})])[1]

    assert answer.usage == usage


def test_an_answer_that_is_not_streamed_is_read_whole_and_a_repeated_one_once():
    message = {"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}
    whole = sse({"choices": [message]})

    assert answered(ChatReader(REQUEST), [whole])[0] == [TextDelta("Hello")]
    assert answered(ChatReader(REQUEST), [delta(content="Hello"), whole])[1].text == "Hello"


def test_ids_made_up_for_each_fragment_do_not_tear_a_call_apart():
    def part(call_id: str, **function: str) -> bytes:
        return delta(tool_calls=[{"index": 0, "id": call_id, "function": function}])

    stream = [
        part("a", name="f", arguments='{"x"'),
        part("b", arguments=":1}"),
        part("c", name="f", arguments="{}"),
        delta("tool_calls"),
    ]

    assert answered(ChatReader(REQUEST), stream)[1].tool_calls == [
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="c", name="f", arguments="{}"),
    ]


def test_what_comes_beside_a_call_goes_back_on_that_call():
    signature = {"google": {"thought_signature": "c2ln"}}
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": signature}
    other = {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}
    stream = [delta(tool_calls=[{"index": 0, **call}, other]), delta("tool_calls")]

    answer = answered(ChatReader(REQUEST), stream)[1]
    said = ChatMessage(
        role="assistant", content="", tool_calls=answer.tool_calls, blocks=answer.blocks
    )
    request = GenerateRequest(provider=REQUEST.provider, messages=[said])
    (written,) = chat.body(request, chat.COMPATIBLE)["messages"]

    assert set(written) == {"role", "content", "tool_calls"}
    assert written["tool_calls"][0] == {"type": "function", **call}
    assert "extra_content" not in written["tool_calls"][1]


@pytest.mark.parametrize(
    ("kind", "item", "done"),
    [
        ("function_call", "function_call_arguments", {"arguments": '{"a":1}'}),
        ("custom_tool_call", "custom_tool_call_input", {"input": '{"a":1}'}),
    ],
)
def test_arguments_may_come_only_whole(kind: str, item: str, done: dict[str, str]):
    call = {"type": kind, "call_id": "c", "name": "f"}
    stream = [
        sse({"type": "response.output_item.added", "output_index": 0, "item": call}),
        sse({"type": f"response.{item}.done", "output_index": 0, **done}),
        completed(),
    ]

    (found,) = answered(ResponsesReader(REQUEST), stream)[1].tool_calls

    assert found == ToolCall(id="c", name="f", arguments='{"a":1}')


def test_summaries_that_come_only_whole_are_all_read():
    def summary(index: int, text: str) -> bytes:
        kind = "response.reasoning_summary_text.done"
        return sse({"type": kind, "output_index": 0, "summary_index": index, "text": text})

    deltas, _ = answered(
        ResponsesReader(REQUEST), [summary(0, "A"), summary(1, "B"), summary(1, "B"), completed()]
    )

    assert deltas == [ReasoningDelta("A"), ReasoningDelta("B")]


@pytest.mark.parametrize(
    ("reader", "ping"),
    [
        (MessagesReader(REQUEST), sse({"type": "ping"}, "ping")),
        (MessagesReader(REQUEST), sse({"type": "ping"})),
        (ResponsesReader(REQUEST), sse({"type": "keepalive", "sequence_number": 3}, "keepalive")),
        (ResponsesReader(REQUEST), b'data: { "type" : "keepalive" }\n\n'),
        (ChatReader(REQUEST), b": keep-alive\n\n"),
        (GeminiReader(REQUEST), b": keep-alive\r\n\r\n"),
    ],
)
def test_a_sign_of_life_is_no_progress_however_it_is_given(reader: Reader[Any], ping: bytes):
    assert reader.feed(ping * 3) == []
    assert reader.steps == 0


def test_a_wait_that_is_asked_for_inside_a_stream_is_kept():
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [info]}

    problem = failed(GeminiReader(REQUEST), [sse({"error": error})])

    assert (problem.code, problem.retry_after) == ("rate_limited", 7.0)
