"""The law of all readers of server-sent events: how the bytes are cut changes nothing.

Streams are made of honest and hostile events in any order, so that failures are cut as well.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import Answer, ChatMessage, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Custom
from tests.wires import Outcome, bytewise, play, sse

REQUEST = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
)
READERS: dict[str, Callable[[], Reader[Any]]] = {
    "chat": lambda: ChatReader(REQUEST, done_suffices=True),
    "responses": lambda: ResponsesReader(REQUEST),
    "messages": lambda: MessagesReader(REQUEST),
    "gemini": lambda: GeminiReader(REQUEST),
}

TEXTS = st.text(max_size=8) | st.sampled_from(["😀", "\u2028", "\r\n", "ä中", "data: x"])
NUMBERS = st.integers(-2, 3) | st.none() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
USAGES = st.none() | st.dictionaries(
    st.sampled_from(
        [
            *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"),
            *("total_tokens", "promptTokenCount", "totalTokenCount", "x"),
        ]
    ),
    NUMBERS,
)
WORDS = st.sampled_from(
    [None, "", "null", "stop", "length", "tool_calls", "error", "network_error", "sensitive", "x"]
)
CALLS = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({}, optional={"name": TEXTS, "arguments": TEXTS})},
    optional={"index": st.integers(0, 2), "id": TEXTS},
)
CHAT = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": st.integers(0, 1),
                    "delta": st.fixed_dictionaries(
                        {},
                        optional={
                            "content": TEXTS | st.none(),
                            "reasoning": TEXTS,
                            "refusal": TEXTS,
                            "tool_calls": st.lists(CALLS, max_size=2),
                        },
                    ),
                    "finish_reason": WORDS,
                },
            ),
            max_size=2,
        ),
        "usage": USAGES,
        "error": st.none() | JSON,
    },
)
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "server_tool_use", "new"])},
    optional={"id": TEXTS, "name": TEXTS, "text": TEXTS, "thinking": TEXTS, "input": JSON},
)
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "ping",
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
                "error",
            ]
        )
    },
    optional={
        "index": st.integers(0, 2),
        "content_block": BLOCKS,
        "delta": st.fixed_dictionaries(
            {},
            optional={
                "text": TEXTS,
                "thinking": TEXTS,
                "signature": TEXTS,
                "partial_json": TEXTS,
                "stop_reason": st.sampled_from(["end_turn", "tool_use", "error", "x"]),
            },
        ),
        "message": st.fixed_dictionaries({"usage": USAGES}, optional={"model": TEXTS}),
        "usage": USAGES,
        "error": JSON,
    },
)
ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "custom_tool_call", "reasoning", "x"])},
    optional={
        "call_id": TEXTS,
        "name": TEXTS,
        "arguments": TEXTS,
        "encrypted_content": TEXTS,
        "content": st.lists(JSON | st.fixed_dictionaries({"text": TEXTS}), max_size=2),
    },
)
RESPONSES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "response.created",
                "response.output_item.added",
                "response.output_item.done",
                "response.output_text.delta",
                "response.output_text.done",
                "response.refusal.delta",
                "response.reasoning_summary_text.delta",
                "response.function_call_arguments.delta",
                "response.completed",
                "response.incomplete",
                "response.failed",
                "error",
                "new",
            ]
        )
    },
    optional={
        "output_index": st.integers(0, 2),
        "content_index": st.integers(0, 1),
        "delta": JSON,
        "text": TEXTS,
        "item": ITEMS,
        "response": st.fixed_dictionaries(
            {},
            optional={
                "status": st.sampled_from(["completed", "failed", "in_progress", "x"]),
                "usage": USAGES,
                "output": st.lists(ITEMS, max_size=2),
                "error": st.none() | JSON,
            },
        ),
    },
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS,
        "thought": st.booleans(),
        "functionCall": st.fixed_dictionaries({}, optional={"name": TEXTS, "args": st.just({})}),
        "inlineData": JSON,
    },
)
GEMINI = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(
            st.fixed_dictionaries(
                {"content": st.fixed_dictionaries({"parts": st.lists(PARTS, max_size=2)})},
                optional={"finishReason": WORDS, "index": st.integers(0, 1)},
            ),
            max_size=2,
        ),
        "promptFeedback": st.fixed_dictionaries({"blockReason": WORDS}),
        "usageMetadata": USAGES,
    },
)
EVENTS = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "gemini": GEMINI}
HOSTILE = st.sampled_from(
    [b": ping\n\n", b"data: {\n\n", b"data\n\n", b"data: [DONE]\n\n", b"id: 1\nretry: 2\n", b"\r\n"]
) | st.binary(max_size=6)
ENDS = st.sampled_from([b"", b"data: {", b'data: {"type":"message_stop"}', b"data: [DONE]", b"\r"])


def streams(name: str) -> st.SearchStrategy[bytes]:
    honest = EVENTS[name].map(sse)
    events = st.lists(st.one_of(honest, honest, honest, HOSTILE), max_size=8)
    return st.tuples(events.map(b"".join), ENDS).map(b"".join)


def pieces(body: bytes, places: list[int]) -> list[bytes]:
    inside = sorted({place % (len(body) + 1) for place in places})
    return [body[a:b] for a, b in zip([0, *inside], [*inside, len(body)], strict=True)]


def played(name: str, chunks: list[bytes]) -> Outcome:
    deltas, outcome = play(READERS[name](), chunks)
    assert isinstance(outcome, Answer | Problem)
    return deltas, outcome


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_any_cut_of_the_bytes_gives_the_same_deltas_and_the_same_end(
    name: str, data: st.DataObject
):
    body = data.draw(streams(name))
    places = data.draw(st.lists(st.integers(0, 10_000), max_size=12))

    whole = played(name, [body])

    assert played(name, pieces(body, places)) == whole
    assert played(name, bytewise(body)) == whole


@pytest.mark.parametrize("name", READERS)
@given(body=st.binary(max_size=200))
def test_arbitrary_bytes_give_an_answer_or_a_typed_failure(name: str, body: bytes):
    assert played(name, [body]) == played(name, bytewise(body))


@pytest.mark.parametrize("name", READERS)
@given(events=st.lists(JSON, max_size=4))
def test_arbitrary_events_give_an_answer_or_a_typed_failure(name: str, events: list[Any]):
    played(name, [sse(event) for event in events])
