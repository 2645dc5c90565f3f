"""The body of a ConverseStream request, and of an invocation of Nova, which is nearly the same.

What Converse has no field for goes to the model as it is, in ``additionalModelRequestFields``, and
there models differ. Which settings a model takes is decided before (``schemas.capabilities``).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from actors.streaming.core.errors.faults import fault
from actors.streaming.core.wires.converse.reasoning import NOVA, reasoning
from actors.streaming.core.writing.turns import arguments, merged, replayed, system_text, under
from schemas.llm import (
    CacheTime,
    ChatMessage,
    ContentPart,
    GenerateRequest,
    ImageData,
    ImageUrl,
    JsonSchemaFormat,
    ModelConfig,
    NamedTool,
    ProviderBlock,
    TextPart,
    ToolCall,
    ToolDefinition,
)

_CHOICES: dict[str, dict[str, Any]] = {"auto": {"auto": {}}, "required": {"any": {}}}
_ROLES = {"assistant": "assistant", "user": "user", "tool": "user"}


def body(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one ConverseStream call.

    Raises:
        ProviderFaultError: ``validation``, an image is elsewhere.
    """
    config = request.config
    top_k = {"top_k": config.top_k} if config.top_k is not None else {}
    if NOVA.search(request.provider.model) and top_k:
        top_k = {"inferenceConfig": {"topK": config.top_k}}
    fields = under(top_k, reasoning(request.provider.model, config))
    written = _written(request) | {
        "inferenceConfig": _inference(config),
        "outputConfig": _output(config),
        "serviceTier": config.service_tier and {"type": config.service_tier},
        "additionalModelRequestFields": fields,
    }
    return under(config.extra, {name: value for name, value in written.items() if value})


def nova(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one invocation of a Nova model.

    Raises:
        ProviderFaultError: ``validation``, an image is elsewhere.
    """
    config = request.config
    inference = _inference(config)
    if config.top_k is not None:
        inference["topK"] = config.top_k
    written = _written(request) | {
        "inferenceConfig": inference,
        **reasoning(request.provider.model, config),
    }
    kept = {name: value for name, value in written.items() if value}
    return under(config.extra, {"schemaVersion": "messages-v1", **kept})


def _written(request: GenerateRequest) -> dict[str, Any]:
    """Write what is said and which tools there are."""
    config = request.config
    system = system_text(request.messages)
    turns = ((_ROLES[one.role], _content(one)) for one in request.messages if one.role in _ROLES)
    return {
        "system": [{"text": system}, *_cache(config.cache)] if system else [],
        "messages": [{"role": role, "content": content} for role, content in merged(turns)],
        "toolConfig": _tools(request.tools, config),
    }


def _inference(config: ModelConfig) -> dict[str, Any]:
    values = {
        "maxTokens": config.max_tokens,
        "temperature": config.temperature,
        "topP": config.top_p,
        "stopSequences": config.stop_sequences or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _output(config: ModelConfig) -> dict[str, Any]:
    wanted = config.response_format
    if not isinstance(wanted, JsonSchemaFormat):
        return {}
    schema = {"name": wanted.name, "schema": msgspec.json.encode(wanted.schema).decode()}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _tools(tools: list[ToolDefinition], config: ModelConfig) -> dict[str, Any]:
    if not tools:
        return {}
    chosen = _choice(config.tool_choice)
    written: dict[str, Any] = {"tools": [*map(_tool, tools), *_cache(config.cache)]}
    return {**written, "toolChoice": chosen} if chosen else written


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    written = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    described = {"description": tool.description} if tool.description else {}
    return {"toolSpec": written | described}


def _choice(choice: str | NamedTool | None) -> dict[str, Any] | None:
    if isinstance(choice, NamedTool):
        return {"tool": {"name": choice.name}}
    return _CHOICES.get(choice or "")


def _cache(time: CacheTime | None) -> list[dict[str, Any]]:
    """Mark the end of what is to be kept. Five minutes are what every model knows."""
    if time is None:
        return []
    longer = {} if time == "5m" else {"ttl": time}
    return [{"cachePoint": {"type": "default", **longer}}]


def _content(message: ChatMessage) -> list[dict[str, Any]]:
    match message.role:
        case "assistant":
            content = [_piece(piece) for piece in replayed(message, "converse") if _says(piece)]
        case "tool":
            content = [{"toolResult": _result(message)}]
        case _:
            content = list(_parts(message))
    return [*content, *_cache(message.cache)] if content else []


def _says(piece: str | ToolCall | ProviderBlock) -> bool:
    """Whether a piece is more than blank text, which Bedrock refuses."""
    return not isinstance(piece, str) or bool(piece.strip())


def _piece(piece: str | ToolCall | ProviderBlock) -> dict[str, Any]:
    match piece:
        case str():
            return {"text": piece}
        case ProviderBlock(raw=raw):
            return raw
        case ToolCall(id=call_id, name=name):
            return {"toolUse": {"toolUseId": call_id, "name": name, "input": arguments(piece)}}


def _result(message: ChatMessage) -> dict[str, Any]:
    content = list(_parts(message)) or [{"text": "(empty)"}]
    status = {"status": "error"} if message.is_error else {}
    return {"toolUseId": message.tool_call_id or "", "content": content, **status}


def _parts(message: ChatMessage) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        if not isinstance(part, TextPart) or part.text.strip():
            yield _part(part)


def _part(part: ContentPart) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"text": text}
        case ImageData(media_type=kind, data=data):
            return {"image": {"format": kind.removeprefix("image/"), "source": {"bytes": data}}}
        case ImageUrl():
            message = "Bedrock takes images within the message only, not by their address."
            raise fault("validation", message, retryable=False)
