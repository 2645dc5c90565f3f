"""The request body of OpenAI Chat Completions, and what differs from one server of it to another.

The differences are data: a ``Dialect`` a provider type, and for OpenAI rules by model name. A
setting that a model is known to refuse is left out and named to the user, never sent blindly.
"""

import re
from typing import Any, NamedTuple

import msgspec

from schemas.llm import (
    ChatMessage,
    GenerateRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    ModelConfig,
    ResponseFormat,
    ToolCall,
    ToolDefinition,
)
from schemas.providers import Custom, Groq, OpenAI

_SAMPLING = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty"})
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})


class _ModelRule(NamedTuple):
    """Settings that models of a name refuse, and which of them at reasoning effort ``none``."""

    pattern: re.Pattern[str]
    refused: frozenset[str]
    refused_without_effort: frozenset[str]


_OPENAI_RULES = (
    _ModelRule(re.compile(r"gpt-5[\w.-]*-chat"), frozenset(), frozenset()),
    _ModelRule(re.compile(r"gpt-5\.\d"), _SAMPLING, _PENALTIES),
    _ModelRule(re.compile(r"o3|o4-mini"), _SAMPLING | {"stop"}, _SAMPLING | {"stop"}),
    _ModelRule(re.compile(r"o\d|gpt-5"), _SAMPLING, _SAMPLING),
)


class Dialect(NamedTuple):
    """How a kind of server differs from the others.

    ``efforts`` lists the reasoning efforts it knows, None for all; the first of ``rules`` whose
    pattern begins the model's name counts. ``done_suffices`` says that an answer may end with
    [DONE] alone: some compatible servers never send a finish reason.
    """

    length_field: str
    stream_options: dict[str, bool] | None
    efforts: frozenset[str] | None = None
    rules: tuple[_ModelRule, ...] = ()
    done_suffices: bool = False


DIALECTS: dict[type, Dialect] = {
    # The padding called obfuscation is on by default and would nearly double the bytes.
    OpenAI: Dialect(
        length_field="max_completion_tokens",
        stream_options={"include_usage": True, "include_obfuscation": False},
        rules=_OPENAI_RULES,
    ),
    # Groq sends its usage unasked and does not know stream_options.
    Groq: Dialect(
        length_field="max_completion_tokens",
        stream_options=None,
        efforts=frozenset({"none", "low", "medium", "high"}),
    ),
    # The older name of the length field is the one that compatible servers know.
    Custom: Dialect(
        length_field="max_tokens", stream_options={"include_usage": True}, done_suffices=True
    ),
}


def omitted(request: GenerateRequest) -> tuple[str, ...]:
    """Name the given settings that the model would refuse, by their names on the wire."""
    dialect = DIALECTS[type(request.provider)]
    given = _settings(request.config, dialect).keys()
    return tuple(sorted(_refused(request, dialect) & given))


def build(request: GenerateRequest, *, stream_options: bool = True) -> bytes:
    """Write the JSON body of one streaming call, without what ``omitted`` names.

    Without ``stream_options`` the field of that name is left out, for servers that refuse it; usage
    is then estimated.
    """
    dialect = DIALECTS[type(request.provider)]
    refused = _refused(request, dialect)
    settings = _settings(request.config, dialect)
    body: dict[str, Any] = {
        "model": request.provider.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        **{name: value for name, value in settings.items() if name not in refused},
    }
    if stream_options and dialect.stream_options:
        body["stream_options"] = dialect.stream_options
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    return msgspec.json.encode(body)


def _settings(config: ModelConfig, dialect: Dialect) -> dict[str, Any]:
    values: dict[str, Any] = {
        "temperature": config.temperature,
        dialect.length_field: config.max_tokens,
        "top_p": config.top_p,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "stop": config.stop_sequences or None,
        "seed": config.seed,
        "reasoning_effort": config.reasoning_effort,
        "response_format": config.response_format and _format(config.response_format),
    }
    return {name: value for name, value in values.items() if value is not None}


def _refused(request: GenerateRequest, dialect: Dialect) -> frozenset[str]:
    effort = request.config.reasoning_effort
    refused: frozenset[str] = frozenset()
    if dialect.efforts is not None and effort not in dialect.efforts:
        refused = frozenset({"reasoning_effort"})
    name = request.provider.model.removeprefix("ft:")
    for rule in dialect.rules:
        if rule.pattern.match(name):
            return refused | (rule.refused_without_effort if effort == "none" else rule.refused)
    return refused


def _format(wanted: ResponseFormat) -> dict[str, Any]:
    match wanted:
        case JsonObjectFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat(name=name, schema=schema, strict=strict):
            return {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": strict},
            }


def _message(message: ChatMessage) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        # A turn that only calls tools has no content, and some servers refuse an empty one.
        written["content"] = message.content or None
        written["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    return {"type": "function", "function": msgspec.to_builtins(tool)}
