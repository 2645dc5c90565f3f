"""The body of a Messages request.

System messages go to the top, wherever they stood. Results of tools are part of a user's turn, and
turns of one side that follow each other become one. Which settings a model takes is decided before
(``schemas.capabilities``); how it is told to think depends on the model.
"""

from collections.abc import Iterable
from typing import Any

from actors.streaming.core.writing.turns import arguments, merged, replayed, under
from schemas.capabilities.anthropic import ADAPTIVE, BUDGETED, GRADED, thinks
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
from schemas.refusals import output_limit

USUAL_LIMIT = 32_000
"""The length of an answer, in tokens, where the request does not say; the format demands one."""

_BUDGETS = {"low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 30_000}
_LEAST_BUDGET = 1_024

Block = dict[str, Any]


def body(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one streaming call."""
    config, model = request.config, request.provider.model
    limit = _limit(config, model)
    written: dict[str, Any] = {
        "model": model,
        "max_tokens": limit,
        "messages": _turns(request.messages),
        "stream": True,
        "system": _system(request.messages) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(config) if request.tools else None,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "stop_sequences": config.stop_sequences or None,
        "thinking": _thinking(config, model, limit),
        "output_config": _output(config, model) or None,
        "service_tier": config.service_tier,
        "cache_control": _cached(config.cache) if config.cache else None,
    }
    return under(
        config.extra, {name: value for name, value in written.items() if value is not None}
    )


# Settings


def _limit(config: ModelConfig, model: str) -> int:
    if config.max_tokens is not None:
        return config.max_tokens
    most = output_limit(model) or USUAL_LIMIT
    return min(most, USUAL_LIMIT + (config.reasoning_budget or 0))


def _thinking(config: ModelConfig, model: str, limit: int) -> Block | None:
    if config.reasoning_effort == "none" or config.reasoning_budget == 0:
        return {"type": "disabled"}
    if not thinks(config):
        return None
    display = _display(config)
    if config.reasoning_budget or (BUDGETED.search(model) and not ADAPTIVE.search(model)):
        budget = config.reasoning_budget or _BUDGETS[config.reasoning_effort or "low"]
        return {"type": "enabled", "budget_tokens": _within(budget, limit), **display}
    return {"type": "adaptive", **display}


def _within(budget: int, limit: int) -> int:
    """Leave room for the answer itself: the budget is part of its length."""
    return max(min(budget, limit - _LEAST_BUDGET), _LEAST_BUDGET)


def _display(config: ModelConfig) -> Block:
    if config.reasoning_summary is None:
        return {}
    return {"display": "omitted" if config.reasoning_summary == "none" else "summarized"}


def _output(config: ModelConfig, model: str) -> Block:
    output: Block = {}
    graded = GRADED.search(model) or not BUDGETED.search(model)
    if config.reasoning_effort not in {None, "none"} and graded:
        output["effort"] = config.reasoning_effort
    if isinstance(config.response_format, JsonSchemaFormat):
        output["format"] = {"type": "json_schema", "schema": config.response_format.schema}
    return output


def _choice(config: ModelConfig) -> Block | None:
    alone = {} if config.parallel_tool_calls is not False else {"disable_parallel_tool_use": True}
    match config.tool_choice:
        case NamedTool(name=name):
            return {"type": "tool", "name": name, **alone}
        case "required":
            return {"type": "any", **alone}
        case "none":
            return {"type": "none"}
        case "auto":
            return {"type": "auto", **alone}
        case None:
            return {"type": "auto", **alone} if alone else None


def _cached(time: CacheTime) -> Block:
    # Five minutes are the default, and older servers know no other time.
    return {"type": "ephemeral"} | ({"ttl": time} if time != "5m" else {})


def _tool(tool: ToolDefinition) -> Block:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": tool.parameters}


# Messages


def _system(messages: Iterable[ChatMessage]) -> list[Block]:
    return [
        block
        for message in messages
        if message.role == "system"
        for block in _marked(_text(message.text), message.cache)
    ]


def _turns(messages: Iterable[ChatMessage]) -> list[Block]:
    spoken = [message for message in messages if message.role != "system"]
    turns = merged((_side(message), _blocks(message)) for message in spoken)
    return [{"role": role, "content": content} for role, content in turns]


def _side(message: ChatMessage) -> str:
    return "assistant" if message.role == "assistant" else "user"


def _blocks(message: ChatMessage) -> list[Block]:
    match message.role:
        case "assistant":
            return _marked(_said(message), message.cache)
        case "tool":
            return _marked([_result(message)], message.cache)
        case _:
            return _marked([one for part in message.parts for one in _part(part)], message.cache)


def _marked(blocks: list[Block], cache: CacheTime | None) -> list[Block]:
    """Mark the end of what is to be cached; thinking cannot carry a mark."""
    if cache and blocks and blocks[-1]["type"] not in {"thinking", "redacted_thinking"}:
        return [*blocks[:-1], {**blocks[-1], "cache_control": _cached(cache)}]
    return blocks


def _said(message: ChatMessage) -> list[Block]:
    """Write an assistant's turn: its text and calls, with the kept blocks back in their places."""
    blocks: list[Block] = []
    for piece in replayed(message, "anthropic"):
        match piece:
            case str():
                blocks += _text(piece)
            case ToolCall():
                blocks.append(_call(piece))
            case ProviderBlock(raw=raw):
                blocks.append(raw)
    return blocks


def _text(text: str) -> list[Block]:
    """Write a text; an empty one would be refused."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _part(part: ContentPart) -> list[Block]:
    match part:
        case TextPart(text=text):
            return _text(text)
        case ImageUrl(url=url):
            return [{"type": "image", "source": {"type": "url", "url": url}}]
        case ImageData(media_type=kind, data=data):
            source = {"type": "base64", "media_type": kind, "data": data}
            return [{"type": "image", "source": source}]


def _result(message: ChatMessage) -> Block:
    content = [one for part in message.parts for one in _part(part)]
    failed = {"is_error": True} if message.is_error else {}
    identified = {"type": "tool_result", "tool_use_id": message.tool_call_id or ""}
    return identified | ({"content": content} if content else {}) | failed


def _call(call: ToolCall) -> Block:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments(call)}
