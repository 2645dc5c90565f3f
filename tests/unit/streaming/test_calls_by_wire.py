"""The rule of fragments, in the words of each wire: the calls that servers' odd spellings mean."""

from typing import Any, NamedTuple

import msgspec
import pytest

from actors.streaming.core.aws.framings import NovaFraming
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import ChatMessage, GenerateRequest, ToolDefinition
from schemas.providers import Custom
from tests.frames import chunk as invocation
from tests.frames import event as frame
from tests.wires import ReaderOf, answered, bytewise, play, sse

REQUEST = GenerateRequest(
    provider=Custom(model="m", base_url="http://localhost"),
    messages=[ChatMessage(role="user", content="Hello")],
    tools=[ToolDefinition(name=name) for name in ("book", "book_room", "cancel")],
)
Found = tuple[str, str, str]
TWO: list[Found] = [("a", "book", '{"d":1}'), ("b", "book", '{"d":2}')]


class Row(NamedTuple):
    reader: ReaderOf
    stream: list[bytes]
    calls: list[Found]


def chat(*fragments: Any) -> list[bytes]:
    """Write fragments a chunk each; a list of them is one chunk."""

    def grown(told: Any) -> bytes:
        calls = told if isinstance(told, list) else [told]
        return sse({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]})

    end = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return [*map(grown, fragments), end, sse("[DONE]")]


def part(call_id: Any = None, name: Any = None, arguments: Any = None, **more: Any) -> Any:
    return {"id": call_id, "function": {"name": name, "arguments": arguments}, **more}


CHAT = {
    "index as text, with gaps, interleaved": Row(
        ChatReader,
        chat(
            part("a", "book", "", index="1"),
            part("b", "book", "", index="5"),
            part(None, None, '{"d":', index=1),
            part(None, None, '{"d":2}', index="5"),
            part(None, None, "1}", index="1"),
        ),
        TWO,
    ),
    "no ids but their words, one index": Row(
        ChatReader,
        chat(part("None", "book", '{"d":1}', index=0), part("none", "cancel", "{}", index=0)),
        [("call_0", "book", '{"d":1}'), ("call_1", "cancel", "{}")],
    ),
    "a name in pieces": Row(
        ChatReader,
        chat(part("a", "book_", "", index=0), part("a", "room", '{"d":1}', index=0)),
        [("a", "book_room", '{"d":1}')],
    ),
    "an object, then its text": Row(
        ChatReader,
        chat(part("a", "book", {"d": 1}, index=0), part("a", "book", '{"d": 1}', index=0)),
        TWO[:1],
    ),
    "an empty text, then an empty object": Row(
        ChatReader,
        chat(part("a", "book", "", index=0), part(None, None, {}, index=0)),
        [("a", "book", "{}")],
    ),
    "an empty object in the place of what comes": Row(
        ChatReader,
        chat(part("a", "book", "{}", index=0), part(None, None, '{"d":1}', index=0)),
        TWO[:1],
    ),
    "the older form, empty, beside a text": Row(
        ChatReader,
        [
            sse({"choices": [{"delta": {"content": "x", "function_call": {}, "tool_calls": {}}}]}),
            *chat(part("a", "book", '{"d":1}', index=None)),
        ],
        TWO[:1],
    ),
    "an id that is false, a fragment of nothing": Row(
        ChatReader,
        chat([part("a", "book", '{"d":1}', index=0), part(False, "", "", index=1)], {}),
        TWO[:1],
    ),
    "a text of any kind that says itself again": Row(
        ChatReader,
        chat({"index": 0, "id": "a", "custom": {"name": "book", "input": "{}\n{}"}}),
        [("a", "book", "{}\n{}")],
    ),
}


def item(kind: str, index: Any, **fields: Any) -> bytes:
    told = {} if index == "-" else {"output_index": index}
    return sse({"type": f"response.{kind}", **told, **fields})


def function(call_id: Any, arguments: Any = "", item_id: Any = None) -> dict[str, Any]:
    told = {"type": "function_call", "call_id": call_id, "name": "book", "arguments": arguments}
    return told if item_id is None else {**told, "id": item_id}


ENDED = item("completed", "-", response={"status": "completed"})
ARGUE, ARGUED = "function_call_arguments.delta", "function_call_arguments.done"
ADDED, DONE = "output_item.added", "output_item.done"

RESPONSES = {
    "arguments as an object, in each of their places": Row(
        ResponsesReader,
        [
            item(ADDED, 0, item=function("a", item_id="i1")),
            item(ARGUE, 0, item_id="i1", delta={"d": 1}),
            item(ADDED, 1, item=function("b", item_id="i2")),
            item(ARGUED, 1, item_id="i2", arguments={"d": 2}),
            item(DONE, 2, item=function("c", {"d": 3}, "i3")),
            item(DONE, 3, item=function("d", {}, "i4")),
            ENDED,
        ],
        [*TWO, ("c", "book", '{"d":3}'), ("d", "book", "{}")],
    ),
    "one index, told apart by the item's id, interleaved": Row(
        ResponsesReader,
        [
            item(ADDED, 0, item=function("a", item_id="i1")),
            item(ADDED, 0, item=function("b", item_id="i2")),
            item(ARGUE, 0, item_id="i1", delta='{"d"'),
            item(ARGUE, 0, item_id="i2", delta='{"d":2}'),
            item(ARGUE, 0, item_id="i1", delta=":1}"),
            item(DONE, 0, item=function("b", '{"d":2}', "i2")),
            item(DONE, 0, item=function("a", '{"d":1}', "i1")),
            ENDED,
        ],
        TWO,
    ),
    "one index, and no item ends": Row(
        ResponsesReader,
        [
            item(ADDED, 0, item=function("a", item_id="i1")),
            item(ADDED, 0, item=function("b", item_id="i2")),
            item(ARGUE, 0, item_id="i1", delta='{"d":1}'),
            item(ARGUE, 0, item_id="i2", delta='{"d":2}'),
            ENDED,
        ],
        TWO,
    ),
    "one index, without a beginning, told apart by the call's id": Row(
        ResponsesReader,
        [
            item(DONE, 0, item=function("a", '{"d":1}')),
            item(DONE, 0, item=function("b", '{"d":2}')),
            ENDED,
        ],
        TWO,
    ),
    "an index that is null, text or none": Row(
        ResponsesReader,
        [
            item(ADDED, None, item=function("a")),
            item(ARGUE, None, delta='{"d":1}'),
            item(ADDED, "1", item=function("b")),
            item(ARGUE, "-", delta='{"d":'),
            item(ARGUE, 1, delta="2}"),
            ENDED,
        ],
        TWO,
    ),
    "an item whose id changes": Row(
        ResponsesReader,
        [
            item(ADDED, 4, item=function("a", item_id="r1")),
            item(ARGUE, 4, item_id="r2", delta='{"d":'),
            item(ARGUE, 4, item_id="r3", delta="1}"),
            item(ARGUED, 4, item_id="r4", arguments='{"d":1}'),
            item(DONE, 4, item=function("a", '{"d":1}', "r5")),
            ENDED,
        ],
        TWO[:1],
    ),
    "named only at the end of its arguments": Row(
        ResponsesReader,
        [
            item(ARGUE, 0, item_id="i1", delta='{"d":'),
            item(ARGUE, 0, item_id="i1", delta="1}"),
            item(ARGUED, 0, item_id="i1", call_id="a", name="book", arguments='{"d":1}'),
            ENDED,
        ],
        TWO[:1],
    ),
    "told again at the very end": Row(
        ResponsesReader,
        [
            item(ADDED, 0, item=function("a")),
            item(ARGUE, 0, delta='{"d":1}'),
            item(DONE, 0, item=function("a", '{"d":1}')),
            item(DONE, 0, item=function("a", '{"d":1}')),
            sse(
                {
                    "type": "response.completed",
                    "response": {"status": "completed", "output": [function("a", '{"d":1}')]},
                }
            ),
        ],
        TWO[:1],
    ),
    "only in the last event, behind a text that was streamed": Row(
        ResponsesReader,
        [
            item(ADDED, 0, item={"type": "message", "id": "m"}),
            item("output_text.delta", 0, item_id="m", delta="Now."),
            sse(
                {
                    "type": "response.completed",
                    "response": {"status": "completed", "output": [function("a", '{"d":1}')]},
                }
            ),
        ],
        TWO[:1],
    ),
}


def begin(index: Any, call_id: Any, name: Any = "book", **more: Any) -> bytes:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}, **more}
    return sse({"type": "content_block_start", "index": index, "content_block": block})


def grow(index: Any, text: Any) -> bytes:
    delta = {"type": "input_json_delta", "partial_json": text}
    return sse({"type": "content_block_delta", "index": index, "delta": delta})


def stop(index: Any) -> bytes:
    return sse({"type": "content_block_stop", "index": index})


STOPPED = [
    sse({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
    sse({"type": "message_stop"}),
]

MESSAGES = {
    "arguments as an object in the place of a piece": Row(
        MessagesReader, [begin(0, "a", input=[]), grow(0, {"d": 1}), stop(0), *STOPPED], TWO[:1]
    ),
    "two calls on one index": Row(
        MessagesReader,
        [begin(0, "a"), grow(0, '{"d":1}'), stop(0), begin(0, "b"), grow(0, '{"d":2}'), *STOPPED],
        TWO,
    ),
    "an index that is null or text": Row(
        MessagesReader,
        [
            begin(None, "a"),
            grow(None, '{"d":1}'),
            stop(None),
            begin("1", "b"),
            grow(1, '{"d":'),
            grow(None, "2}"),
            *STOPPED,
        ],
        TWO,
    ),
    "the arguments at once and again in pieces": Row(
        MessagesReader,
        [begin(0, "a", input={"d": 1}), grow(0, '{"d":'), grow(0, " 1}"), *STOPPED],
        TWO[:1],
    ),
    "the arguments at once as text": Row(
        MessagesReader, [begin(0, "a", input='{"d":1}'), *STOPPED], TWO[:1]
    ),
    "a beginning once more": Row(
        MessagesReader,
        [begin(0, "a"), grow(0, '{"d":'), begin(0, "a"), grow(0, "1}"), stop(0), *STOPPED],
        TWO[:1],
    ),
    "ids that are none": Row(
        MessagesReader,
        [begin(0, "null"), grow(0, '{"d":1}'), begin(1, None), grow(1, '{"d":1}'), *STOPPED],
        [("call_0", "book", '{"d":1}'), ("call_1", "book", '{"d":1}')],
    ),
    "a beginning without a name within a call": Row(
        MessagesReader,
        [begin(0, "a"), grow(0, '{"d":'), begin(0, "z", ""), grow(0, "1}"), *STOPPED],
        TWO[:1],
    ),
}


def tool(index: Any, call_id: Any, name: str = "book", **more: Any) -> bytes:
    start = {"toolUse": {"toolUseId": call_id, "name": name, **more}}
    return frame("contentBlockStart", contentBlockIndex=index, start=start)


def given(index: Any, arguments: Any) -> bytes:
    told = {} if index == "-" else {"contentBlockIndex": index}
    return frame("contentBlockDelta", **told, delta={"toolUse": {"input": arguments}})


HALTED = frame("messageStop", stopReason="tool_use")

CONVERSE = {
    "two calls on one index": Row(
        ConverseReader,
        [tool(0, "a"), given(0, '{"d":1}'), tool(0, "b"), given(0, '{"d":2}'), HALTED],
        TWO,
    ),
    "an index that is text, null or none": Row(
        ConverseReader,
        [
            tool("0", "a"),
            given(None, '{"d"'),
            given("-", ":1}"),
            tool("2", "b"),
            given(2, {"d": 2}),
            HALTED,
        ],
        TWO,
    ),
    "arguments as an object, and once more as text": Row(
        ConverseReader, [tool(0, "a"), given(0, {"d": 1}), given(0, '{"d":1}'), HALTED], TWO[:1]
    ),
    "arguments at the beginning": Row(
        ConverseReader, [tool(0, "a", input={"d": 1}), HALTED], TWO[:1]
    ),
    "arguments at the beginning, and again in pieces": Row(
        ConverseReader,
        [tool(0, "a", input={"d": 1}), given(0, '{"d":'), given(0, "1}"), HALTED],
        TWO[:1],
    ),
    "arguments that are an empty list, which is PHP's empty object": Row(
        ConverseReader, [tool(0, "a", input=[]), given(0, []), HALTED], [("a", "book", "{}")]
    ),
    "an id that is none": Row(
        ConverseReader, [tool(0, "none"), given(0, '{"d":1}'), HALTED], [("call_0", *TWO[0][1:])]
    ),
    "types": Row(
        ConverseReader,
        [
            tool(0, "s", "nova_grounding", type="server_tool_use"),
            given(0, '{"q":1}'),
            tool(1, "a", type="tool_use"),
            given(1, '{"d":1}'),
            tool(2, "b", type=""),
            given(2, '{"d":2}'),
            given(0, "late"),
            HALTED,
        ],
        TWO,
    ),
    "a beginning of nothing": Row(
        ConverseReader, [tool(0, "", ""), tool(1, "a"), given(1, '{"d":1}'), HALTED], TWO[:1]
    ),
}


def called(*functions: Any, finish: str | None = None) -> bytes:
    parts = [{"functionCall": told} for told in functions]
    return sse({"candidates": [{"content": {"parts": parts}, "finishReason": finish}]})


def named(call_id: Any, day: int) -> dict[str, Any]:
    return {"id": call_id, "name": "book", "args": {"d": day}}


GEMINI = {
    "a call and a text in one part": Row(
        GeminiReader,
        [
            sse({"candidates": [{"content": {"parts": [{"text": "Now.", "functionCall": told}]}}]})
            for told in (named("a", 1), {}, named("b", 2))
        ]
        + [called(finish="STOP")],
        TWO,
    ),
    "a whole call once more": Row(
        GeminiReader,
        [called(named("a", 1)), called(named("a", 1), named("b", 2), finish="STOP")],
        TWO,
    ),
    "ids that are none": Row(
        GeminiReader,
        [called(named("null", 1), named("", 1), finish="STOP")],
        [("call_0", *TWO[0][1:]), ("call_1", *TWO[0][1:])],
    ),
    "one id for all": Row(
        GeminiReader,
        [called(named("a", 1), named("a", 2), finish="STOP")],
        [TWO[0], ("a", *TWO[1][1:])],
    ),
}


def line(*calls: Any, done: bool = False, **more: Any) -> bytes:
    message = {"role": "assistant", "content": "", "tool_calls": [*calls]}
    told = {"message": message, "done": done, "done_reason": "stop" if done else None, **more}
    return msgspec.json.encode(told) + b"\n"


OLLAMA = {
    "a call without its list": Row(
        OllamaReader,
        [
            msgspec.json.encode({"message": {"tool_calls": part("a", "book", {"d": 1})}}) + b"\n",
            line(done=True),
        ],
        TWO[:1],
    ),
    "a whole call once more, on the last line": Row(
        OllamaReader,
        [line(part("a", "book", {"d": 1})), line(part("a", "book", {"d": 1}), done=True)],
        TWO[:1],
    ),
    "an index in the function, as number and text": Row(
        OllamaReader,
        [
            line({"id": "a", "function": {"index": 0, "name": "book", "arguments": {"d": 1}}}),
            line({"id": "b", "function": {"index": "0", "name": "book", "arguments": '{"d":2}'}}),
            line(done=True),
        ],
        TWO,
    ),
    "no ids and the same arguments twice": Row(
        OllamaReader,
        [line(part("null", "book", {"d": 1}), part(None, "book", {"d": 1})), line(done=True)],
        [("call_0", *TWO[0][1:]), ("call_1", *TWO[0][1:])],
    ),
    "a call of nothing": Row(
        OllamaReader,
        [line({}, part("a", "book", {"d": 1}), {"function": None}), line(done=True)],
        TWO[:1],
    ),
}

WIRES = {
    "chat": CHAT,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "converse": CONVERSE,
    "gemini": GEMINI,
    "ollama": OLLAMA,
}
ROWS = [
    pytest.param(row, id=f"{wire}: {name}")
    for wire, rows in WIRES.items()
    for name, row in rows.items()
]


@pytest.mark.parametrize("row", ROWS)
def test_an_odd_spelling_means_the_calls_that_it_means(row: Row):
    deltas, answer = answered(row.reader(REQUEST), row.stream)

    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == row.calls
    assert [one for one in deltas if one in answer.tool_calls] == answer.tool_calls
    assert answer.finish_reason == "tool_calls"
    assert play(row.reader(REQUEST), bytewise(b"".join(row.stream))) == (deltas, answer)


def test_nova_names_the_type_of_every_call_through_an_invocation_as_well():
    stream = [
        {
            "contentBlockStart": {
                "contentBlockIndex": 0,
                "start": {"toolUse": {"toolUseId": "a", "name": "book", "type": "tool_use"}},
            }
        },
        {
            "contentBlockDelta": {
                "contentBlockIndex": 0,
                "delta": {"toolUse": {"input": '{"d":1}'}},
            },
            "messageStop": None,
        },
        {"messageStop": {"stopReason": "tool_use"}},
    ]

    _, answer = answered(ConverseReader(REQUEST, NovaFraming()), [*map(invocation, stream)])

    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == TWO[:1]
