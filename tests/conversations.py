"""A conversation with everything in it that a request body can say."""

from typing import Any

from schemas.llm import (
    ChatMessage,
    GenerateRequest,
    ImageData,
    JsonSchemaFormat,
    ModelConfig,
    ProviderBlock,
    TextPart,
    ToolCall,
    ToolDefinition,
    Wire,
)
from schemas.providers import Provider

PIXEL = "iVBORw0KGgo="
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = ToolDefinition(name="weather", description="The weather.", parameters=SCHEMA)
TIME = ToolDefinition(name="time")
CALLS = [
    ToolCall(id="t1", name="weather", arguments='{"city":"Rome"}'),
    ToolCall(id="t2", name="time", arguments=""),
]
FULL = ModelConfig(
    temperature=0.5,
    top_p=0.9,
    max_tokens=100,
    stop_sequences=["|"],
    response_format=JsonSchemaFormat(schema=SCHEMA, name="place"),
)


def asked(provider: Provider, config: ModelConfig | None = None, **more: Any) -> GenerateRequest:
    """Ask for one answer to a word."""
    fields: dict[str, Any] = {"messages": [ChatMessage(role="user", content="Hello")], **more}
    return GenerateRequest(provider=provider, config=config or ModelConfig(), **fields)


def conversation(wire: Wire, *raw: dict[str, Any]) -> list[ChatMessage]:
    """Build two turns with an image, parallel calls, their results and kept blocks at the start."""
    blocks = [ProviderBlock(wire=wire, raw=each) for each in raw]
    other = ProviderBlock(wire="openai_responses", raw={"type": "reasoning"})
    return [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(
            role="user",
            content=[TextPart(text="Where?"), ImageData(media_type="image/png", data=PIXEL)],
        ),
        ChatMessage(
            role="assistant", content="Let me see.", tool_calls=CALLS, blocks=[other, *blocks]
        ),
        ChatMessage(role="tool", content='{"sun":true}', tool_call_id="t1"),
        ChatMessage(role="tool", content="no clock", tool_call_id="t2", is_error=True),
        ChatMessage(role="user", content="And now?"),
    ]
