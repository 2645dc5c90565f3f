"""Token counts where a provider gives none: a guess, always marked as one.

Four ASCII characters make a token, and so do three bytes of any other script (one Chinese
character, one and a half Cyrillic ones). On recorded streams of five providers the sum is within 15
% of what they billed; one short answer can be off by half.
"""

import math

import msgspec

from schemas.llm import GenerateRequest, ToolCall
from schemas.usage import Usage

_ASCII_PER_TOKEN = 4
_OTHER_BYTES_PER_TOKEN = 3
_MESSAGE_OVERHEAD = 4
"""The role and the marks around a message."""


def tokens(text: str) -> int:
    """Guess how many tokens a text is; at least one unless it is empty."""
    ascii_bytes = len(text.encode("ascii", "ignore"))
    other_bytes = len(text.encode("utf-8", "replace")) - ascii_bytes
    return math.ceil(ascii_bytes / _ASCII_PER_TOKEN + other_bytes / _OTHER_BYTES_PER_TOKEN)


def prompt_tokens(request: GenerateRequest) -> int:
    """Guess the input of a call: its messages and the definitions of its tools."""
    messages = sum(
        _MESSAGE_OVERHEAD + tokens(message.text) + sum(map(_call_tokens, message.tool_calls))
        for message in request.messages
    )
    definitions = msgspec.json.encode(request.tools).decode() if request.tools else ""
    return messages + tokens(definitions)


def usage(
    request: GenerateRequest,
    text: str = "",
    reasoning: str = "",
    calls: list[ToolCall] | None = None,
) -> Usage:
    """Guess what a call has used that answered this much; the quality is ``estimated``."""
    thought = tokens(reasoning)
    return Usage(
        input=prompt_tokens(request),
        output=thought + tokens(text) + sum(map(_call_tokens, calls or [])),
        reasoning=thought,
        quality="estimated",
    )


def _call_tokens(call: ToolCall) -> int:
    return _MESSAGE_OVERHEAD + tokens(call.name) + tokens(call.arguments)
