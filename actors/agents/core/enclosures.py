"""What a request encloses beside plain text, as far as its price must be bounded. Pure.

Text is bounded by its bytes. An image is bounded by the largest that any provider counts. What a
provider's own block refers to elsewhere, or holds in another kind than text, has no bound: under a
hard budget such a block is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from schemas.llm import ChatMessage, ImageData, ImageUrl, ProviderBlock, Wire
from schemas.problems import Problem

IMAGE_TOKENS = 50_000
"""What an image is at most; the largest known takes 48,000. Its bytes say nothing of that."""


def image_tokens(messages: Sequence[ChatMessage]) -> int:
    """Return what the images of a conversation are at most, beside their bytes."""
    return IMAGE_TOKENS * sum(
        isinstance(part, ImageUrl | ImageData) for message in messages for part in message.parts
    )


def keeps(messages: Sequence[ChatMessage], extra: Mapping[str, Any]) -> bool:
    """Say whether a cache may be written because of what is said there."""
    if any(message.cache for message in messages) or b"cache" in msgspec.json.encode(extra):
        return True
    raws = [block.raw for message in messages for block in message.blocks]
    return bool(raws) and b"cache" in msgspec.json.encode(raws).lower()


# Blocks


def block_fault(messages: Sequence[ChatMessage]) -> Problem | None:
    """Return why a provider's own block cannot be sent under a hard budget, None if all can."""
    for place, message in enumerate(messages):
        for number, block in enumerate(message.blocks):
            name = _stranger(block)
            if name is not None:
                path = f"messages.{place}.blocks.{number}.raw.{name[:64]}"
                reason = "under a hard budget a block must hold text: this has no bounded price"
                return Problem(code="validation", message=reason, field=path)
    return None


def _stranger(block: ProviderBlock) -> str | None:
    """Return the name of what is no bounded text in a block; None where all is."""
    return _CHECKS[block.wire](block.raw)


def _unknown(*names: str) -> Callable[[Mapping[str, Any]], str | None]:
    """Make a check that finds the first member of another name."""
    known = frozenset(names)
    return lambda raw: next((name for name in raw if name not in known), None)


_ITEMS = frozenset(
    {
        "reasoning",
        "function_call",
        "custom_tool_call",
        "web_search_call",
        "compaction",
        "mcp_call",
        "mcp_list_tools",
    }
)
_SAID = frozenset({"output_text", "refusal"})
_BLOCKS = frozenset(
    {
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "server_tool_use",
        "web_search_tool_result",
        "compaction",
    }
)


def _item(raw: Mapping[str, Any]) -> str | None:
    """Check an item of Responses; one without a type tells the phase of a message."""
    kind = raw.get("type")
    if kind == "message":
        parts = raw.get("content")
        said = [parts] if not isinstance(parts, list) else cast("list[Any]", parts)
        return None if all(map(_is_said, said)) else "content"
    if kind is None:
        return next((name for name in raw if name != "phase"), None)
    return None if kind in _ITEMS else "type"


def _is_said(part: Any) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str) or part is None
    return cast("dict[str, Any]", part).get("type") in _SAID


def _block(raw: Mapping[str, Any]) -> str | None:
    if raw.get("type") not in _BLOCKS:
        return "type"
    return next((name for name in raw if name in {"source", "file", "file_id"}), None)


_CHECKS: Mapping[Wire, Callable[[Mapping[str, Any]], str | None]] = {
    "openai_chat": _unknown(
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking_blocks",
        "extra_content",
        "refusal",
        "annotations",
    ),
    "openai_responses": _item,
    "anthropic": _block,
    "converse": _unknown("reasoningContent", "text", "toolUse"),
    "gemini": _unknown(
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "executableCode",
        "codeExecutionResult",
    ),
    "ollama": _unknown("thinking", "tool_name"),
    "titan": _unknown(),
}
