"""One short answer in the words of any wire: what is said, the word for the end, what was used."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from actors.streaming.core.wires.titan.reader import TitanReader
from schemas.llm import GenerateRequest, Wire
from tests.frames import chunk as invoked
from tests.frames import event as frame
from tests.wires import sse


class Said(NamedTuple):
    """An answer: its text, its thoughts, the name of the tool it calls."""

    text: str = ""
    thought: str = ""
    call: str = ""


NOTHING = Said()
TEXT = Said(text="Two pigeons.")
THOUGHT = Said(thought="Which birds?")
CALL = Said(call="count_birds")


def reader_of(wire: Wire, request: GenerateRequest) -> Reader[Any]:
    readers: dict[Wire, type[Reader[Any]]] = {
        "openai_chat": ChatReader,
        "openai_responses": ResponsesReader,
        "anthropic": MessagesReader,
        "converse": ConverseReader,
        "titan": TitanReader,
        "gemini": GeminiReader,
        "ollama": OllamaReader,
    }
    return readers[wire](request)  # type: ignore[call-arg]


def stream(
    wire: Wire, said: Said, word: str | None, used: Mapping[str, Any] | None = None
) -> list[bytes]:
    """Write the events of an answer, to its very end. The usage is in the wire's own words."""
    return _WRITERS[wire](said, word, dict(used) if used is not None else None)


def delta(word: str | None = None, /, **grown: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": grown, "finish_reason": word}]})


def _chat(said: Said, word: str | None, used: Any) -> list[bytes]:
    call = {"index": 0, "id": "c", "function": {"name": said.call, "arguments": "{}"}}
    return [
        *([delta(reasoning_content=said.thought)] if said.thought else []),
        *([delta(content=said.text)] if said.text else []),
        *([delta(tool_calls=[call])] if said.call else []),
        delta(word),
        *([sse({"choices": [], "usage": used})] if used is not None else []),
        sse("[DONE]"),
    ]


def _responses(said: Said, word: str | None, used: Any) -> list[bytes]:
    call = {"type": "function_call", "call_id": "c", "name": said.call, "arguments": "{}"}
    is_whole = word in {None, "completed"}
    response = {"status": "completed"} if is_whole else {"incomplete_details": {"reason": word}}
    name = "completed" if is_whole else "incomplete"
    events: list[Any] = [
        {"type": "response.reasoning_text.delta", "delta": said.thought},
        {"type": "response.output_text.delta", "output_index": 1, "delta": said.text},
        *(
            [{"type": "response.output_item.done", "output_index": 2, "item": call}]
            if said.call
            else []
        ),
        {"type": f"response.{name}", "response": {**response, "usage": used}},
    ]
    return [sse(event) for event in events if event.get("delta", "?")]


def _messages(said: Said, word: str | None, used: Any) -> list[bytes]:
    def grown(index: int, **fields: Any) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": fields}

    call = {"type": "tool_use", "id": "c", "name": said.call, "input": {}}
    begun = {"type": "content_block_start", "index": 2, "content_block": call}
    events: list[Any] = [
        *([grown(0, type="thinking_delta", thinking=said.thought)] if said.thought else []),
        *([grown(1, type="text_delta", text=said.text)] if said.text else []),
        *([begun] if said.call else []),
        {"type": "message_delta", "delta": {"stop_reason": word}, "usage": used},
        {"type": "message_stop"},
    ]
    return [sse(event) for event in events]


def _converse(said: Said, word: str | None, used: Any) -> list[bytes]:
    thought, begun = {"text": said.thought}, {"toolUseId": "c", "name": said.call}
    block = "contentBlockDelta"
    return [
        *([frame(block, delta={"reasoningContent": thought})] if said.thought else []),
        *([frame(block, contentBlockIndex=1, delta={"text": said.text})] if said.text else []),
        *(
            [frame("contentBlockStart", contentBlockIndex=2, start={"toolUse": begun})]
            if said.call
            else []
        ),
        frame("messageStop", stopReason=word),
        frame("metadata", usage=used),
    ]


def _titan(said: Said, word: str | None, used: Any) -> list[bytes]:
    counted = used or {}
    last = {
        "outputText": said.text,
        "completionReason": word,
        "inputTextTokenCount": counted.get("inputTokenCount"),
        "totalOutputTextTokenCount": counted.get("outputTokenCount"),
    }
    return [invoked(last)]


def _gemini(said: Said, word: str | None, used: Any) -> list[bytes]:
    parts = [
        *([{"text": said.thought, "thought": True}] if said.thought else []),
        *([{"text": said.text}] if said.text else []),
        *([{"functionCall": {"name": said.call, "args": {}}}] if said.call else []),
    ]
    last = {"finishReason": word, "index": 0}
    return [
        *([sse({"candidates": [{"content": {"parts": [part]}}]}) for part in parts]),
        sse({"candidates": [last], "usageMetadata": used}),
    ]


def _ollama(said: Said, word: str | None, used: Any) -> list[bytes]:
    message: dict[str, Any] = {"content": said.text, "thinking": said.thought}
    if said.call:
        message["tool_calls"] = [{"function": {"name": said.call, "arguments": {}}}]
    last = {"message": message, "done": True, "done_reason": word, **(used or {})}
    return [msgspec.json.encode(last) + b"\n"]


_WRITERS: dict[Wire, Any] = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic": _messages,
    "converse": _converse,
    "titan": _titan,
    "gemini": _gemini,
    "ollama": _ollama,
}
WIRES: tuple[Wire, ...] = tuple(_WRITERS)

USED: dict[Wire, dict[str, int]] = {
    "openai_chat": {"prompt_tokens": 31, "completion_tokens": 17},
    "openai_responses": {"input_tokens": 31, "output_tokens": 17},
    "anthropic": {"input_tokens": 31, "output_tokens": 17},
    "converse": {"inputTokens": 31, "outputTokens": 17},
    "titan": {"inputTokenCount": 31, "outputTokenCount": 17},
    "gemini": {"promptTokenCount": 31, "candidatesTokenCount": 17},
    "ollama": {"prompt_eval_count": 31, "eval_count": 17},
}
"""31 tokens of input and 17 of output, as each wire says it."""
