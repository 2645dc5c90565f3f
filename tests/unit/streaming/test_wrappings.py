"""Good answers in odd wrapping: the bytes decide how a stream is framed, on every wire."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.aws.framings import InvokeFraming, NovaFraming
from actors.streaming.core.framing.json_values import JsonValues
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from actors.streaming.core.wires.titan.reader import TitanReader
from schemas.llm import Answer
from schemas.problems import Problem
from schemas.sse import SseEvent, SseParser, marker
from schemas.usage import Usage
from tests.wires import HELLO, ReaderOf, answered, bytewise, cut, failed, play, sse

# The same answer of each wire: thoughts, a text, a call, its usage

USED = {"prompt_tokens": 7, "completion_tokens": 5}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"d":1}'}}
COUNTED = {"input_tokens": 7, "output_tokens": 5}
TOKENS = {"promptTokenCount": 7, "candidatesTokenCount": 5}
BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
    {"type": "text", "text": 'It\'s "{}" \n😀'},
    {"type": "tool_use", "id": "a", "name": "f", "input": {"d": 1}},
]
TEXT = BLOCKS[1]["text"]
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "id": "m", "content": [{"type": "output_text", "text": TEXT}]},
    {"type": "function_call", "id": "i", "call_id": "a", "name": "f", "arguments": '{"d":1}'},
]
TOOL_USE = {"toolUseId": "a", "name": "f", "input": {"d": 1}}
PARTS = [
    {"text": "Hm", "thought": True},
    {"text": TEXT},
    {"functionCall": {"name": "f", "args": {"d": 1}}},
]


def choice(finish: str | None = None, /, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def candidate(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [*parts]}, **more}]}


STREAMS: dict[str, tuple[ReaderOf, list[dict[str, Any]]]] = {
    "chat": (
        ChatReader,
        [
            choice(reasoning="Hm"),
            choice(content=TEXT[:4]),
            choice(content=TEXT[4:]),
            choice(tool_calls=[{"index": 0, **CALL}]),
            choice("tool_calls"),
            {"choices": [], "usage": USED},
        ],
    ),
    "responses": (
        ResponsesReader,
        [
            {"type": "response.created", "response": {"model": "m-1"}},
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "item_id": "m",
                "delta": TEXT,
            },
            *(
                {"type": "response.output_item.done", "output_index": at, "item": one}
                for at, one in enumerate(ITEMS)
            ),
            {"type": "response.completed", "response": {"status": "completed", "usage": COUNTED}},
        ],
    ),
    "messages": (
        MessagesReader,
        [
            {"type": "message_start", "message": {"model": "m-1", "usage": {"input_tokens": 7}}},
            *(
                {"type": "content_block_start", "index": at, "content_block": one}
                for at, one in enumerate(BLOCKS)
            ),
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "text_delta", "text": "!"},
            },
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": COUNTED},
            {"type": "message_stop"},
        ],
    ),
    "gemini": (
        GeminiReader,
        [
            candidate(PARTS[0]),
            candidate(PARTS[1]),
            candidate(PARTS[2], finishReason="STOP") | {"usageMetadata": TOKENS},
        ],
    ),
    "ollama": (
        OllamaReader,
        [
            {"message": {"thinking": "Hm"}, "done": False},
            {"message": {"content": TEXT}, "done": False},
            {"message": {"tool_calls": [CALL]}, "done": False},
            {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5},
        ],
    ),
    # What comes as text in the place of binary messages.
    "converse": (
        ConverseReader,
        [
            {"contentBlockDelta": {"delta": {"text": TEXT}}},
            {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": TOOL_USE}}},
            {"messageStop": {"stopReason": "tool_use"}},
            {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 5}}},
        ],
    ),
    "invoke, chat": (
        lambda request: ChatReader(request, framing=InvokeFraming()),
        [
            choice(content=TEXT),
            choice(tool_calls=[{"index": 0, **CALL}]),
            choice("tool_calls") | {"usage": USED},
        ],
    ),
}


def encoded(event: Any) -> bytes:
    return msgspec.json.encode(event)


def pretty(event: Any) -> bytes:
    return msgspec.json.format(encoded(event), indent=2)


def named(event: Any) -> bytes:
    return b"event: " + str(event.get("type", "x")).encode() + b"\ndata: " + encoded(event) + b"\n"


Wrapping = Callable[[list[Any]], bytes]
WRAPPINGS: dict[str, Wrapping] = {
    "events": lambda events: b"".join(map(sse, events)),
    "no blank lines": lambda events: b"".join(b"data: " + encoded(one) + b"\n" for one in events),
    "no blank lines, no space, the mark joined": lambda events: (
        b"".join(b"data:" + encoded(one) + b"\r\n" for one in events) + b"data:[DONE]\r\n"
    ),
    "names, no blank lines": lambda events: b"".join(map(named, events)),
    "names behind the data": lambda events: b"".join(
        b"data: " + encoded(one) + b"\nevent: x\n\n" for one in events
    ),
    "CR": lambda events: b"".join(b"data: " + encoded(one) + b"\r\r" for one in events),
    "CRLF, no end": lambda events: b"\r\n\r\n".join(b"data: " + encoded(one) for one in events),
    "a byte order mark and signs of life": lambda events: (
        b"\xef\xbb\xbf: hi\n\n" + b": ping\ndata:\n\ndata: null\n\n".join(map(sse, events))
    ),
    "JSON over several lines": lambda events: b"".join(
        b"data: " + pretty(one).replace(b"\n", b"\ndata: ") + b"\n\n" for one in events
    ),
    "JSON split in its texts": lambda events: b"".join(
        b"data: " + encoded(one)[:13] + b"\ndata: " + encoded(one)[13:] + b"\n\n" for one in events
    ),
    "the mark of the end": lambda events: b"".join(map(sse, events)) + sse("[DONE]"),
    "the mark as JSON": lambda events: b"".join(map(sse, events)) + sse('"[DONE]"'),
    "lines": lambda events: b"\n".join(map(encoded, events)),
    "lines, CRLF, the mark": lambda events: b"\r\n".join(map(encoded, events)) + b"\r\n[DONE]\r\n",
    "lines behind a comment": lambda events: (
        b": hello\n\n" + b"\n".join(map(encoded, events)) + b"\n"
    ),
    "lines behind a byte order mark": lambda events: (
        b"\xef\xbb\xbf\r\n" + b"\n\n".join(map(encoded, events))
    ),
    "an array": encoded,
    "an array over many lines": lambda events: (
        b"[" + b"\n,\r\n".join(map(pretty, events)) + b"\n]\n"
    ),
    "objects over many lines": lambda events: b"\n".join(map(pretty, events)),
    "objects one behind the other": lambda events: b" ".join(map(encoded, events)),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("wire", STREAMS)
def test_a_stream_reads_the_same_in_any_wrapping_however_it_is_cut(wire: str, wrapping: Wrapping):
    reader, events = STREAMS[wire]
    expected = answered(
        reader(HELLO),
        [b"\n".join(map(encoded, events)) if wire == "ollama" else WRAPPINGS["events"](events)],
    )
    body = wrapping(events)

    assert expected[1].text.startswith(TEXT)
    assert expected[1].usage == Usage(input=7, output=5)
    assert len(expected[1].tool_calls) == 1
    assert answered(reader(HELLO), [body]) == expected
    assert answered(reader(HELLO), bytewise(body)) == expected
    for seed in range(20):
        assert answered(reader(HELLO), cut(body, seed)) == expected


# An answer that comes whole

MESSAGE = {"role": "assistant", "content": TEXT, "reasoning_content": None, "tool_calls": [CALL]}
CONVERSED = [
    {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}},
    {"text": TEXT},
    {"toolUse": {"toolUseId": "s", "name": "g", "input": {}, "type": "server_tool_use"}},
    {"toolUse": {"toolUseId": "a", "name": "f", "input": {"d": 1}, "type": "tool_use"}},
]
CHAT = {
    "object": "chat.completion",
    "model": "m-1",
    "choices": [{"index": 0, "message": MESSAGE, "delta": {}, "finish_reason": "tool_calls"}],
    "usage": USED,
}
MESSAGES = {
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "usage": COUNTED,
}
RESPONSE = {
    "object": "response",
    "status": "completed",
    "model": "m-1",
    "error": None,
    "output": ITEMS,
    "usage": COUNTED,
}
GENERATED = candidate(*PARTS, finishReason="STOP") | {
    "usageMetadata": TOKENS,
    "modelVersion": "m-1",
}
CONVERSE = {
    "output": {"message": {"role": "assistant", "content": CONVERSED}},
    "stopReason": "tool_use",
    "usage": {"inputTokens": 7, "outputTokens": 5},
}
LINE = {
    "model": "m-1",
    "message": {"content": TEXT, "tool_calls": [CALL]},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 7,
    "eval_count": 5,
}

WHOLE: dict[str, tuple[ReaderOf, Any]] = {
    "chat": (ChatReader, CHAT),
    "messages": (MessagesReader, MESSAGES),
    "responses": (ResponsesReader, RESPONSE),
    "gemini": (GeminiReader, GENERATED),
    "gemini, an array": (GeminiReader, [GENERATED]),
    "converse": (ConverseReader, CONVERSE),
    "ollama": (OllamaReader, LINE),
    "invoke, chat": (lambda request: ChatReader(request, framing=InvokeFraming()), CHAT),
    "invoke, messages": (
        lambda request: MessagesReader(request, framing=InvokeFraming()),
        MESSAGES,
    ),
    "invoke, nova": (lambda request: ConverseReader(request, NovaFraming()), CONVERSE),
}


@pytest.mark.parametrize(
    "write", [encoded, pretty, lambda told: b"\xef\xbb\xbf\n" + pretty(told) + b"\r\n"]
)
@pytest.mark.parametrize("wire", WHOLE)
def test_a_whole_answer_in_the_place_of_a_stream_is_read(wire: str, write: Callable[[Any], bytes]):
    reader, told = WHOLE[wire]
    body = write(told)

    deltas, answer = answered(reader(HELLO), [body])

    assert (answer.text, answer.finish_reason) == (TEXT, "tool_calls")
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", '{"d":1}')]
    assert answer.usage == Usage(input=7, output=5)
    assert answered(reader(HELLO), bytewise(body)) == (deltas, answer)
    for end in random.Random(wire).sample(range(len(body) - 4), k=40):
        outcome = play(reader(HELLO), [body[:end]])[1]
        assert isinstance(outcome, Problem)
        assert outcome.retryable


@pytest.mark.parametrize(
    "reader",
    [ConverseReader, TitanReader, lambda request: ChatReader(request, framing=InvokeFraming())],
)
def test_a_page_in_the_place_of_binary_messages_is_a_failure_that_may_pass(reader: ReaderOf):
    for body in (b"<html><body>502 Bad Gateway</body></html>", b"upstream error"):
        assert failed(reader(HELLO), [b"\r\n", body]).retryable
        assert failed(reader(HELLO), bytewise(body)).retryable


def test_the_thoughts_of_a_whole_response_are_thoughts():
    thought = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm"}]}
    raw = {"type": "reasoning", "id": "q", "content": [{"type": "reasoning_text", "text": "!"}]}
    body = RESPONSE | {"output": [thought, raw, *ITEMS]}

    _, answer = answered(ResponsesReader(HELLO), [encoded(body)])

    assert (answer.reasoning, answer.text) == ("Hm!", TEXT)


def test_titan_may_answer_whole():
    result = {"tokenCount": 5, "outputText": "Hi", "completionReason": "FINISH"}
    body = pretty({"inputTextTokenCount": 7, "results": [result]})

    answer = answered(TitanReader(HELLO), [body])[1]

    assert (answer.text, answer.finish_reason, answer.usage) == (
        "Hi",
        "stop",
        Usage(input=7, output=5),
    )


def test_a_whole_message_keeps_what_must_go_back():
    answer = answered(MessagesReader(HELLO), [encoded(MESSAGES)])[1]
    conversed = answered(ConverseReader(HELLO), [encoded(CONVERSE)])[1]

    assert [block.raw for block in answer.blocks] == BLOCKS[:1]
    assert (answer.reasoning, answer.model_served) == ("Hm", "m-1")
    assert [block.raw for block in conversed.blocks] == CONVERSED[:1]


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (ResponsesReader, {"object": "response", "status": "in_progress", "output": []}),
        (MessagesReader, MESSAGES | {"stop_reason": None}),
        (ChatReader, {"choices": [{"message": MESSAGE, "finish_reason": None}]}),
        (ChatReader, {"id": "x"}),
        (OllamaReader, LINE | {"done": False}),
        (ConverseReader, {"output": {}, "usage": {}}),
    ],
)
def test_a_whole_that_is_no_answer_is_none(reader: ReaderOf, body: Any):
    assert failed(reader(HELLO), [encoded(body)]).retryable


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (ChatReader, {"error": {"code": 429, "message": "secret"}}),
        (MessagesReader, {"type": "error", "error": {"type": "rate_limit_error"}}),
        (
            ResponsesReader,
            RESPONSE | {"status": "failed", "error": {"code": "rate_limit_exceeded"}},
        ),
        (GeminiReader, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]),
        (OllamaReader, {"error": {"code": 429}}),
        (ConverseReader, {"code": 429, "message": "secret"}),
        (ConverseReader, {"base_resp": {"status_code": 1002, "status_msg": "secret"}}),
        (
            lambda request: ConverseReader(request, NovaFraming()),
            {"error": {"code": 429, "message": "secret"}},
        ),
    ],
)
def test_a_whole_that_is_an_error_is_that_error(reader: ReaderOf, body: Any):
    assert failed(reader(HELLO), [pretty(body)]).code == "rate_limited"


def test_the_mark_of_the_end_alone_is_no_answer():
    for reader in (ChatReader, ResponsesReader, MessagesReader, GeminiReader, OllamaReader):
        assert failed(reader(HELLO), [sse("[DONE]")]).retryable
        assert reader(HELLO).feed(sse("null") + sse(" ")) == []


def test_the_mark_ends_a_message_that_has_said_why_it_ends():
    stop = sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    said = sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}})

    answer = answered(MessagesReader(HELLO), [said + stop + sse("[DONE]") + said])[1]

    assert (answer.text, answer.finish_reason) == ("x", "stop")


# The framings themselves


def parsed(*chunks: bytes) -> list[SseEvent]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*events, *parser.finish()]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'data: {"a":1}\ndata: {"b":2}\n\n', [SseEvent('{"a":1}'), SseEvent('{"b":2}')]),
        (b'data: {"a":1}\ndata: [DONE]\n\n', [SseEvent('{"a":1}'), SseEvent("[DONE]")]),
        (b'data: {"a":\ndata: {"b":2}}\n\n', [SseEvent('{"a":\n{"b":2}}')]),
        (b'data: {"a":1}\ndata: \n\n', [SseEvent('{"a":1}\n')]),
        (b'data: {"a":"x\ndata: y"}\n\n', [SseEvent('{"a":"xy"}')]),
        (b"data: {a}\ndata: {b}\n\n", [SseEvent("{a}\n{b}")]),
        (b'data: x\ndata: {"a":1}\n\n', [SseEvent('x\n{"a":1}')]),
        (
            b'event: e\ndata: {"a":1}\nevent: f\ndata: {"b":2}\n\n',
            [SseEvent('{"a":1}', "e"), SseEvent('{"b":2}', "f")],
        ),
        (b'event: e\ndata: {"a":1}\nevent: f\n\n', [SseEvent('{"a":1}', "f")]),
        (b'{"a":1}\n{"b":2}\n', [SseEvent('{"a":1}'), SseEvent('{"b":2}')]),
        (b'data: {"a":1}\n{"b":2}\n\n', [SseEvent('{"a":1}'), SseEvent('{"b":2}')]),
    ],
)
def test_data_that_is_json_alone_is_an_event_alone(stream: bytes, events: list[SseEvent]):
    assert parsed(b": x\n\n" + stream) == events
    assert parsed(stream) == events
    assert parsed(*bytewise(stream)) == events


def test_looking_for_the_ends_of_events_is_not_costly():
    (event,) = parsed(b"data: {\ndata: }x}\ndata: {\n" * 50_000)

    assert event.data == "\n".join(["{", "}x}", "{"] * 50_000)


def values(*chunks: bytes) -> list[bytes]:
    parser = JsonValues()
    found = [value for chunk in chunks for value in parser.feed(chunk)]
    return [*found, *parser.finish()]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["{", "]", '"\\', "\n"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), min_size=1, max_size=4)


@given(objects=OBJECTS, seed=st.integers(0, 999), form=st.integers(0, 5))
def test_objects_are_cut_from_bytes_in_any_form(objects: list[Any], seed: int, form: int):
    written = [*map(encoded if form % 2 else pretty, objects)]
    joiner = [b"\n", b" \r\n", b"\n\n"][form % 3]
    bodies = [joiner.join(written), b"[" + (b"," + joiner).join(written) + b"]"]

    for body in bodies:
        assert [msgspec.json.decode(value) for value in values(body)] == objects
        assert values(*cut(body, seed)) == values(body)


def test_a_line_that_is_broken_costs_no_other():
    good = b'{"a":1}\n'

    assert values(good, b'{"b":\n', good) == [b'{"a":1}', b'{"b":', b'{"a":1}']
    assert values(b'{"b" x\n', good, good) == [b'{"b" x', b'{"a":1}', b'{"a":1}']
    assert values(b'{"b": "x\n', good) == [b'{"b": "x', b'{"a":1}']


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("[DONE]", "done"),
        (' "[DONE]"', "done"),
        ("[done]\n", "done"),
        ("null", "idle"),
        (" ", "idle"),
        ("[]", None),
        ("x", None),
    ],
)
def test_what_is_no_event_is_known(data: str, expected: Any):
    assert marker(data) == expected


def test_every_answer_here_is_one():
    assert all(
        isinstance(answered(reader(HELLO), [encoded(told)])[1], Answer)
        for reader, told in WHOLE.values()
    )
