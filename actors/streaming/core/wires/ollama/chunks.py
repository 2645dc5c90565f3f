"""What is read of a line of Ollama's stream, of chat and generate alike: only the needed fields."""

from typing import Any

import msgspec

from actors.streaming.core.decoding.surrogates import EventDecoder

Count = Any
"""What is no count is passed over and costs no text, so it may be anything."""


class OllamaFunction(msgspec.Struct, frozen=True):
    """A function call, whole. ``arguments`` is an object; some compatible servers send text."""

    name: str | None = None
    arguments: dict[str, Any] | list[Any] | str | None = None
    index: int | float | str | None = None


class OllamaCall(msgspec.Struct, frozen=True):
    """One tool call; the id is optional."""

    id: str | int | bool | None = None
    index: int | float | str | None = None
    function: OllamaFunction | None = None


class OllamaMessage(msgspec.Struct, frozen=True):
    """What a chat grows by."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[OllamaCall] | OllamaCall | None = None


class OllamaLine(msgspec.Struct, frozen=True):
    """One line. A chat has a ``message``; ``response`` and ``thinking`` are what generate has.

    A ``message`` that is a text is no answer, but what some server has to say.
    """

    model: str | None = None
    message: OllamaMessage | str | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    error: Any = None
    base_resp: Any = None
    prompt_eval_count: Count = None
    eval_count: Count = None
    total_duration: Count = None
    load_duration: Count = None
    prompt_eval_duration: Count = None
    eval_duration: Count = None


decode = EventDecoder(OllamaLine).decode
"""Reads one line; raises msgspec.DecodeError."""
