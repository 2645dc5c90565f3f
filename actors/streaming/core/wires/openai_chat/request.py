"""The body of a Chat Completions request.

What differs from one kind of server to another is data: a ``Dialect``. Which settings a model takes
is decided before (``schemas.capabilities``); everything that is still set here is sent.
"""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from actors.streaming.core.wires.openai_chat.fragments import EXTRAS
from actors.streaming.core.writing.turns import under, unless_idle, with_sound_ids
from schemas.llm import (
    ChatMessage,
    ContentPart,
    GenerateRequest,
    ImageData,
    ImageUrl,
    JsonObjectFormat,
    JsonSchemaFormat,
    ModelConfig,
    NamedTool,
    ResponseFormat,
    TextPart,
    ToolCall,
    ToolDefinition,
)
from schemas.provider_specs import ChatDialect

STREAM_OPTIONS = "stream_options"
"""The field that some compatible servers refuse; without it usage is estimated."""


class Dialect(NamedTuple):
    """How a kind of server differs from the others.

    ``reasoning_formats`` are what the server calls the wish to see reasoning, or not to.
    ``done_suffices`` says that an answer may end with [DONE] alone: some compatible servers never
    send a finish reason. ``takes_blocks`` says that what came beside the format goes back there;
    others refuse a request with fields of another server's.
    """

    length_field: str
    stream_options: Mapping[str, bool] | None
    reasoning_formats: tuple[str, str] | None = None
    done_suffices: bool = False
    takes_blocks: bool = False


# The padding called obfuscation is on by default and would nearly double the bytes.
OPENAI = Dialect(
    length_field="max_completion_tokens",
    stream_options={"include_usage": True, "include_obfuscation": False},
)

# The older name of the length field is the one that compatible servers know.
COMPATIBLE = Dialect(
    length_field="max_tokens",
    stream_options={"include_usage": True},
    done_suffices=True,
    takes_blocks=True,
)

# Azure serves models of others as well, and those want their reasoning back.
AZURE = OPENAI._replace(takes_blocks=True)

# Versions of Azure's dated paths differ in whether they know the padding.
AZURE_DATED = AZURE._replace(stream_options={"include_usage": True})

# Groq sends its usage unasked and does not know stream_options.
GROQ = Dialect(
    length_field="max_completion_tokens",
    stream_options=None,
    reasoning_formats=("parsed", "hidden"),
)

DIALECTS: Mapping[ChatDialect, Dialect] = {
    "openai": OPENAI,
    "azure": AZURE,
    "groq": GROQ,
    "compatible": COMPATIBLE,
}

# Bedrock counts by itself, and there is nothing to choose about its stream.
BEDROCK = Dialect(length_field="max_completion_tokens", stream_options=None)


def body(request: GenerateRequest, dialect: Dialect) -> dict[str, Any]:
    """Build the JSON body of one streaming call."""
    written: dict[str, Any] = {
        "model": request.provider.model,
        "messages": _messages(with_sound_ids(request.messages, request.provider.model), dialect),
        "stream": True,
        **_settings(request.config, dialect),
    }
    if dialect.stream_options:
        written[STREAM_OPTIONS] = dialect.stream_options
    if request.tools:
        written["tools"] = [_tool(tool) for tool in request.tools]
    return unless_idle(under(request.config.extra, written))


def _settings(config: ModelConfig, dialect: Dialect) -> dict[str, Any]:
    values: dict[str, Any] = {
        "temperature": config.temperature,
        dialect.length_field: config.max_tokens,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "stop": config.stop_sequences or None,
        "seed": config.seed,
        "reasoning_effort": config.reasoning_effort,
        "verbosity": config.verbosity,
        "response_format": config.response_format and _format(config.response_format),
        "tool_choice": _choice(config.tool_choice),
        "parallel_tool_calls": config.parallel_tool_calls,
        "service_tier": config.service_tier,
    }
    if dialect.reasoning_formats and config.reasoning_summary:
        shown, hidden = dialect.reasoning_formats
        values["reasoning_format"] = hidden if config.reasoning_summary == "none" else shown
    return {name: value for name, value in values.items() if value is not None}


def _format(wanted: ResponseFormat) -> dict[str, Any]:
    match wanted:
        case JsonObjectFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat(name=name, schema=schema, strict=strict):
            return {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": strict},
            }


def _choice(choice: str | NamedTool | None) -> Any:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def _messages(messages: list[ChatMessage], dialect: Dialect) -> list[dict[str, Any]]:
    """Write the messages. Images that tools have brought follow their results as a user's."""
    written: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for message in messages:
        if message.role != "tool" and images:
            written.append({"role": "user", "content": images})
            images = []
        written.append(_message(message, dialect))
        if message.role == "tool":
            images += [_part(part) for part in message.parts if not isinstance(part, TextPart)]
    return [*written, {"role": "user", "content": images}] if images else written


def _message(message: ChatMessage, dialect: Dialect) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": _content(message)}
    for block in message.blocks:
        if dialect.takes_blocks and block.wire == "openai_chat":
            written |= block.raw
    extras = written.pop(EXTRAS, [])
    if message.tool_calls:
        # A turn that only calls tools has no content, and some servers refuse an empty one.
        written["content"] = message.text or None
        written["tool_calls"] = [
            {**_call(call), EXTRAS: extra} if extra else _call(call)
            for call, extra in zip_longest(message.tool_calls, extras[: len(message.tool_calls)])
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _content(message: ChatMessage) -> str | list[dict[str, Any]]:
    """Write the content; parts only for users, since images are allowed nowhere else."""
    if message.role != "user" or isinstance(message.content, str):
        return message.text
    return [_part(part) for part in message.content]


def _part(part: ContentPart) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImageUrl(url=url, detail=detail):
            return _image(url, detail)
        case ImageData(media_type=kind, data=data, detail=detail):
            return _image(f"data:{kind};base64,{data}", detail)


def _image(url: str, detail: str | None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    function = {"name": tool.name, "parameters": tool.parameters}
    described = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": function | described}
