"""The body of a ``streamGenerateContent`` request, the same for the Gemini API and Vertex AI.

Which settings a model takes is decided before (``schemas.capabilities``).
"""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from actors.streaming.core.writing.turns import (
    arguments,
    merged,
    replayed,
    system_text,
    under,
    with_tool_names,
)
from schemas import bounds
from schemas.llm import (
    ChatMessage,
    ContentPart,
    Effort,
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

_ROLES = {"assistant": "model", "user": "user", "tool": "user"}

_GRADED = re.compile(r"gemini-(?:[3-9]|\d\d)")
"""Models that know levels of thinking; those before count its tokens."""

_LEVELS: dict[Effort, str] = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
"""In tokens, as Google's own OpenAI-compatible interface translates the efforts."""

_NOT_SIGNED_HERE = "skip_thought_signature_validator"
"""What Google's guide on thought signatures wants in the place of one that there never was."""

_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}

_MADE_UP_ID = re.compile(r"call_\d+")
"""What a call without an id is named by; Gemini does not know those."""

_KINDS = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "gif": "gif", "webp": "webp"}


def body(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one streaming call."""
    config = request.config
    system = system_text(request.messages)
    turns = (
        (_ROLES[one.role], _parts(one, tool))
        for one, tool in with_tool_names(request.messages)
        if one.role in _ROLES
    )
    written: dict[str, Any] = {
        "contents": [
            {"role": role, "parts": _vouched(parts, request.provider.model)}
            for role, parts in merged(turns)
        ],
        "systemInstruction": {"parts": [{"text": system}]} if system else None,
        "tools": [{"functionDeclarations": [*map(_tool, request.tools)]}]
        if request.tools
        else None,
        "toolConfig": _choice(config.tool_choice) if request.tools else None,
        "generationConfig": _generation(request.provider.model, config),
        "serviceTier": config.service_tier,
    }
    return under(config.extra, {name: value for name, value in written.items() if value})


def _generation(model: str, config: ModelConfig) -> dict[str, Any]:
    values: dict[str, Any] = {
        "temperature": config.temperature,
        "topP": config.top_p,
        "topK": config.top_k,
        "maxOutputTokens": config.max_tokens,
        "stopSequences": config.stop_sequences or None,
        "seed": config.seed,
        "frequencyPenalty": config.frequency_penalty,
        "presencePenalty": config.presence_penalty,
        "thinkingConfig": _thinking(model, config) or None,
    }
    if config.response_format is not None:
        values["responseMimeType"] = "application/json"
    if isinstance(config.response_format, JsonSchemaFormat):
        values["responseJsonSchema"] = config.response_format.schema
    return {name: value for name, value in values.items() if value is not None}


def _thinking(model: str, config: ModelConfig) -> dict[str, Any]:
    """Write how much to think, by level or by budget (never both), and whether to tell."""
    written: dict[str, Any] = {}
    if config.reasoning_budget is not None:
        written["thinkingBudget"] = config.reasoning_budget
    elif config.reasoning_effort is not None and _GRADED.search(model):
        written["thinkingLevel"] = _LEVELS[config.reasoning_effort]
    elif config.reasoning_effort is not None:
        written["thinkingBudget"] = _BUDGETS[config.reasoning_effort]
    if config.reasoning_summary is not None:
        written["includeThoughts"] = config.reasoning_summary != "none"
    return written


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    written = {"name": tool.name, "parametersJsonSchema": tool.parameters}
    return {**written, "description": tool.description} if tool.description else written


def _choice(choice: str | NamedTool | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, NamedTool):
        mode: dict[str, Any] = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    else:
        mode = {"mode": _MODES[choice]}
    return {"functionCallingConfig": mode}


def _parts(message: ChatMessage, tool: str) -> list[dict[str, Any]]:
    match message.role:
        case "assistant":
            return _replayed(message)
        case "tool":
            images = [_part(part) for part in message.parts if not isinstance(part, TextPart)]
            return [{"functionResponse": _response(message, tool)}, *images]
        case _:
            return [_part(part) for part in message.parts]


def _replayed(message: ChatMessage) -> list[dict[str, Any]]:
    """Write a turn with the signatures on the parts that brought them."""
    parts: list[dict[str, Any]] = []
    signature: dict[str, Any] = {}
    for piece in replayed(message, "gemini", _text_within):
        match piece:
            case str():
                parts.append({"text": piece})
            case ToolCall():
                parts.append({"functionCall": _call(piece), **signature})
                signature = {}
            case ProviderBlock(raw=raw) if "functionCall" in raw:
                signature = {"thoughtSignature": raw["thoughtSignature"]}
            case ProviderBlock(raw=raw):
                parts.append(raw)
    return parts


def _vouched(parts: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    """Sign the first call of a turn that another model has made, where unsigned ones are refused.

    Parallel calls have one signature between them, on the first.
    """
    calls = [part for part in parts if "functionCall" in part]
    if not calls or not _GRADED.search(model) or any("thoughtSignature" in one for one in calls):
        return parts
    signed = {**calls[0], "thoughtSignature": _NOT_SIGNED_HERE}
    return [signed if part is calls[0] else part for part in parts]


def _text_within(block: ProviderBlock) -> int:
    return 0 if block.raw.get("thought") else len(block.raw.get("text", ""))


def _call(call: ToolCall) -> dict[str, Any]:
    return {"name": call.name, "args": arguments(call), **_id(call.id)}


def _response(message: ChatMessage, tool: str) -> dict[str, Any]:
    """Write a tool's result, which must be an object."""
    try:
        result = bounds.decode(message.text)
    except (msgspec.DecodeError, RecursionError):
        result = message.text
    if message.is_error:
        result = {"error": result}
    elif not isinstance(result, dict):
        result = {"result": result}
    return {"name": tool, "response": result, **_id(message.tool_call_id or "")}


def _id(call_id: str) -> dict[str, str]:
    return {} if not call_id or _MADE_UP_ID.fullmatch(call_id) else {"id": call_id}


def _part(part: ContentPart) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"text": text}
        case ImageData(media_type=kind, data=data):
            return {"inlineData": {"mimeType": kind, "data": data}}
        case ImageUrl(url=url):
            ending = urlsplit(url).path.rpartition(".")[2].lower()
            kind = f"image/{_KINDS.get(ending, 'jpeg')}"
            return {"fileData": {"mimeType": kind, "fileUri": url}}
