"""What tools have brought, as a model reads it: texts, images, what was left out. Pure.

Owners bound what they keep of a result; who asks a model puts the whole one into the conversation.
"""

from collections.abc import Iterable, Iterator

import msgspec

from schemas.llm import Answer, ChatMessage, ContentPart, ImageData, TextPart
from schemas.tools import ToolContent, ToolMedia, ToolResource, ToolResult, ToolText, Turn

_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def size_of(result: ToolResult) -> int:
    """Return how many bytes a result takes where it is kept, without what it refers to."""
    return len(msgspec.json.encode(result))


def bounded(result: ToolResult, most: int) -> ToolResult:
    """Return a result of not much more than ``most`` bytes: what is beyond is cut off and marked.

    A JSON value goes as a whole, since half of one is none, and so does what is no text.
    """
    size = size_of(result)
    if size <= most:
        return result
    left, content = most, list[ToolContent]()
    for part in result.content:
        taken = _within(part, left)
        if taken is not None:
            left -= len(msgspec.json.encode(taken))
            content.append(taken)
    return msgspec.structs.replace(
        result,
        content=content,
        structured=None,
        truncated=result.reference is None or result.truncated,
        bytes=result.bytes or size,
    )


def beginning(result: ToolResult, most: int) -> tuple[str, bool]:
    """Return the first ``most`` characters of a result's text, and whether that is not all."""
    text = text_of(result)
    return text[:most], result.truncated or result.reference is not None or len(text) > most


def text_of(result: ToolResult) -> str:
    """Return what a result says, without images."""
    return "".join(part.text for part in _parts(result) if isinstance(part, TextPart))


def message_of(turn: Turn) -> ChatMessage:
    """Return a turn as a message: that of a tool with what it has brought."""
    if turn.result is None:
        return turn.message
    parts = list(_parts(turn.result))
    if all(isinstance(part, TextPart) for part in parts):
        content: str | list[ContentPart] = text_of(turn.result)
    else:
        content = parts
    return msgspec.structs.replace(turn.message, content=content, is_error=turn.result.is_error)


def said(answer: Answer) -> ChatMessage:
    """Return an answer as a message of the conversation."""
    return ChatMessage(
        role="assistant",
        content=answer.text,
        tool_calls=answer.tool_calls,
        blocks=answer.blocks,
    )


def messages_of(turns: Iterable[Turn]) -> list[ChatMessage]:
    """Return turns as the messages of a conversation."""
    return [message_of(turn) for turn in turns]


def _within(part: ToolContent, left: int) -> ToolContent | None:
    """Return a part, or the beginning of its text, within so many bytes; None where nothing is."""
    size = len(msgspec.json.encode(part))
    if size <= left:
        return part
    if isinstance(part, ToolMedia):
        return None
    # A character is written in at most six bytes, and what is cut must end with a whole one.
    room = left - (size - len(msgspec.json.encode(part.text)))
    text = cut(part.text, room)
    return msgspec.structs.replace(part, text=text) if text else None


def cut(text: str, room: int) -> str:
    """Return the longest beginning of a text that takes so many bytes as JSON."""
    low, high = 0, max(min(len(text), room), 0)
    while low < high:
        middle = (low + high + 1) // 2
        if len(msgspec.json.encode(text[:middle])) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _parts(result: ToolResult) -> Iterator[ContentPart]:
    known = [part for one in result.content for part in _part(one)]
    if not known and result.structured is not None:
        known = [TextPart(text=msgspec.json.encode(result.structured).decode())]
    yield from known
    if result.truncated:
        yield TextPart(text=f"\n[cut off: the whole result has {result.bytes:,} bytes]")


def _part(part: ToolContent) -> Iterator[ContentPart]:
    match part:
        case ToolText(text=text):
            yield TextPart(text=text)
        case ToolMedia(media_type=kind, data=data) if kind in _IMAGES and data:
            yield ImageData(media_type=kind, data=data)
        case ToolMedia(media_type=kind):
            yield TextPart(text=f"[{kind}, which cannot be shown here]")
        case ToolResource(uri=uri, text=text) if text:
            yield TextPart(text=f"{uri}:\n{text}")
        case ToolResource(uri=uri, media_type=kind):
            yield TextPart(text=f"[{uri} {kind}]")
