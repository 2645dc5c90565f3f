"""Who is told what nobody has asked for: that lists have changed, and what servers log."""

from typing import Any, get_args

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ToolsListChanged,
)

from schemas.streams import LogLevel
from schemas.tool_servers import ListedKind

MOST_LISTENING = 256

_EVENTS: dict[ListedKind, type[ToolsListChanged | ResourcesListChanged | PromptsListChanged]] = {
    "tools": ToolsListChanged,
    "resources": ResourcesListChanged,
    "prompts": PromptsListChanged,
}
_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


class ListChanges:
    """Tells those that listen. ``in_session``: there is one client, behind standard streams.

    Over HTTP each request stands by itself, so a client of the older revisions is told nothing, and
    a level that it has set holds for nothing.
    """

    def __init__(self, *, in_session: bool = False) -> None:
        self._bus = InMemorySubscriptionBus()
        self._in_session = in_session
        self._session: ServerSession | None = None
        self._least = 0
        self.listening = ListenHandler(self._bus, max_subscriptions=MOST_LISTENING)

    def heard(self, context: ServerRequestContext[Any, Any]) -> None:
        """Note that a client has asked something."""
        if self._in_session:
            self._session = context.session

    def log_from(self, level: types.LoggingLevel) -> None:
        """Have the client told of logs that are as severe, or more so."""
        self._least = _LEVELS.index(level) if self._in_session else 0

    def is_told(self, level: LogLevel) -> bool:
        """Whether the client wants a log of a level. What a revision demands comes on top."""
        return _LEVELS.index(level) >= self._least

    async def changed(self, kind: ListedKind) -> None:
        """Tell that a list is another than before."""
        await self._bus.publish(_EVENTS[kind]())
        match kind:
            case _ if self._session is None:
                return
            case "tools":
                await self._session.send_tool_list_changed()
            case "resources":
                await self._session.send_resource_list_changed()
            case "prompts":
                await self._session.send_prompt_list_changed()
