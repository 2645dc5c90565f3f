"""The body of a Responses request.

Nothing is stored at the provider: the whole conversation goes along each time, and with it the
encrypted reasoning of earlier turns, which reasoning models are asked to send.
"""

from typing import Any

from actors.streaming.core.wires.openai_responses.events import PHASE
from actors.streaming.core.writing.turns import replayed, under, unless_idle
from schemas.capabilities.openai import THINKING
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
    ProviderBlock,
    ResponseFormat,
    TextPart,
    ToolCall,
    ToolDefinition,
)

STREAM_OPTIONS = "stream_options"
"""The field that some compatible servers refuse; it only switches a padding off."""

Item = dict[str, Any]


def body(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one streaming call."""
    config, model = request.config, request.provider.model
    written: dict[str, Any] = {
        "model": model,
        "input": [item for message in request.messages for item in _items(message)],
        "stream": True,
        STREAM_OPTIONS: {"include_obfuscation": False},
        "include": ["reasoning.encrypted_content"] if THINKING.search(model) else None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        **_settings(config),
    }
    given = {name: value for name, value in written.items() if value is not None}
    return unless_idle(under({"store": False, **config.extra}, given))


def _settings(config: ModelConfig) -> dict[str, Any]:
    return {
        "max_output_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "reasoning": _reasoning(config) or None,
        "text": _text(config) or None,
        "tool_choice": _choice(config.tool_choice),
        "parallel_tool_calls": config.parallel_tool_calls,
        "service_tier": config.service_tier,
    }


def _reasoning(config: ModelConfig) -> Item:
    wanted: Item = {}
    if config.reasoning_effort is not None:
        wanted["effort"] = config.reasoning_effort
    if config.reasoning_summary not in {None, "none"}:
        wanted["summary"] = config.reasoning_summary
    return wanted


def _text(config: ModelConfig) -> Item:
    wanted: Item = {}
    if config.response_format is not None:
        wanted["format"] = _format(config.response_format)
    if config.verbosity is not None:
        wanted["verbosity"] = config.verbosity
    return wanted


def _format(wanted: ResponseFormat) -> Item:
    match wanted:
        case JsonObjectFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat(name=name, schema=schema, strict=strict):
            return {"type": "json_schema", "name": name, "schema": schema, "strict": strict}


def _choice(choice: str | NamedTool | None) -> Any:
    return {"type": "function", "name": choice.name} if isinstance(choice, NamedTool) else choice


def _tool(tool: ToolDefinition) -> Item:
    described = {"description": tool.description} if tool.description else {}
    # Strict is the default here, and would refuse most schemas.
    schema = {"parameters": tool.parameters, "strict": False}
    return {"type": "function", "name": tool.name, **described, **schema}


def _items(message: ChatMessage) -> list[Item]:
    match message.role:
        case "assistant":
            return _said(message)
        case "tool":
            result = {"call_id": message.tool_call_id or "", "output": _content(message)}
            return [{"type": "function_call_output", **result}]
        case role:
            return [{"type": "message", "role": role, "content": _content(message)}]


def _said(message: ChatMessage) -> list[Item]:
    """Write an assistant's turn: its text and calls, with the kept items back in their places."""
    items: list[Item] = []
    phase: Item = {}
    for piece in replayed(message, "openai_responses"):
        match piece:
            case str():
                content = [{"type": "output_text", "text": piece}]
                items.append({"type": "message", "role": "assistant", "content": content, **phase})
            case ToolCall():
                items.append(_call(piece))
            case ProviderBlock(raw=raw) if PHASE in raw and "type" not in raw:
                phase = raw
            case ProviderBlock(raw=raw):
                items.append(raw)
    return items


def _call(call: ToolCall) -> Item:
    return {
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _content(message: ChatMessage) -> str | list[Item]:
    if isinstance(message.content, str):
        return message.content
    return [_part(part) for part in message.content]


def _part(part: ContentPart) -> Item:
    match part:
        case TextPart(text=text):
            return {"type": "input_text", "text": text}
        case ImageUrl(url=url, detail=detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case ImageData(media_type=kind, data=data, detail=detail):
            url = f"data:{kind};base64,{data}"
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
