"""Streams of all wires, and the fields that their objects may have, with their defaults."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.aws.framings import NovaFraming
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.converse.reader import ConverseReader
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from actors.streaming.core.wires.titan.reader import TitanReader
from tests.frames import chunk as invocation
from tests.frames import event as frame
from tests.wires import ReaderOf, sse

Defaults = dict[str, list[Any]]
NONE: list[Any] = [None]
TEXT: list[Any] = [None, ""]
OBJECT: list[Any] = [None, {}]
LIST: list[Any] = [None, []]
FLAG: list[Any] = [None, False]
ERROR: list[Any] = [None, {}, "", False, {"code": "", "message": ""}]


class Wire(NamedTuple):
    """A stream, how its events are written, and which fields an object may have, by its path.

    A star in a path stands for the items of a list.
    """

    reader: ReaderOf
    events: list[dict[str, Any]]
    write: Callable[[dict[str, Any]], bytes]
    fields: dict[str, Defaults]


def _line(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def _frame(event: dict[str, Any]) -> bytes:
    ((kind, body),) = event.items()
    return frame(kind, **body)


CHAT = Wire(
    ChatReader,
    [
        {"choices": [{"delta": {"reasoning": "Hm"}}]},
        {"choices": [{"delta": {"content": "Hi"}}]},
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}}
            ]
        },
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"d":1}'}}]}}
            ]
        },
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
    ],
    sse,
    {
        "": {
            **dict.fromkeys(["model", "system_fingerprint", "service_tier", "id"], TEXT),
            **dict.fromkeys(["x_groq", "usage", "timings"], OBJECT),
            "error": ERROR,
            "object": [None, "", "chat.completion.chunk"],
            "prompt_filter_results": LIST,
            "base_resp": [*OBJECT, {"status_code": 0, "status_msg": ""}],
        },
        "choices.*": {
            "index": [0, None, "0"],
            "message": [*OBJECT, {"role": "assistant", "content": "", "tool_calls": []}],
            "error": ERROR,
            "finish_reason": TEXT,
            "logprobs": OBJECT,
            "usage": OBJECT,
            "content_filter_results": [{}, {"hate": {"filtered": False}}],
            "stop_reason": NONE,
            "matched_stop": NONE,
        },
        "choices.*.delta": {
            **dict.fromkeys(["refusal", "reasoning", "reasoning_content", "role"], TEXT),
            "content": [*TEXT, []],
            "function_call": [
                *OBJECT,
                *["", "null"],
                {"name": None, "arguments": ""},
                {"name": "", "arguments": ""},
            ],
            "tool_calls": [
                *LIST,
                *["", "none"],
                {},
                [{}],
                [{"index": 9, "function": {"name": "", "arguments": ""}}],
            ],
            "reasoning_details": LIST,
            "audio": OBJECT,
            "annotations": LIST,
        },
        "choices.*.delta.tool_calls.*": {
            "id": [*TEXT, "null", False],
            "type": [*TEXT, "function"],
            "custom": [*OBJECT, {"name": "", "input": ""}],
            "extra_content": OBJECT,
        },
        "choices.*.delta.tool_calls.*.function": {"name": TEXT, "arguments": TEXT},
    },
)

MESSAGES = Wire(
    MessagesReader,
    [
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 7}}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "Hm"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "signature_delta", "signature": "c2ln"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": ""},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "a", "name": "f"},
        },
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": '{"d":1}'},
        },
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ],
    sse,
    {
        "": {
            "error": ERROR,
            **dict.fromkeys(
                ["delta", "content_block", "message", "usage", "context_management"], OBJECT[:1]
            ),
            "usage": OBJECT,
            "index": [None],
            "base_resp": [*OBJECT, {"status_code": 0}],
        },
        "message": {
            **dict.fromkeys(["stop_reason", "stop_sequence", "stop_details", "container"], NONE),
            "content": [[]],
        },
        "delta": {
            **dict.fromkeys(
                ["text", "thinking", "signature", "partial_json", "encrypted_content"], TEXT
            ),
            **dict.fromkeys(
                ["content", "stop_sequence", "stop_details", "container", "citation"], NONE
            ),
            "stop_reason": TEXT,
        },
    },
)

ITEM = {"type": "function_call", "id": "i", "call_id": "a", "name": "f"}
RESPONSES = Wire(
    ResponsesReader,
    [
        {"type": "response.created", "response": {"model": "m"}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm"},
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {"type": "message", "id": "n"},
        },
        {"type": "response.output_text.delta", "output_index": 1, "delta": "Hi"},
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {
                "type": "message",
                "id": "n",
                "content": [{"type": "output_text", "text": "Hi"}],
            },
        },
        {"type": "response.output_item.added", "output_index": 2, "item": ITEM},
        {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"d":1}'},
        {"type": "response.output_item.done", "output_index": 2, "item": ITEM},
        {
            "type": "response.completed",
            "response": {"status": "completed", "usage": {"input_tokens": 7, "output_tokens": 5}},
        },
    ],
    sse,
    {
        "": {
            "error": ERROR,
            **dict.fromkeys(["text", "refusal", "arguments", "name", "obfuscation", "code"], TEXT),
            **dict.fromkeys(["item", "response", "part"], OBJECT),
            **{key: [None, 0] for key in ["content_index", "summary_index"]},
            **dict.fromkeys(["object", "input", "output_index", "call_id"], NONE),
            "item_id": [*TEXT, "null"],
            "delta": [*TEXT, {}],
            "sequence_number": [0],
            "logprobs": LIST,
        },
        "item": {
            "status": [*TEXT, "completed"],
            "arguments": TEXT,
            "phase": TEXT,
            "content": LIST,
            "encrypted_content": TEXT,
            "action": NONE,
        },
        "item.content.*": {"annotations": LIST, "logprobs": LIST, "refusal": TEXT},
        "response": {
            "error": ERROR,
            "incomplete_details": [*OBJECT, {"reason": None}, {"reason": ""}],
            "output": LIST,
            "usage": OBJECT,
            "service_tier": TEXT,
            "model": TEXT,
        },
    },
)

CONVERSE_EVENTS: list[dict[str, Any]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm"}}}},
    {
        "contentBlockDelta": {
            "contentBlockIndex": 0,
            "delta": {"reasoningContent": {"signature": "c2ln"}},
        }
    },
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "Hi"}}},
    {
        "contentBlockStart": {
            "contentBlockIndex": 2,
            "start": {"toolUse": {"toolUseId": "a", "name": "f"}},
        }
    },
    {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"d":1}'}}}},
    {"contentBlockStop": {"contentBlockIndex": 2}},
    {"messageStop": {"stopReason": "tool_use"}},
    {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 5}}},
]
CONVERSE_FIELDS: dict[str, Defaults] = {
    "*": {
        **dict.fromkeys(
            ["start", "delta", "usage", "trace", "serviceTier", "additionalModelResponseFields"],
            OBJECT,
        ),
        **dict.fromkeys(["stopReason", "role"], TEXT),
        "contentBlockIndex": [None],
        "error": ERROR,
    },
    "*.delta": {
        "text": TEXT,
        "toolUse": [*OBJECT, {"input": ""}, {"input": None}],
        "reasoningContent": [*OBJECT, {"text": "", "signature": "", "redactedContent": ""}],
        "toolResult": LIST,
        "citation": OBJECT,
        "image": NONE,
    },
    "*.delta.reasoningContent": {"text": TEXT, "signature": TEXT, "redactedContent": TEXT},
    "*.start": {"toolResult": OBJECT, "image": OBJECT},
    "*.start.toolUse": {"type": [*TEXT, "tool_use"]},
}
CONVERSE = Wire(ConverseReader, CONVERSE_EVENTS, _frame, CONVERSE_FIELDS)
NOVA = Wire(
    lambda request: ConverseReader(request, NovaFraming()),
    CONVERSE_EVENTS,
    invocation,
    {
        **CONVERSE_FIELDS,
        "": {
            **dict.fromkeys(
                ["messageStop", "contentBlockStop", "contentBlockStart", "metadata"], OBJECT
            ),
            "amazon-bedrock-guardrailAction": [*TEXT, "NONE"],
            "amazon-bedrock-invocationMetrics": OBJECT,
            "type": TEXT,
        },
    },
)

GEMINI = Wire(
    GeminiReader,
    [
        {"candidates": [{"content": {"parts": [{"text": "Hm", "thought": True}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
        {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"name": "f", "args": {"d": 1}}}]}}
            ]
        },
        {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"name": "g", "willContinue": True}}]}}
            ]
        },
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {
                                "functionCall": {
                                    "willContinue": True,
                                    "partialArgs": [
                                        {"jsonPath": "$.s", "stringValue": "x"},
                                        {"jsonPath": "$.n", "numberValue": 3},
                                        {"jsonPath": "$.b", "boolValue": True},
                                    ],
                                }
                            }
                        ]
                    }
                }
            ]
        },
        {"candidates": [{"content": {"parts": [{"text": "!"}]}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {}}]}, "finishReason": "STOP"}]},
        {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5}},
    ],
    sse,
    {
        "": {
            "error": ERROR,
            "promptFeedback": [
                *OBJECT,
                {"safetyRatings": []},
                {"blockReason": None},
                {"blockReason": ""},
                {"blockReason": "BLOCK_REASON_UNSPECIFIED"},
            ],
            "usageMetadata": OBJECT,
            "modelVersion": TEXT,
            "responseId": TEXT,
        },
        "candidates.*": {
            "index": [None, 0, "0"],
            "finishReason": [*TEXT, "FINISH_REASON_UNSPECIFIED"],
            "groundingMetadata": [*OBJECT, {"webSearchQueries": []}],
            "finishMessage": TEXT,
            "safetyRatings": LIST,
            "citationMetadata": OBJECT,
            "avgLogprobs": [0],
        },
        "candidates.*.content.parts.*": {
            "text": TEXT,
            "thought": FLAG,
            "thoughtSignature": TEXT,
            "functionCall": OBJECT,
            **dict.fromkeys(
                ["executableCode", "codeExecutionResult", "toolCall", "toolResponse", "inlineData"],
                OBJECT,
            ),
        },
        "candidates.*.content.parts.*.functionCall": {
            "id": TEXT,
            "partialArgs": LIST,
            "willContinue": FLAG,
            "args": OBJECT,
        },
        "candidates.*.content.parts.*.functionCall.partialArgs.*": {
            "stringValue": TEXT,
            "numberValue": [None, 0],
            "boolValue": FLAG,
            "nullValue": NONE,
            "willContinue": FLAG,
        },
    },
)

OLLAMA = Wire(
    OllamaReader,
    [
        {"message": {"thinking": "Hm"}},
        {"message": {"content": "Hi"}},
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"d": 1}}}]}},
        {"done": True, "prompt_eval_count": 7, "eval_count": 5},
    ],
    _line,
    {
        "": {
            "error": ERROR,
            **dict.fromkeys(["response", "thinking", "done_reason", "model"], TEXT),
            "done": FLAG,
            "message": OBJECT,
            **dict.fromkeys(["total_duration", "load_duration", "logprobs", "remote_model"], NONE),
        },
        "message": {
            "content": TEXT,
            "thinking": TEXT,
            "tool_calls": [*LIST, [{}]],
            "images": LIST,
            "tool_name": TEXT,
        },
        "message.tool_calls.*": {"id": [*TEXT, "none"], "type": TEXT, "index": NONE},
        "message.tool_calls.*.function": {"index": TEXT, "description": TEXT},
    },
)

TITAN = Wire(
    TitanReader,
    [
        {"outputText": "Hi", "inputTextTokenCount": 7},
        {"outputText": "!", "totalOutputTextTokenCount": 5, "completionReason": "FINISH"},
    ],
    invocation,
    {
        "": {
            "completionReason": TEXT,
            "totalOutputTextTokenCount": [None, 0],
            "amazon-bedrock-guardrailAction": [*TEXT, "NONE"],
            "amazon-bedrock-invocationMetrics": OBJECT,
            "results": LIST,
            "index": [0],
        }
    },
)

WIRES = {
    "chat": CHAT,
    "messages": MESSAGES,
    "responses": RESPONSES,
    "converse": CONVERSE,
    "nova": NOVA,
    "gemini": GEMINI,
    "ollama": OLLAMA,
    "titan": TITAN,
}
