"""The requests about resources, prompts and completion, answered from a library."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from bus.errors import ProblemError, TransientError
from schemas.ids import whole
from schemas.problems import Problem

PAGE = 100

T = TypeVar("T")
Context = ServerRequestContext[Any, Any]
Handler = tuple[str, type[BaseModel], Callable[[Context, Any], Awaitable[Any]]]
Contents = list[types.TextResourceContents | types.BlobResourceContents]


class Library(Protocol):
    """Offers resources and prompts; None stands for no such thing.

    Every method raises ``ProblemError`` where the bus refuses, and ``TransientError`` where it is
    away.
    """

    async def resources(self) -> list[types.Resource]:
        """Return all resources."""
        ...

    async def templates(self) -> list[types.ResourceTemplate]:
        """Return all templates of resources."""
        ...

    async def read(self, uri: str) -> Contents | None:
        """Return what a resource holds."""
        ...

    async def prompts(self) -> list[types.Prompt]:
        """Return all prompts."""
        ...

    async def prompt(self, name: str, arguments: dict[str, str]) -> types.GetPromptResult | None:
        """Return a prompt with its values in it."""
        ...

    async def complete(self, wanted: types.CompleteRequestParams) -> types.Completion | None:
        """Return values that an argument may have."""
        ...


class Shelves:
    """Answers requests about a library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def handlers(self) -> list[Handler]:
        """Return the methods of the protocol, their parameters, and who answers them."""
        return [
            ("resources/list", types.PaginatedRequestParams, self._resources),
            ("resources/templates/list", types.PaginatedRequestParams, self._templates),
            ("resources/read", types.ReadResourceRequestParams, self._read),
            ("prompts/list", types.PaginatedRequestParams, self._prompts),
            ("prompts/get", types.GetPromptRequestParams, self._prompt),
            ("completion/complete", types.CompleteRequestParams, self._complete),
        ]

    async def _resources(
        self, _: Context, wanted: types.PaginatedRequestParams
    ) -> types.ListResourcesResult:
        page, following = _page(await _answer(self._library.resources()), wanted)
        return types.ListResourcesResult(resources=page, next_cursor=following)

    async def _templates(
        self, _: Context, wanted: types.PaginatedRequestParams
    ) -> types.ListResourceTemplatesResult:
        page, following = _page(await _answer(self._library.templates()), wanted)
        return types.ListResourceTemplatesResult(resource_templates=page, next_cursor=following)

    async def _read(
        self, _: Context, wanted: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(wanted.uri)
        found = await _answer(self._library.read(uri))
        if not found:
            raise MCPError(types.INVALID_PARAMS, "there is no such resource", {"uri": uri})
        return types.ReadResourceResult(contents=found)

    async def _prompts(
        self, _: Context, wanted: types.PaginatedRequestParams
    ) -> types.ListPromptsResult:
        page, following = _page(await _answer(self._library.prompts()), wanted)
        return types.ListPromptsResult(prompts=page, next_cursor=following)

    async def _prompt(
        self, _: Context, wanted: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        found = await _answer(self._library.prompt(wanted.name, wanted.arguments or {}))
        if found is None:
            raise MCPError(types.INVALID_PARAMS, "there is no prompt of this name")
        return found

    async def _complete(
        self, _: Context, wanted: types.CompleteRequestParams
    ) -> types.CompleteResult:
        found = await _answer(self._library.complete(wanted))
        if found is None:
            raise MCPError(types.INVALID_PARAMS, "there is nothing of this name to complete")
        return types.CompleteResult(completion=found)


def refusal(error: ProblemError | TransientError) -> MCPError:
    """Return what the bus has refused as an error of the protocol. Its text names no subject."""
    if isinstance(error, TransientError):
        told = "the bus, or who answers on it, is away"
        problem = Problem(code="unavailable", message=told, retryable=True)
    else:
        problem = error.problem
    code = types.INVALID_PARAMS if problem.code == "validation" else types.INTERNAL_ERROR
    said = ProblemError(problem).said()
    return MCPError(code, f"{problem.code}: {said}", {"problem": msgspec.to_builtins(problem)})


async def _answer(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except (ProblemError, TransientError) as error:
        raise refusal(error) from None


def _page(
    found: Sequence[T], wanted: types.PaginatedRequestParams | None
) -> tuple[list[T], str | None]:
    """Return a page of a list, and the cursor of the next."""
    place = whole((wanted and wanted.cursor) or "0")
    if place is None or place > len(found):
        raise MCPError(types.INVALID_PARAMS, "cursor: is no cursor of this list")
    following = place + PAGE
    return list(found[place:following]), str(following) if following < len(found) else None
