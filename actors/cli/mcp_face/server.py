"""The requests of the protocol, answered from what sources offer.

Both eras are the SDK's: the handshake of 2025-11-25 and older, and the stateless 2026-07-28. What a
call does wrong is the result of the call, so that the model can mend it; an unknown name and a bus
that is away are errors of the protocol.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import anyio
import mcp_types as types
import msgspec
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from actors.cli.mcp_face import offers
from actors.cli.mcp_face.agents import Tell
from actors.cli.mcp_face.progress import Notice
from bus.errors import ProblemError, TransientError
from schemas.problems import Problem

CALLS_AT_ONCE = 64
CALL_SECONDS = 3600.0
"""A call that takes longer is ended."""

LIST_MS = 5000
"""So long a client need not ask again what tools there are."""

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


def server_of(
    sources: Sequence[Source],
    *,
    call_seconds: float = CALL_SECONDS,
    calls_at_once: int = CALLS_AT_ONCE,
) -> Server[Any]:
    """Return a server of the protocol that offers what the sources do."""
    face = _Face(sources, call_seconds, calls_at_once)
    return Server(
        "callboard",
        version=version("callboard"),
        instructions="Each tool is an agent: it is given a task and answers when it is done.",
        cache_hints={"tools/list": CacheHint(ttl_ms=LIST_MS, scope="private")},
        # None of our schemas asks for a header of its own, so no list is made to look for one.
        get_tool_input_schema=lambda _: None,
        on_list_tools=face.list_tools,
        on_call_tool=face.call_tool,
    )


class _Face:
    def __init__(self, sources: Sequence[Source], call_seconds: float, calls_at_once: int) -> None:
        self._sources = sources
        self._call_seconds = call_seconds
        self._free = calls_at_once

    async def list_tools(
        self, context: Context, wanted: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """Answer ``tools/list``: one source after another, in their pages."""
        del context
        place, _, cursor = ((wanted and wanted.cursor) or "0.").partition(".")
        if place not in map(str, range(len(self._sources))):
            raise MCPError(types.INVALID_PARAMS, "cursor: is no cursor of this list")
        try:
            tools, following = await self._sources[int(place)].page(cursor)
        except (ProblemError, TransientError) as error:
            raise _refusal(error) from None
        following = _cursor(int(place), following, len(self._sources))
        return types.ListToolsResult(tools=tools, next_cursor=following)

    async def call_tool(
        self, context: Context, wanted: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Answer ``tools/call``."""
        if not self._free:
            told = "as many calls as this server takes are running"
            return offers.failure(Problem(code="unavailable", message=told, retryable=True))

        async def tell(notice: Notice) -> None:
            await context.session.report_progress(notice.number, message=notice.message)

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
            raise _refusal(error) from None
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


def _cursor(place: int, following: str | None, sources: int) -> str | None:
    if following is not None:
        return f"{place}.{following}"
    return f"{place + 1}." if place + 1 < sources else None


def _refusal(error: ProblemError | TransientError) -> MCPError:
    """Return what the bus has refused as an error of the protocol. Its text names no subject."""
    if isinstance(error, TransientError):
        told = "the bus, or who answers on it, is away"
        problem = Problem(code="unavailable", message=told, retryable=True)
    else:
        problem = error.problem
    code = types.INVALID_PARAMS if problem.code == "validation" else types.INTERNAL_ERROR
    said = ProblemError(problem).said()
    return MCPError(code, f"{problem.code}: {said}", {"problem": msgspec.to_builtins(problem)})
