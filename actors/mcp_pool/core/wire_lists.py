"""What servers list, item by item: a bad item costs itself, a bad list costs the list.

Names and descriptions come from whoever wrote the server, and models and terminals read them: names
with control characters are refused, descriptions have them escaped, and sizes are bounded.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from actors.mcp_pool.core.upstream import (
    ListedPrompt,
    ListedResource,
    ListedTemplate,
    Listing,
    PromptArgument,
)
from actors.mcp_pool.core.wire import MalformedFrameError
from actors.mcp_pool.core.wire_content import MAX_MEDIA_TYPE, MAX_URI, told_line
from actors.mcp_pool.core.wire_headers import InvalidMarkError, Path, marks
from schemas import bounds
from schemas.base import Value
from schemas.printable import printable
from schemas.tools import ServerTool, ToolHints

T = TypeVar("T")

MAX_ITEMS = 5000
MAX_PAGES = 500
MAX_NAME = 128
MAX_TITLE = 200
MAX_DESCRIPTION = 16 * 1024
MAX_SCHEMA_BYTES = 256 * 1024
MAX_DROPPED = 100
MAX_TTL_SECONDS = 86400.0
MAX_CURSOR = 8192


class RefusedItemError(ValueError):
    """An item of a list is left out, for the reason given."""


class Page(Value):
    """A page of a list, of whatever kind."""

    items: list[msgspec.Raw]
    cursor: str | None
    ttl: float | None


class WireHints(Value):
    """The annotations of a tool; null and absent are the protocol's defaults."""

    read_only: bool | None = msgspec.field(default=None, name="readOnlyHint")
    destructive: bool | None = msgspec.field(default=None, name="destructiveHint")
    idempotent: bool | None = msgspec.field(default=None, name="idempotentHint")
    open_world: bool | None = msgspec.field(default=None, name="openWorldHint")


class WireTool(Value):
    """A tool on the wire."""

    name: str
    title: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = msgspec.field(default=None, name="inputSchema")
    output: dict[str, Any] | None = msgspec.field(default=None, name="outputSchema")
    hints: WireHints | None = msgspec.field(default=None, name="annotations")


class WireResource(Value):
    """A resource on the wire."""

    uri: str
    name: str = ""
    description: str | None = None
    media_type: str | None = msgspec.field(default=None, name="mimeType")


class WireTemplate(Value):
    """A template of resources on the wire."""

    template: str = msgspec.field(name="uriTemplate")
    name: str = ""
    description: str | None = None
    media_type: str | None = msgspec.field(default=None, name="mimeType")


class WireArgument(Value):
    """What a prompt wants to be told, on the wire."""

    name: str
    description: str | None = None
    required: bool | None = None


class WirePrompt(Value):
    """A prompt on the wire."""

    name: str
    description: str | None = None
    arguments: list[WireArgument] | None = None


class ReadTool(NamedTuple):
    """A tool and which of its arguments are repeated in headers."""

    tool: ServerTool
    marks: dict[Path, str]


def page(raw: msgspec.Raw, kind: str) -> Page:
    """Read a page of a list of tools, resources or prompts.

    Raises:
        MalformedFrameError: it is none.
    """
    try:
        found = bounds.decode(raw, type=dict[str, msgspec.Raw])
        return Page(
            items=bounds.decode(found[kind], type=list[msgspec.Raw]),
            cursor=bounds.decode(found.get("nextCursor", b"null"), type=str | None),
            ttl=_seconds(bounds.decode(found.get("ttlMs", b"null"))),
        )
    except (msgspec.DecodeError, KeyError):
        raise MalformedFrameError(f"the server's list of {kind} is none") from None


class Pages:
    """Puts the pages of a list together; the shortest time that one may be kept counts.

    ``read`` makes an item's value, and raises ``RefusedItemError`` for one that is left out.
    """

    def __init__(self, kind: str, read: Callable[[msgspec.Raw], tuple[str, Any]]) -> None:
        self._kind = kind
        self._read = read
        self._items: dict[str, Any] = {}
        self._dropped: list[str] = []
        self._cursors: set[str] = set()
        self._ttl: float | None = None

    def add(self, raw: msgspec.Raw) -> str | None:
        """Add a page; return the cursor of the next one, None after the last.

        Raises:
            MalformedFrameError: it is none, or the list has no end.
        """
        found = page(raw, self._kind)
        if found.ttl is not None:
            self._ttl = found.ttl if self._ttl is None else min(self._ttl, found.ttl)
        for item in found.items:
            self._take(item)
        if found.cursor is None:
            return None
        cursor = found.cursor
        if cursor in self._cursors or len(cursor) > MAX_CURSOR or len(self._cursors) >= MAX_PAGES:
            raise MalformedFrameError(f"the server's list of {self._kind} has no end")
        self._cursors.add(cursor)
        return cursor

    def listing(self, value: Callable[[Any], T]) -> Listing[T]:
        """Return the whole list. Its digest is that of all that was kept."""
        items = [value(each) for each in self._items.values()]
        digest = sha256(msgspec.json.encode(items)).hexdigest()
        return Listing(items, self._ttl, digest, tuple(self._dropped))

    @property
    def values(self) -> Iterable[Any]:
        """What was kept, as ``read`` has made it."""
        return self._items.values()

    def _take(self, raw: msgspec.Raw) -> None:
        try:
            name, value = self._read(raw)
        except RefusedItemError as refused:
            self._drop(str(refused))
            return
        if name in self._items:
            self._drop(f"{name}: its name is taken")
            return
        if len(self._items) >= MAX_ITEMS:
            raise MalformedFrameError(f"the server lists over {MAX_ITEMS} {self._kind}")
        self._items[name] = value

    def _drop(self, reason: str) -> None:
        if len(self._dropped) < MAX_DROPPED:
            self._dropped.append(reason)


def tool(server: str, raw: msgspec.Raw, *, marked: bool) -> tuple[str, ReadTool]:
    """Read a tool. ``marked``: the revision knows marks in schemas, and refuses wrong ones.

    Raises:
        RefusedItemError: it cannot be offered, for the reason given.
    """
    found = _item(raw, WireTool)
    name = _name(found.name)
    if len(raw) > MAX_SCHEMA_BYTES:
        raise RefusedItemError(f"{name}: its schemas exceed {MAX_SCHEMA_BYTES} bytes")
    read = ServerTool(
        server=server,
        tool=name,
        description=description(found.description),
        parameters=found.parameters or {"type": "object"},
        output=found.output,
        title=told_line(found.title or "", MAX_TITLE),
        hints=_hints(found.hints or WireHints()),
    )
    try:
        return name, ReadTool(read, marks(read.parameters) if marked else {})
    except InvalidMarkError as error:
        raise RefusedItemError(f"{name}: {error}") from None


def resource(raw: msgspec.Raw) -> tuple[str, ListedResource]:
    """Read a resource. Raises as ``tool`` does."""
    found = _item(raw, WireResource)
    return found.uri, ListedResource(_uri(found.uri), *_about(found))


def template(raw: msgspec.Raw) -> tuple[str, ListedTemplate]:
    """Read a template of resources. Raises as ``tool`` does."""
    found = _item(raw, WireTemplate)
    return found.template, ListedTemplate(_uri(found.template), *_about(found))


def prompt(raw: msgspec.Raw) -> tuple[str, ListedPrompt]:
    """Read a prompt. Raises as ``tool`` does."""
    found = _item(raw, WirePrompt)
    arguments = tuple(
        PromptArgument(_name(each.name), description(each.description), bool(each.required))
        for each in cast("list[WireArgument]", found.arguments or [])
    )
    return found.name, ListedPrompt(_name(found.name), description(found.description), arguments)


def description(text: str | None) -> str:
    """Return a description as it may be shown to models and people."""
    return printable((text or "")[:MAX_DESCRIPTION])


def _item(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return bounds.decode(raw, type=kind)
    except msgspec.DecodeError:
        raise RefusedItemError("an item is not what the protocol says") from None


def _name(name: str) -> str:
    if not 0 < len(name) <= MAX_NAME or name != printable(name, one_line=True) or name.isspace():
        raise RefusedItemError(f"{told_line(name, MAX_NAME)}: a name may not be so")
    return name


def _uri(uri: str) -> str:
    if not 0 < len(uri) <= MAX_URI or uri != printable(uri, one_line=True):
        raise RefusedItemError(f"{told_line(uri, MAX_NAME)}: a URI may not be so")
    return uri


def _about(found: WireResource | WireTemplate) -> tuple[str, str, str]:
    """Return name, description and media type of resources."""
    media_type = told_line(found.media_type or "", MAX_MEDIA_TYPE)
    return told_line(found.name, MAX_TITLE), description(found.description), media_type


def _hints(found: WireHints) -> ToolHints:
    usual = ToolHints()
    return ToolHints(
        read_only=bool(found.read_only),
        destructive=usual.destructive if found.destructive is None else found.destructive,
        idempotent=bool(found.idempotent),
        open_world=usual.open_world if found.open_world is None else found.open_world,
    )


def _seconds(milliseconds: Any) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return min(max(milliseconds, 0) / 1000, MAX_TTL_SECONDS)
