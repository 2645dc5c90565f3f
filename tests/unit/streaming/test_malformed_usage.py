"""Usage that is none, or is no count, costs no text: it is estimated, and marked so."""

from collections.abc import Callable
from typing import Any

import pytest

from actors.streaming.core.aws.framings import InvokeFraming
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from actors.streaming.core.wires.titan.reader import TitanReader
from tests.frames import chunk as invocation
from tests.frames import event as frame
from tests.wires import HELLO, ReaderOf, answered, sse


def choice(finish: str | None = None, /, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def candidate(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [*parts]}, **more}]}


NO_USAGE: list[Any] = [None, {}, [], "", "many", 7, False, {"a": None}, [{"a": 1}]]
BAD_COUNTS: list[Any] = [None, "7", -7, 1e300, True, {}, []]


def chat_counted(usage: Any) -> list[bytes]:
    return [sse(choice("stop", content="Hi")), sse({"choices": [], "usage": usage})]


COUNTING: dict[str, tuple[ReaderOf, Callable[[Any], list[bytes]], dict[str, str]]] = {
    "chat": (ChatReader, chat_counted, {"input": "prompt_tokens", "output": "completion_tokens"}),
    "chat, of a choice": (
        ChatReader,
        lambda told: [
            sse({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop", "usage": told}]})
        ],
        {"input": "prompt_tokens", "output": "completion_tokens"},
    ),
    "responses": (
        ResponsesReader,
        lambda told: [
            sse({"type": "response.output_text.delta", "delta": "Hi"}),
            sse({"type": "response.completed", "response": {"status": "completed", "usage": told}}),
        ],
        {"input": "input_tokens", "output": "output_tokens"},
    ),
    "messages": (
        MessagesReader,
        lambda told: [
            sse({"type": "message_start", "message": {"usage": told}}),
            sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}),
            sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": told}),
            sse({"type": "message_stop"}),
        ],
        {"input": "input_tokens", "output": "output_tokens"},
    ),
    "gemini": (
        GeminiReader,
        lambda told: [
            sse(candidate({"text": "Hi"}, finishReason="STOP") | {"usageMetadata": told})
        ],
        {},
    ),
    "converse": (
        ConverseReader,
        lambda told: [
            frame("contentBlockDelta", delta={"text": "Hi"}),
            frame("messageStop", stopReason="end_turn"),
            frame("metadata", usage=told),
        ],
        {"input": "inputTokens", "output": "outputTokens"},
    ),
    "titan": (
        TitanReader,
        lambda told: [
            invocation(
                {
                    "outputText": "Hi",
                    "completionReason": "FINISH",
                    "amazon-bedrock-invocationMetrics": told,
                }
            )
        ],
        {"input": "inputTokenCount", "output": "outputTokenCount"},
    ),
    "invoke, chat": (
        lambda request: ChatReader(request, framing=InvokeFraming(lambda _: {"choices": []})),
        lambda told: [
            invocation(choice("stop", content="Hi") | {"amazon-bedrock-invocationMetrics": told})
        ],
        {},
    ),
}


@pytest.mark.parametrize("wire", COUNTING)
def test_usage_that_is_none_costs_no_text_and_is_estimated(wire: str):
    reader, write, names = COUNTING[wire]
    bad = [dict.fromkeys(names.values(), count) for count in BAD_COUNTS]

    for usage in [*NO_USAGE, *bad]:
        answer = answered(reader(HELLO), write(usage))[1]
        assert (answer.text, answer.finish_reason) == ("Hi", "stop")
        assert answer.usage.quality == "estimated"
        assert answer.usage.output > 0


@pytest.mark.parametrize("count", BAD_COUNTS)
def test_ollamas_counts_that_are_none_cost_no_text(count: Any):
    end = {
        "message": {"content": "Hi"},
        "done": True,
        "prompt_eval_count": count,
        "eval_count": count,
    }

    assert answered(OllamaReader(HELLO), [sse(end)[6:]])[1].text == "Hi"
