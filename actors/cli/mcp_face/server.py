"""The requests of the protocol, answered from what sources offer.

Both eras are the SDK's: the handshake of 2025-11-25 and older, and the stateless 2026-07-28. What a
call does wrong is the result of the call, so that the model can mend it; an unknown name and a bus
that is away are errors of the protocol.
"""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol

import anyio
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from actors.cli.mcp_face import offers
from actors.cli.mcp_face.changes import ListChanges
from actors.cli.mcp_face.progress import Notice
from actors.cli.mcp_face.running import Tell
from actors.cli.mcp_face.shelves import Library, Shelves, refusal
from bus.errors import ProblemError, TransientError
from schemas.problems import Problem
from schemas.streams import LogLevel

CALLS_AT_ONCE = 64
CALL_SECONDS = 3600.0
"""A call that takes longer is ended."""

LIST_MS = 5000
"""So long a client need not ask again what there is."""

INSTRUCTIONS = (
    "A tool with two underscores in its name is that of an MCP server; each other one is an agent: "
    "it is given a task and answers when it is done."
)

_LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")

Context = ServerRequestContext[Any, Any]


class Source(Protocol):
    """Offers tools under names that no other source has."""

    async def page(self, cursor: str) -> tuple[list[types.Tool], str | None]:
        """Return a page of tools and the cursor of the next; "" is the first's.

        Raises:
            ProblemError: ``validation``: the cursor is unknown; or as the bus refuses.
            TransientError: what it offers cannot be known now.
        """
        ...

    async def call(
        self, name: str, arguments: dict[str, Any], tell: Tell
    ) -> types.CallToolResult | None:
        """Call a tool and tell its progress; None if there is none of this name.

        Raises:
            ProblemError: the call is refused.
            TransientError: the bus was away for too long.
        """
        ...


class FaceLimits(NamedTuple):
    """How long a call may take, and how many may run at once."""

    call_seconds: float = CALL_SECONDS
    calls_at_once: int = CALLS_AT_ONCE


def server_of(
    sources: Sequence[Source],
    library: Library | None = None,
    *,
    limits: FaceLimits = FaceLimits(),  # noqa: B008  immutable
    changes: ListChanges | None = None,
) -> Server[Any]:
    """Return a server of the protocol that offers what the sources and the library do.

    With ``changes`` clients that listen are told that tools have changed.
    """
    face = _Face(sources, limits, changes or ListChanges())
    server = Server[Any](
        "callboard",
        version=version("callboard"),
        instructions=INSTRUCTIONS,
        cache_hints=dict.fromkeys(_LISTS, CacheHint(ttl_ms=LIST_MS, scope="private")),
        # None of our schemas asks for a header of its own, so no list is made to look for one.
        get_tool_input_schema=lambda _: None,
        on_list_tools=face.list_tools,
        on_call_tool=face.call_tool,
        on_subscriptions_listen=changes.listening if changes is not None else None,
    )
    # Not by its argument, which warns that logging is deprecated: older clients still ask for it.
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, face.set_level)
    if library is not None:
        shelves = Shelves(library)
        for method, kind, handler in shelves.handlers():
            server.add_request_handler(method, kind, handler)
    return server


class _Face:
    def __init__(self, sources: Sequence[Source], limits: FaceLimits, changes: ListChanges) -> None:
        self._sources = sources
        self._call_seconds = limits.call_seconds
        self._free = limits.calls_at_once
        self._changes = changes

    async def set_level(
        self, context: Context, wanted: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        """Answer ``logging/setLevel``; where there are no sessions, it holds for nothing."""
        self._changes.heard(context)
        self._changes.log_from(wanted.level)
        return types.EmptyResult()

    async def list_tools(
        self, context: Context, wanted: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """Answer ``tools/list``: one source after another, in their pages."""
        self._changes.heard(context)
        place, _, cursor = ((wanted and wanted.cursor) or "0.").partition(".")
        if place not in map(str, range(len(self._sources))):
            raise MCPError(types.INVALID_PARAMS, "cursor: is no cursor of this list")
        try:
            tools, following = await self._sources[int(place)].page(cursor)
        except (ProblemError, TransientError) as error:
            raise refusal(error) from None
        following = _cursor(int(place), following, len(self._sources))
        return types.ListToolsResult(tools=tools, next_cursor=following)

    async def call_tool(
        self, context: Context, wanted: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Answer ``tools/call``."""
        self._changes.heard(context)
        if not self._free:
            told = "as many calls as this server takes are running"
            return offers.failure(Problem(code="unavailable", message=told, retryable=True))

        async def tell(notice: Notice) -> None:
            number, message, level = notice
            if level is None:
                await context.session.report_progress(number, message=message)
            elif self._changes.is_told(level):
                await _log(context, level, message)

        self._free -= 1
        try:
            with anyio.fail_after(self._call_seconds):
                return await self._called(wanted.name, wanted.arguments or {}, tell)
        except TimeoutError:
            told = f"not done after {self._call_seconds:g} s, so it was ended"
            return offers.failure(Problem(code="timeout", message=told))
        except ProblemError as error:
            return offers.failure(error.problem)
        except TransientError as error:
            raise refusal(error) from None
        finally:
            self._free += 1

    async def _called(
        self, name: str, arguments: dict[str, Any], tell: Tell
    ) -> types.CallToolResult:
        for source in self._sources:
            result = await source.call(name, arguments, tell)
            if result is not None:
                return result
        raise MCPError(types.INVALID_PARAMS, "there is no tool of this name")


async def _log(context: Context, level: LogLevel, message: str) -> None:
    # The SDK warns of each log that it is deprecated; older clients still want them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        send = context.session.send_log_message  # pyright: ignore[reportDeprecated]  as above
        sending = send(level, message, related_request_id=context.request_id)
    await sending


def _cursor(place: int, following: str | None, sources: int) -> str | None:
    if following is not None:
        return f"{place}.{following}"
    return f"{place + 1}." if place + 1 < sources else None
