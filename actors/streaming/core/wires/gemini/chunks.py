"""What is read of a chunk of Gemini's stream: only the needed fields."""

from typing import Any

import msgspec

from actors.streaming.core.decoding.surrogates import EventDecoder


class PartialArgument(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A value within a call's arguments, or a piece of a text there; without either a null."""

    json_path: str | None = None
    string_value: str | None = None
    number_value: int | float | None = None
    bool_value: bool | None = None
    will_continue: bool | None = None


class FunctionCall(msgspec.Struct, frozen=True, rename="camel"):
    """A function call, whole; or, where arguments are streamed, a piece of one."""

    name: str | None = None
    args: dict[str, Any] | list[Any] | str | None = None
    id: str | None = None
    partial_args: list[PartialArgument] | None = None
    will_continue: bool | None = None


NULL = msgspec.Raw(b"null")


class GeminiPart(msgspec.Struct, frozen=True, rename="camel"):
    """A piece of the answer: text, reasoning if ``thought`` says so, or a call.

    Or what Google's own tools were asked and have answered: code that it has run, searches.
    ``inline_data`` is a picture or a sound, of which only is read that it is there.
    """

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    executable_code: dict[str, Any] | None = None
    code_execution_result: dict[str, Any] | None = None
    tool_call: dict[str, Any] | None = None
    tool_response: dict[str, Any] | None = None
    inline_data: msgspec.Raw = NULL


class Grounding(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What an answer rests on, of which only the searches are counted."""

    web_search_queries: list[str] | None = None


class Content(msgspec.Struct, frozen=True):
    """The pieces of a chunk."""

    parts: list[GeminiPart] | None = None


class Candidate(msgspec.Struct, frozen=True, rename="camel"):
    """One of the answers asked for; we ask for one."""

    content: Content | None = None
    finish_reason: str | None = None
    index: int | float | str | None = None
    grounding_metadata: Grounding | None = None


class PromptFeedback(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Why a prompt was blocked; then there are no candidates."""

    block_reason: str | None = None


class GeminiChunk(msgspec.Struct, frozen=True, rename="camel"):
    """One event of the stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Any = None
    model_version: str | None = None
    error: Any = None
    base_resp: Any = msgspec.field(name="base_resp", default=None)


decode = EventDecoder(GeminiChunk).decode
"""Reads one event; raises msgspec.DecodeError."""
