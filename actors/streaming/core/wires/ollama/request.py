"""The bodies of Ollama's two requests: a conversation for chat, one prompt for generate.

Sampling goes under ``options``. Ollama's own default for the length of the context cuts a long
prompt without a word, so a definition may set ``num_ctx``. What this server takes depends on its
models, which only it knows; which settings its API has is in ``schemas.capabilities``.
"""

from typing import Any

from actors.streaming.core.errors.faults import fault
from actors.streaming.core.writing.turns import arguments, system_text, under, with_tool_names
from schemas.llm import (
    ChatMessage,
    Effort,
    GenerateRequest,
    ImageData,
    ImageUrl,
    JsonObjectFormat,
    JsonSchemaFormat,
    ModelConfig,
    ResponseFormat,
    ToolDefinition,
)
from schemas.providers import Ollama

_GRADED = "gpt-oss"
"""The models that know levels of thinking; others think or do not."""

_LEVELS: dict[Effort, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def chat(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one call of /api/chat.

    Raises:
        ProviderFaultError: ``validation``, an image is elsewhere.
    """
    written = {
        **_settings(request),
        "messages": [_message(one, tool) for one, tool in with_tool_names(request.messages)],
    }
    if request.tools and request.config.tool_choice != "none":
        written["tools"] = [_tool(tool) for tool in request.tools]
    return under(request.config.extra, written)


def generate(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one call of /api/generate.

    Raises:
        ProviderFaultError: ``validation``, there is more than one prompt, or an image is elsewhere.
    """
    turns = [one for one in request.messages if one.role != "system"]
    if len(turns) != 1 or request.tools:
        message = "Ollama's generate takes one prompt: no conversation, and no tools."
        raise fault("validation", message, retryable=False)
    written = {**_settings(request), "prompt": turns[0].text}
    if system := system_text(request.messages):
        written["system"] = system
    if images := _images(turns[0]):
        written["images"] = images
    return under(request.config.extra, written)


def _settings(request: GenerateRequest) -> dict[str, Any]:
    config, provider = request.config, request.provider
    own = provider if isinstance(provider, Ollama) else Ollama(model=provider.model)
    values: dict[str, Any] = {
        "model": own.model,
        "stream": True,
        "format": config.response_format and _format(config.response_format),
        "think": _think(own.model, config),
        "keep_alive": own.keep_alive,
        "options": _options(config, own) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _options(config: ModelConfig, provider: Ollama) -> dict[str, Any]:
    values = {
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "num_predict": config.max_tokens,
        "num_ctx": provider.num_ctx,
        "stop": config.stop_sequences or None,
        "seed": config.seed,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
    }
    return {name: value for name, value in values.items() if value is not None}


def _think(model: str, config: ModelConfig) -> bool | str | None:
    effort = config.reasoning_effort
    if effort is None or effort == "none":
        return None if effort is None else False
    return _LEVELS[effort] if _GRADED in model else True


def _format(wanted: ResponseFormat) -> Any:
    match wanted:
        case JsonObjectFormat():
            return "json"
        case JsonSchemaFormat(schema=schema):
            return schema


def _message(message: ChatMessage, tool: str) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.text}
    if images := _images(message):
        written["images"] = images
    if tool:
        written["tool_name"] = tool
    if message.tool_calls:
        calls = [{"name": call.name, "arguments": arguments(call)} for call in message.tool_calls]
        written["tool_calls"] = [{"function": call} for call in calls]
    return written


def _images(message: ChatMessage) -> list[str]:
    if any(isinstance(part, ImageUrl) for part in message.parts):
        why = "Ollama takes images within the message only, not by their address."
        raise fault("validation", why, retryable=False)
    return [part.data for part in message.parts if isinstance(part, ImageData)]


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    function = {"name": tool.name, "parameters": tool.parameters}
    described = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": function | described}
