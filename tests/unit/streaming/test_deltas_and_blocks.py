"""What a delta is, its own type says, whatever block it is in: nothing that was said is lost."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import Answer
from tests.frames import event as frame
from tests.wires import HELLO, ReaderOf, answered, bytewise, play, refused, sse
from tests.wires import told as answer_of


class Row(NamedTuple):
    stream: list[bytes]
    text: str = ""
    reasoning: str = ""
    calls: tuple[str, ...] = ()
    blocks: tuple[Any, ...] = ()


def demand(reader: ReaderOf, row: Row) -> Answer:
    deltas, answer = answered(reader(HELLO), row.stream)
    assert (answer.text, answer.reasoning) == (row.text, row.reasoning)
    assert tuple(call.arguments for call in answer.tool_calls) == row.calls
    assert tuple(block.raw for block in answer.blocks) == row.blocks
    assert play(reader(HELLO), bytewise(b"".join(row.stream))) == (deltas, answer)
    return answer


# Messages


def begin(index: Any, kind: Any, **block: Any) -> bytes:
    told = {"type": "content_block_start", "content_block": {"type": kind, **block}}
    return sse(told | ({} if index == "-" else {"index": index}))


def grow(index: Any, kind: Any, **delta: Any) -> bytes:
    told = {"type": "content_block_delta", "delta": {"type": kind, **delta}}
    return sse(told | ({} if index == "-" else {"index": index}))


def close(index: Any) -> bytes:
    return sse({"type": "content_block_stop", "index": index})


def text(index: Any, said: str) -> bytes:
    return grow(index, "text_delta", text=said)


def thought(index: Any, said: str) -> bytes:
    return grow(index, "thinking_delta", thinking=said)


def argued(index: Any, said: str) -> bytes:
    return grow(index, "input_json_delta", partial_json=said)


def signed(index: Any, said: str = "c2ln") -> bytes:
    return grow(index, "signature_delta", signature=said)


TOOL = begin(0, "tool_use", id="a", name="f", input={})
END = [
    sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    sse({"type": "message_stop"}),
]
KEPT = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search"}
SEARCHING = sse(
    {"type": "content_block_start", "index": 0, "content_block": {**SEARCH, "input": {}}}
)

MESSAGES = {
    "text in a block of a tool, before and between its arguments": Row(
        [TOOL, text(0, "One "), argued(0, '{"d"'), text(0, "two."), argued(0, ":1}"), close(0)],
        text="One two.",
        calls=('{"d":1}',),
    ),
    "text in a block of thinking": Row(
        [
            begin(0, "thinking", thinking="", signature=""),
            thought(0, "Hm"),
            text(0, "Yes."),
            signed(0),
            close(0),
        ],
        text="Yes.",
        reasoning="Hm",
        blocks=(KEPT,),
    ),
    "text in a block of the provider's tool": Row(
        [SEARCHING, argued(0, '{"q":1}'), text(0, "Found."), close(0)],
        text="Found.",
        blocks=({**SEARCH, "input": {"q": 1}},),
    ),
    "thinking in a block of text": Row(
        [begin(0, "text", text=""), thought(0, "Hm"), text(0, "Yes."), close(0)],
        text="Yes.",
        reasoning="Hm",
    ),
    "thinking in a block of a tool": Row(
        [TOOL, thought(0, "Hm"), argued(0, '{"d":1}'), close(0)], reasoning="Hm", calls=('{"d":1}',)
    ),
    "arguments in a block of text, without a beginning of theirs": Row(
        [begin(0, "text", text=""), text(0, "Now."), argued(0, '{"d":'), argued(0, "1}"), close(0)],
        text="Now.",
        calls=('{"d":1}',),
    ),
    "arguments in a block of text behind a call that is open": Row(
        [TOOL, argued(0, '{"d":'), begin(1, "text", text="x"), argued(1, "1}"), close(1)],
        text="x",
        calls=('{"d":1}',),
    ),
    "arguments in a block of thinking": Row(
        [TOOL, begin(1, "thinking", thinking="Hm"), argued(1, '{"d":1}'), signed(1), close(1)],
        reasoning="Hm",
        calls=('{"d":1}',),
        blocks=(KEPT,),
    ),
    "arguments behind the end of their block": Row(
        [TOOL, argued(0, '{"d":'), close(0), argued(0, "1}")], calls=('{"d":1}',)
    ),
    "no block begins": Row(
        [thought(0, "Hm"), signed(0), close(0), text(1, "Yes."), argued(2, '{"d":1}')],
        text="Yes.",
        reasoning="Hm",
        calls=('{"d":1}',),
        blocks=(KEPT,),
    ),
    "no block begins, and the thinking is not signed": Row(
        [thought(0, "Hm"), close(0), text(1, "Yes.")], text="Yes.", reasoning="Hm"
    ),
    "no block ends": Row(
        [
            begin(0, "thinking", thinking="Hm"),
            signed(0),
            begin(1, "text", text="Yes."),
            TOOL,
            argued(0, "{}"),
        ],
        text="Yes.",
        reasoning="Hm",
        calls=("{}",),
        blocks=(KEPT,),
    ),
    "no block ends, and all begin at one index": Row(
        [
            begin(0, "thinking", thinking="Hm"),
            signed(0),
            begin(0, "redacted_thinking", data="x"),
            begin(0, "text", text="Yes."),
        ],
        text="Yes.",
        reasoning="Hm",
        blocks=(KEPT, {"type": "redacted_thinking", "data": "x"}),
    ),
    "no block has an index": Row(
        [begin("-", "thinking", thinking=""), thought("-", "Hm"), signed(None), text("-", "Yes.")],
        text="Yes.",
        reasoning="Hm",
        blocks=(KEPT,),
    ),
    "a signature at another index than its thinking": Row(
        [
            begin(0, "thinking", thinking="Hm"),
            begin(1, "text", text=""),
            signed(1),
            text(1, "Yes."),
        ],
        text="Yes.",
        reasoning="Hm",
        blocks=(KEPT,),
    ),
    "deltas and blocks that do not say their type": Row(
        [
            begin(0, None, text=""),
            grow(0, None, text="Yes."),
            begin(1, None, id="a", name="f"),
            grow(1, None, partial_json='{"d":1}'),
            grow(2, "text", text=" And."),
        ],
        text="Yes. And.",
        calls=('{"d":1}',),
    ),
}


@pytest.mark.parametrize("row", MESSAGES.values(), ids=MESSAGES)
def test_in_messages_a_delta_is_what_its_type_says(row: Row):
    demand(MessagesReader, row._replace(stream=[*row.stream, *END]))


PIECES = st.sampled_from(["a", "bc", "é😀", " "])
BLOCKS = st.sampled_from(
    [
        {"type": "text"},
        {"type": "thinking"},
        {"type": "tool_use", "id": "i", "name": "f"},
        {"type": "new"},
    ]
)
EVENTS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 2), BLOCKS),
    st.tuples(st.just("text"), st.integers(0, 2), PIECES),
    st.tuples(st.just("thinking"), st.integers(0, 2), PIECES),
    st.tuples(st.just("close"), st.integers(0, 2), st.none()),
)


@given(st.lists(EVENTS, max_size=20))
def test_whatever_blocks_are_open_all_that_is_said_is_read(events: list[tuple[str, int, Any]]):
    write = {
        "begin": lambda index, block: sse(
            {"type": "content_block_start", "index": index, "content_block": block}
        ),
        "text": text,
        "thinking": thought,
        "close": lambda index, _: close(index),
    }

    stream = [write[kind](index, told) for kind, index, told in events]
    answer = answered(MessagesReader(HELLO), [*stream, *END])[1]

    assert answer.text == "".join(told for kind, _, told in events if kind == "text")
    assert answer.reasoning == "".join(told for kind, _, told in events if kind == "thinking")


# Chat


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ({"type": "text", "text": "Yes."}, "Yes.", ""),
        ([{"type": "text", "text": "Yes."}], "Yes.", ""),
        ([{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "Yes."}], "Yes.", "Hm"),
        ([{"type": "thinking", "text": "Hm"}, {"text": "Yes."}], "Yes.", "Hm"),
    ],
)
def test_in_chat_a_piece_of_content_is_what_its_type_says(content: Any, text: str, reasoning: str):
    def chunk(told: Any, finish: str | None = None) -> bytes:
        return sse({"choices": [{"delta": told, "finish_reason": finish}]})

    # An empty list is PHP's empty object.
    answer = answer_of(ChatReader, chunk([]), chunk({"content": content}), chunk([], "stop"))

    assert (answer.text, answer.reasoning) == (text, reasoning)


def test_a_delta_that_is_a_list_of_something_is_no_delta():
    assert refused(ChatReader, sse({"choices": [{"delta": ["Yes."]}]})) == ("provider_error", True)


# Converse


def told(index: Any, **delta: Any) -> bytes:
    place = {} if index == "-" else {"contentBlockIndex": index}
    return frame("contentBlockDelta", **place, delta=delta)


def tool(index: Any, **more: Any) -> bytes:
    start = {"toolUse": {"toolUseId": "a", "name": "f", **more}}
    return frame("contentBlockStart", contentBlockIndex=index, start=start)


HALT = frame("messageStop", stopReason="end_turn")
SIGNED = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}}

CONVERSE = {
    "text and reasoning in a block of a tool": Row(
        [
            tool(0),
            told(0, reasoningContent={"text": "Hm"}),
            told(0, text="Now."),
            told(0, toolUse={"input": '{"d":1}'}),
        ],
        text="Now.",
        reasoning="Hm",
        calls=('{"d":1}',),
    ),
    "text in a block of the server's tool": Row(
        [tool(0, type="server_tool_use"), told(0, toolUse={"input": "{}"}), told(0, text="Found.")],
        text="Found.",
    ),
    "arguments in a block of text": Row(
        [
            told(0, text="Now."),
            told(0, toolUse={"input": '{"d":'}),
            told(0, toolUse={"input": "1}"}),
        ],
        text="Now.",
        calls=('{"d":1}',),
    ),
    "arguments at an index that nobody has begun": Row(
        [tool(0), told(0, toolUse={"input": '{"d":'}), told(7, toolUse={"input": "1}"})],
        calls=('{"d":1}',),
    ),
    "no block ends, and an index is used again": Row(
        [
            told(0, reasoningContent={"text": "Hm"}),
            told(0, reasoningContent={"signature": "c2ln"}),
            tool(0),
            told("-", toolUse={"input": {"d": 1}}),
            told(0, text="x"),
        ],
        text="x",
        reasoning="Hm",
        calls=('{"d":1}',),
        blocks=(SIGNED,),
    ),
    "a tool with nothing told of it": Row([told(0, text="x"), told(0, toolUse={})], text="x"),
}


@pytest.mark.parametrize("row", CONVERSE.values(), ids=CONVERSE)
def test_in_converse_a_delta_is_what_its_member_says(row: Row):
    demand(ConverseReader, row._replace(stream=[*row.stream, HALT]))


# Responses


def event(kind: str, index: Any = 0, **fields: Any) -> bytes:
    return sse({"type": f"response.{kind}", "output_index": index, **fields})


CALL = {"type": "function_call", "id": "i", "call_id": "a", "name": "f", "arguments": ""}
REASONING = {"type": "reasoning", "id": "r", "summary": []}

RESPONSES = {
    "text in an item of a call": Row(
        [
            event("output_item.added", item=CALL),
            event("output_text.delta", item_id="i", delta="Now."),
            event("function_call_arguments.delta", item_id="i", delta='{"d":1}'),
        ],
        text="Now.",
        calls=('{"d":1}',),
    ),
    "text in an item of reasoning": Row(
        [
            event("output_item.added", item=REASONING),
            event("reasoning_text.delta", item_id="r", delta="Hm"),
            event("output_text.delta", item_id="r", delta="Yes."),
            event("output_item.done", item=REASONING),
        ],
        text="Yes.",
        reasoning="Hm",
    ),
    "parts that come only whole, each of its own type": Row(
        [
            event("output_item.added", item=REASONING),
            event(
                "content_part.done",
                item_id="r",
                content_index=0,
                part={"type": "reasoning_text", "text": "H"},
            ),
            event(
                "reasoning_summary_part.done",
                item_id="r",
                summary_index=0,
                part={"type": "summary_text", "text": "m"},
            ),
            event(
                "content_part.done",
                item_id="r",
                content_index=1,
                part={"type": "output_text", "text": "Yes."},
            ),
            event(
                "content_part.done",
                item_id="r",
                content_index=1,
                part={"type": "output_text", "text": "Yes."},
            ),
        ],
        text="Yes.",
        reasoning="Hm",
    ),
    "texts that came in pieces are not said again by their parts": Row(
        [
            event("output_text.delta", item_id="m", content_index=0, delta="Ye"),
            event("output_text.delta", item_id="m", content_index=0, delta="s."),
            event("output_text.done", item_id="m", content_index=0, text="Yes."),
            event(
                "content_part.done",
                item_id="m",
                content_index=0,
                part={"type": "output_text", "text": "Yes."},
            ),
            event(
                "output_item.done",
                item={
                    "type": "message",
                    "id": "m",
                    "content": [{"type": "output_text", "text": "Yes."}],
                },
            ),
        ],
        text="Yes.",
    ),
    "two messages on one index, each only whole": Row(
        [
            event(
                "output_item.done",
                item={
                    "type": "message",
                    "id": "m",
                    "content": [{"type": "output_text", "text": "One "}],
                },
            ),
            event(
                "output_item.done",
                item={"type": "message", "id": "n", "content": [{"text": "two."}]},
            ),
        ],
        text="One two.",
    ),
    "arguments of an item that nobody has begun": Row(
        [event("function_call_arguments.delta", 3, item_id="i", delta='{"d":1}')],
        calls=('{"d":1}',),
    ),
}


@pytest.mark.parametrize("row", RESPONSES.values(), ids=RESPONSES)
def test_in_responses_a_delta_is_what_its_type_says(row: Row):
    end = sse({"type": "response.completed", "response": {"status": "completed"}})

    demand(ResponsesReader, row._replace(stream=[*row.stream, end]))
