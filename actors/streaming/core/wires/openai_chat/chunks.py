"""What is read of a Chat Completions chunk: only the needed fields, in all spellings seen.

Fields are optional throughout: Azure's first chunk has no choices and an empty model, compatible
servers leave out the index or send null for anything they do not have.
"""

from typing import Any

import msgspec

from actors.streaming.core.decoding.surrogates import EventDecoder


class FunctionPart(msgspec.Struct, frozen=True, gc=False):
    """A fragment of a function call. Some servers send the arguments as an object, whole.

    Or as an empty list, which is what an empty object is to PHP.
    """

    name: str | None = None
    arguments: str | dict[str, Any] | list[Any] | None = None


class CustomPart(msgspec.Struct, frozen=True, gc=False):
    """A fragment of a call of a custom tool, whose input is a text and need not be JSON."""

    name: str | None = None
    input: str | None = None


class CallPart(msgspec.Struct, frozen=True, gc=False):
    """A fragment of one tool call.

    ``extra_content`` is where Google's interface of this format has a call's signature.
    """

    index: int | float | str | None = None
    id: str | int | bool | None = None
    function: FunctionPart | None = None
    custom: CustomPart | None = None
    extra_content: dict[str, Any] | None = None


class ContentPart(msgspec.Struct, frozen=True, gc=False):
    """A typed piece of content, as Mistral sends it; ``thinking`` is a list of text pieces.

    Databricks calls those a ``summary``.
    """

    type: str = "text"
    text: str | None = None
    thinking: list["ContentPart"] | str | None = None
    summary: list["ContentPart"] | None = None


class DeltaPart(msgspec.Struct, frozen=True, gc=False):
    """What a choice grows by. Reasoning has two names, and a tool call an older form.

    Text Generation Inference has sent a call's fragment alone, without its list. Servers that know
    no calls say so with an empty text.
    """

    content: str | list[ContentPart] | ContentPart | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: list[CallPart] | CallPart | str | None = None
    function_call: FunctionPart | str | None = None


class ChatChoice(msgspec.Struct, frozen=True, gc=False):
    """One of the answers asked for; we ask for one. A ``message`` is the answer as it stands.

    An empty list is what an empty object is to PHP.

    OpenRouter may put an error of the provider behind it here, and Moonshot its usage.
    """

    index: int | float | str | None = None
    delta: DeltaPart | list[Any] | None = None
    message: DeltaPart | list[Any] | None = None
    finish_reason: str | None = None
    usage: Any = None
    error: Any = None


class GroqPart(msgspec.Struct, frozen=True, gc=False):
    """Groq's own place for the usage, beside or instead of the usual one."""

    usage: Any = None
    error: Any = None


class ChatChunk(msgspec.Struct, frozen=True, gc=False):
    """One event of the stream. An ``object`` "error" is one itself, as older vLLM sends it.

    What is no usage is passed over and costs no text, so it may be anything. MiniMax says in
    ``base_resp`` how the call fares.
    """

    choices: list[ChatChoice] | None = None
    usage: Any = None
    model: str | None = None
    service_tier: Any = None
    error: Any = None
    object: Any = None
    base_resp: Any = None
    x_groq: GroqPart | None = None


decode = EventDecoder(ChatChunk).decode
"""Reads one event; raises msgspec.DecodeError."""
