"""Hostile values in every place of every provider's wire: an answer that can be stored, or a fault.

The answers of a provider go into journals and records, and its next request repeats them.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import pytest

from actors.streaming.core.embeddings import formats as embedding
from actors.streaming.core.errors import faults
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from actors.streaming.core.wires.titan.reader import TitanReader
from actors.streaming.core.writing.turns import arguments
from actors.streaming.flow import moderation
from bus.codec import accept, decode, encode
from bus.errors import ProblemError
from schemas import bounds
from schemas.executions import Generate
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall, Wire
from schemas.problems import Problem
from schemas.providers import Custom
from schemas.steps import at_once
from tests import hostile
from tests.frames import frame, text_header
from tests.wires import play

REQUEST = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
)


def sse(data: bytes, kind: str) -> bytes:
    return (f"event: {kind}\n".encode() if kind else b"") + b"data: " + data + b"\n\n"


def ndjson(data: bytes, kind: str) -> bytes:
    return data + kind.encode() + b"\n"


def binary(data: bytes, kind: str) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(b"".join(text_header(*pair) for pair in headers.items()), data)


def invoked(data: bytes, kind: str) -> bytes:
    return binary(json.dumps({"bytes": base64.b64encode(data).decode()}).encode(), kind or "chunk")


class Format(NamedTuple):
    """A reader, how its events are framed, and a stream with each kind of event it knows."""

    reader: Callable[[], Reader[Any]]
    framed: Callable[[bytes, str], bytes]
    events: list[tuple[str, Any]]


USAGE = {"input_tokens": 3, "output_tokens": 2, "prompt_tokens": 3, "completion_tokens": 2}
FORMATS: dict[Wire, Format] = {
    "openai_chat": Format(
        lambda: ChatReader(REQUEST, done_suffices=True),
        sse,
        [
            ("", {"id": "i", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]}),
            (
                "",
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {
                                "reasoning_content": "r",
                                "reasoning_details": [{"type": "reasoning.text", "text": "r"}],
                                "tool_calls": [
                                    {
                                        "index": 0,
                                        "id": "c",
                                        "function": {"name": "n", "arguments": '{"a":1}'},
                                    }
                                ],
                            },
                        }
                    ]
                },
            ),
            ("", {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
            ("", {"choices": [], "usage": USAGE, "service_tier": "default"}),
        ],
    ),
    "openai_responses": Format(
        lambda: ResponsesReader(REQUEST),
        sse,
        [
            ("", {"type": "response.output_text.delta", "output_index": 0, "delta": "a"}),
            (
                "",
                {
                    "type": "response.output_item.done",
                    "output_index": 1,
                    "item": {
                        "type": "reasoning",
                        "id": "r",
                        "encrypted_content": "e",
                        "summary": [{"type": "summary_text", "text": "s"}],
                    },
                },
            ),
            (
                "",
                {
                    "type": "response.output_item.done",
                    "output_index": 2,
                    "item": {
                        "type": "function_call",
                        "call_id": "c",
                        "name": "n",
                        "arguments": "{}",
                    },
                },
            ),
            (
                "",
                {
                    "type": "response.completed",
                    "response": {
                        "status": "completed",
                        "model": "m",
                        "usage": USAGE,
                        "output": [{"type": "message", "content": [{"text": "a"}]}],
                    },
                },
            ),
        ],
    ),
    "anthropic": Format(
        lambda: MessagesReader(REQUEST),
        sse,
        [
            ("message_start", {"type": "message_start", "message": {"model": "m", "usage": USAGE}}),
            (
                "content_block_start",
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "server_tool_use", "id": "s", "input": {"k": 1}},
                },
            ),
            (
                "content_block_delta",
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": '{"q":1}'},
                },
            ),
            ("content_block_stop", {"type": "content_block_stop", "index": 0}),
            (
                "content_block_start",
                {
                    "type": "content_block_start",
                    "index": 1,
                    "content_block": {
                        "type": "tool_use",
                        "id": "c",
                        "name": "n",
                        "input": {"k": 1},
                    },
                },
            ),
            ("content_block_stop", {"type": "content_block_stop", "index": 1}),
            (
                "message_delta",
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
            ),
            ("message_stop", {"type": "message_stop"}),
        ],
    ),
    "converse": Format(
        lambda: ConverseReader(REQUEST),
        binary,
        [
            ("messageStart", {"role": "assistant"}),
            (
                "contentBlockStart",
                {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "c", "name": "n"}}},
            ),
            (
                "contentBlockDelta",
                {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"a":1}'}}},
            ),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            (
                "contentBlockDelta",
                {"contentBlockIndex": 1, "delta": {"reasoningContent": {"text": "r"}}},
            ),
            ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "a"}}),
            ("messageStop", {"stopReason": "end_turn"}),
            ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2}, "trace": {"k": 1}}),
        ],
    ),
    "gemini": Format(
        lambda: GeminiReader(REQUEST),
        sse,
        [
            (
                "",
                {
                    "candidates": [
                        {
                            "index": 0,
                            "content": {
                                "parts": [
                                    {"text": "a", "thoughtSignature": "s"},
                                    {"functionCall": {"name": "n", "args": {"k": 1}}},
                                    {"executableCode": {"code": "1"}},
                                ]
                            },
                            "groundingMetadata": {"webSearchQueries": ["q"]},
                        }
                    ],
                    "modelVersion": "m",
                },
            ),
            (
                "",
                {
                    "candidates": [{"index": 0, "finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
                },
            ),
        ],
    ),
    "ollama": Format(
        lambda: OllamaReader(REQUEST),
        ndjson,
        [
            (
                "",
                {
                    "model": "m",
                    "done": False,
                    "message": {
                        "content": "a",
                        "thinking": "r",
                        "tool_calls": [{"function": {"name": "n", "arguments": {"k": 1}}}],
                    },
                },
            ),
            ("", {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}),
        ],
    ),
    "titan": Format(
        lambda: TitanReader(REQUEST),
        invoked,
        [
            ("", {"outputText": "a", "inputTextTokenCount": 3}),
            (
                "",
                {
                    "outputText": "",
                    "completionReason": "FINISH",
                    "totalOutputTextTokenCount": 2,
                    "amazon-bedrock-invocationMetrics": {
                        "inputTokenCount": 3,
                        "outputTokenCount": 2,
                    },
                },
            ),
        ],
    ),
}


def streams(form: Format) -> Iterator[bytes]:
    """Yield the stream with one hostile value, in one place of one event."""
    sound = [form.framed(msgspec.json.encode(data), kind) for kind, data in form.events]
    for place, (kind, data) in enumerate(form.events):
        for _, text in hostile.texts(data):
            changed = form.framed(text, kind)
            yield b"".join((*sound[:place], changed, *sound[place + 1 :]))


@pytest.mark.parametrize("wire", FORMATS)
def test_the_sound_stream_is_an_answer(wire: Wire):
    form = FORMATS[wire]
    body = b"".join(form.framed(msgspec.json.encode(data), kind) for kind, data in form.events)
    _, answer = play(form.reader(), [body])
    assert isinstance(answer, Answer)


@pytest.mark.parametrize("wire", FORMATS)
def test_an_answer_with_a_hostile_value_can_be_stored_or_is_a_typed_failure(wire: Wire):
    form, answers = FORMATS[wire], 0
    for body in streams(form):
        _, outcome = play(form.reader(), [body])
        if isinstance(outcome, Answer):
            answers += 1
            assert encode(decode(Answer, encode(outcome))) == encode(outcome)
            # Within the bounds, and two levels for what a block and an answer wrap around it.
            depth = bounds.MAX_DEPTH + 4
            assert hostile.depth(encode(outcome)) <= depth
        else:
            assert isinstance(outcome, Problem)
    assert answers


# What is read whole


@pytest.mark.parametrize("fragment", hostile.FRAGMENTS.values(), ids=hostile.FRAGMENTS)
def test_a_body_that_is_no_stream_is_read_or_passed_over(fragment: bytes):
    for body in (
        fragment,
        b'{"error":%b}' % fragment,
        b'{"error":{"code":%b,"details":[{"retryDelay":%b}]}}' % (fragment, fragment),
    ):
        assert isinstance(faults.refusal(400, {}, body), Problem)
        for form in embedding._WHOLE.values():
            batch = embedding.TextBatch("", {}, ["x"])
            for answer in (body, b'{"data":[{"embedding":%b}],"usage":%b}' % (fragment, fragment)):
                with pytest.raises((embedding.UnreadableError, ProviderFaultError)):
                    at_once(embedding.read(form, batch, answer))
        with suppress(msgspec.DecodeError):
            bounds.decode(b'{"results":%b}' % fragment, type=moderation._Judgement)


@pytest.mark.parametrize("fragment", hostile.FRAGMENTS.values(), ids=hostile.FRAGMENTS)
def test_arguments_of_a_call_become_an_object_that_can_be_sent(fragment: bytes):
    text = b'{"a":%b}' % fragment
    call = ToolCall(id="c", name="n", arguments=text.decode(errors="replace"))
    found = arguments(call)
    assert decode(dict[str, Any], encode(found)) == found
    assert hostile.depth(encode(found)) <= bounds.MAX_DEPTH


def test_what_an_answer_brought_can_be_sent_with_the_next_request():
    form = FORMATS["gemini"]
    for body in streams(form):
        _, outcome = play(form.reader(), [body])
        if not isinstance(outcome, Answer):
            continue
        message = ChatMessage(role="assistant", content=outcome.text, blocks=outcome.blocks)
        wanted = {"id": "k", "provider": REQUEST.provider, "messages": [message]}
        refused = ""
        try:
            accept(Generate, encode(wanted))
        except ProblemError as error:
            refused = error.problem.message
        # A block of the greatest depth cannot be wrapped any more: that is said, not journalled.
        assert not refused or "nested deeper" in refused or "out of range" in refused
