"""What servers bring back, made into our own values within their bounds."""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from actors.mcp_pool.core.upstream import Completion, PromptMessage
from actors.mcp_pool.core.wire import MalformedFrameError
from schemas import bounds
from schemas.base import Value
from schemas.printable import printable
from schemas.tools import ToolContent, ToolMedia, ToolResource, ToolResult, ToolText

MAX_URI = 2048
MAX_MEDIA_TYPE = 127
MAX_VALUES = 100
MAX_VALUE = 1024


class HeldResource(Value):
    """What a resource holds: text, or bytes in base64."""

    uri: str = ""
    mime_type: str | None = msgspec.field(default=None, name="mimeType")
    text: str | None = None
    blob: str | None = None


class ContentBlock(Value):
    """A piece of content, of any kind; what a kind does not have is absent."""

    type: str
    text: str = ""
    data: str = ""
    uri: str = ""
    mime_type: str | None = msgspec.field(default=None, name="mimeType")
    resource: HeldResource | None = None


class CallAnswer(Value):
    """The result of ``tools/call``."""

    content: list[ContentBlock] = []
    structured: Any = msgspec.field(default=None, name="structuredContent")
    is_error: bool = msgspec.field(default=False, name="isError")


class ReadAnswer(Value):
    """The result of ``resources/read``."""

    contents: list[HeldResource] = []


class PromptTurn(Value):
    """A message in the result of ``prompts/get``."""

    role: str
    content: ContentBlock


class PromptAnswer(Value):
    """The result of ``prompts/get``."""

    messages: list[PromptTurn] = []


class CompletionValues(Value):
    """What ``completion/complete`` has found."""

    values: list[str] = []
    total: int | None = None
    has_more: bool | None = msgspec.field(default=None, name="hasMore")


class CompletionAnswer(Value):
    """The result of ``completion/complete``."""

    completion: CompletionValues


_call_answer: bounds.Decoder[CallAnswer] = bounds.Decoder(CallAnswer)
_MALFORMED = "the server's result is not what the protocol says"


class ResultRoom:
    """How many bytes may still be kept, and how many there were."""

    __slots__ = ("left", "total", "truncated")

    def __init__(self, most: int) -> None:
        self.left = most
        self.total = 0
        self.truncated = False

    def text(self, text: str) -> str:
        """Return what may be kept of a text, cut at a character's end."""
        size = len(text) if text.isascii() else len(text.encode())
        self.total += size
        if size <= self.left:
            self.left -= size
            return text
        kept = text.encode()[: self.left].decode("utf-8", "ignore")
        self.left, self.truncated = 0, True
        return kept

    def whole(self, size: int) -> bool:
        """Whether something may be kept that is worth nothing when cut."""
        self.total += size
        if size > self.left:
            self.truncated = True
            return False
        self.left -= size
        return True


def tool_result(raw: msgspec.Raw, most: int) -> ToolResult:
    """Read the result of ``tools/call``, of which ``most`` bytes are kept.

    Raises:
        MalformedFrameError: it is none.
    """
    try:
        answer = _call_answer.decode(raw)
    except msgspec.DecodeError:
        raise MalformedFrameError(_MALFORMED) from None
    budget = ResultRoom(most)
    content = list(_kept(answer.content, budget))
    structured = answer.structured
    if structured is not None and not budget.whole(len(msgspec.json.encode(structured))):
        structured = None
    return ToolResult(
        content=content,
        structured=structured,
        is_error=answer.is_error,
        truncated=budget.truncated,
        bytes=budget.total,
    )


def resource(raw: msgspec.Raw, most: int) -> list[ToolContent]:
    """Read the result of ``resources/read``. Raises as ``tool_result`` does."""
    budget = ResultRoom(most)
    found = _read(raw, ReadAnswer).contents
    return [content for each in found for content in _embedded(each, budget)]


def prompt(raw: msgspec.Raw, most: int) -> list[PromptMessage]:
    """Read the result of ``prompts/get``. Raises as ``tool_result`` does."""
    budget = ResultRoom(most)
    turns = _read(raw, PromptAnswer).messages
    return [
        PromptMessage(told_line(turn.role, 20), content)
        for turn in turns
        for content in _kept([turn.content], budget)
    ]


def completion(raw: msgspec.Raw) -> Completion:
    """Read the result of ``completion/complete``. Raises as ``tool_result`` does."""
    found = _read(raw, CompletionAnswer).completion
    values = [told_line(each, MAX_VALUE) for each in found.values[:MAX_VALUES]]
    more = bool(found.has_more) or len(found.values) > MAX_VALUES
    return Completion(values, found.total, more)


def told_line(text: str, most: int) -> str:
    """Return a server's word as one line that is safe to show."""
    return printable(text[:most], one_line=True)


def _read(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return bounds.decode(raw, type=kind)
    except msgspec.DecodeError:
        raise MalformedFrameError(_MALFORMED) from None


def _kept(blocks: Iterable[ContentBlock], budget: ResultRoom) -> Iterator[ToolContent]:
    for block in blocks:
        for content in _content(block, budget):
            # What is empty because nothing more may be kept is left out.
            if not (isinstance(content, ToolText) and not content.text and budget.truncated):
                yield content


def _content(block: ContentBlock, budget: ResultRoom) -> Iterator[ToolContent]:
    match block.type:
        case "text":
            yield ToolText(text=budget.text(block.text))
        case "image" | "audio":
            yield from _media(block.mime_type, block.data, budget)
        case "resource" if block.resource is not None:
            yield from _embedded(block.resource, budget)
        case "resource_link":
            yield from _link(block.uri, block.mime_type, budget)
        case _:
            kind = told_line(block.type, 40)
            yield ToolText(text=budget.text(f"[content of the kind {kind}, which is not read]"))


def _embedded(resource: HeldResource, budget: ResultRoom) -> Iterator[ToolContent]:
    for link in _link(resource.uri, resource.mime_type, budget):
        text = "" if resource.text is None else budget.text(resource.text)
        yield msgspec.structs.replace(link, text=text)
    if resource.blob:
        yield from _media(resource.mime_type, resource.blob, budget)


def _link(uri: str, media_type: str | None, budget: ResultRoom) -> Iterator[ToolResource]:
    if len(uri) > MAX_URI:
        budget.truncated = True
    elif budget.whole(len(uri.encode())):
        yield ToolResource(uri=printable(uri, one_line=True), media_type=_type(media_type, ""))


def _media(media_type: str | None, data: str, budget: ResultRoom) -> Iterator[ToolMedia]:
    if not _is_base64(data):
        raise MalformedFrameError("the server's result holds media that are not in base64")
    if budget.whole(len(data)):
        yield ToolMedia(media_type=_type(media_type, "application/octet-stream"), data=data)


def _type(media_type: str | None, otherwise: str) -> str:
    return told_line(media_type, MAX_MEDIA_TYPE) if media_type else otherwise


def _is_base64(data: str) -> bool:
    try:
        b64decode(data, validate=True)
    except ValueError:
        return False
    return True
