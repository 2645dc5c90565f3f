"""One connection to an MCP server: the protocol over any channel."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio

from actors.mcp_pool.adapters.channel import Channel
from actors.mcp_pool.adapters.opening import Negotiation
from actors.mcp_pool.adapters.requests import Requests
from actors.mcp_pool.core import wire_content, wire_lists
from actors.mcp_pool.core.upstream import (
    CallPlan,
    Completion,
    CompletionWish,
    LeakCounters,
    ListedPrompt,
    ListedResource,
    ListedTemplate,
    Listing,
    Opened,
    PromptMessage,
    ServerAddress,
    UpstreamError,
)
from actors.mcp_pool.core.wire import HEADER_MISMATCH, METHOD_NOT_FOUND
from actors.mcp_pool.core.wire_headers import Path, parameters
from actors.mcp_pool.core.wire_hearing import Heard
from actors.mcp_pool.core.wire_questions import Person, nobody
from schemas.tools import MOST_RESULT_BYTES, ServerTool, ToolContent, ToolResult

IDEMPOTENCY_META = "callboard/idempotencyKey"
"""Where a call that may have its effect only once carries its key, besides the HTTP header."""

_LISTEN_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LISTS = ("tools", "resources", "prompts")


class McpSession:
    """An ``Upstream`` over a channel. ``person`` answers what a server asks the client for."""

    def __init__(
        self,
        address: ServerAddress,
        channel: Channel,
        counters: LeakCounters,
        *,
        person: Person = nobody,
        offers: Mapping[str, Any] = {},
    ) -> None:
        self._address = address
        self._channel = channel
        self._counters = counters
        self._requests = Requests(channel, person)
        asks_first = address.kind == "http"
        self._opening = Negotiation(self._requests, address.era, offers, asks_first=asks_first)
        self._offers = offers
        self._opened: Opened | None = None
        self._closed = False
        self._marks: dict[str, dict[Path, str]] | None = None

    @property
    def counters(self) -> LeakCounters:
        """See ``Upstream.counters``."""
        return self._counters

    async def open(self, deadline: float) -> Opened:
        """See ``Upstream.open``."""
        await self._requests.within(deadline, self._channel.start)
        opened = await self._opening.open(deadline)
        self._counters.opened["sessions"] += 1
        self._opened = opened
        return opened

    async def close(self) -> None:
        """See ``Upstream.close``."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._channel.close()
        finally:
            if self._opened is not None:
                self._counters.closed["sessions"] += 1

    async def call(self, plan: CallPlan) -> ToolResult:
        """See ``Upstream.call``."""
        try:
            return await self._call(plan)
        except UpstreamError as error:
            if not (error.said.code == HEADER_MISMATCH and self._is_stateless):
                raise
        # The server's schema has changed since it was read: it says what headers it wants.
        await self.list_tools(plan.deadline)
        return await self._call(plan)

    async def list_tools(self, deadline: float) -> Listing[ServerTool]:
        """See ``Upstream.list_tools``."""
        server, marked = self._address.name, self._is_stateless
        pages = wire_lists.Pages("tools", lambda raw: wire_lists.tool(server, raw, marked=marked))
        await self._collect("tools/list", pages, deadline)
        self._marks = {each.tool.tool: each.marks for each in pages.values if each.marks}
        return pages.listing(lambda each: each.tool)

    async def list_resources(self, deadline: float) -> Listing[ListedResource]:
        """See ``Upstream.list_resources``."""
        pages = wire_lists.Pages("resources", wire_lists.resource)
        await self._collect("resources/list", pages, deadline)
        return pages.listing(_same)

    async def list_templates(self, deadline: float) -> Listing[ListedTemplate]:
        """See ``Upstream.list_templates``."""
        pages = wire_lists.Pages("resourceTemplates", wire_lists.template)
        try:
            await self._collect("resources/templates/list", pages, deadline)
        except UpstreamError as error:
            if error.said.code != METHOD_NOT_FOUND:
                raise
        return pages.listing(_same)

    async def complete(self, wish: CompletionWish, deadline: float) -> Completion:
        """See ``Upstream.complete``."""
        if wish.prompt is not None:
            ref = {"type": "ref/prompt", "name": wish.prompt}
        else:
            ref = {"type": "ref/resource", "uri": wish.template}
        asked: dict[str, Any] = {
            "ref": ref,
            "argument": {"name": wish.argument, "value": wish.value},
        }
        if wish.given:
            asked["context"] = {"arguments": wish.given}
        raw = await self._requests.ask("completion/complete", asked, deadline, repeats=True)
        return self._requests.read(lambda: wire_content.completion(raw))

    async def list_prompts(self, deadline: float) -> Listing[ListedPrompt]:
        """See ``Upstream.list_prompts``."""
        pages = wire_lists.Pages("prompts", wire_lists.prompt)
        await self._collect("prompts/list", pages, deadline)
        return pages.listing(_same)

    async def read_resource(self, uri: str, deadline: float) -> list[ToolContent]:
        """See ``Upstream.read_resource``."""
        raw = await self._requests.ask("resources/read", {"uri": uri}, deadline, repeats=True)
        return self._requests.read(lambda: wire_content.resource(raw, MOST_RESULT_BYTES))

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str], deadline: float
    ) -> list[PromptMessage]:
        """See ``Upstream.get_prompt``."""
        asked = {"name": name, "arguments": arguments}
        raw = await self._requests.ask("prompts/get", asked, deadline, repeats=True)
        return self._requests.read(lambda: wire_content.prompt(raw, MOST_RESULT_BYTES))

    async def probe(self, deadline: float) -> None:
        """See ``Upstream.probe``."""
        method = "server/discover" if self._is_stateless else "ping"
        try:
            await self._requests.ask(method, {}, deadline, repeats=True)
        except UpstreamError as error:
            # Who does not know the question is alive.
            if error.said.code != METHOD_NOT_FOUND:
                raise

    async def listen(self, changed: Callable[[str], None]) -> None:
        """See ``Upstream.listen``."""
        if self._opened is None or not (self._opened.list_changed or self._offers):
            return
        self._channel.hearing.changed = changed
        if not self._is_stateless:
            await self._channel.hear()
            return
        tries = 0
        while not self._closed:
            if await self._subscribed():
                tries = 0
            pause = _LISTEN_PAUSES[min(tries, len(_LISTEN_PAUSES) - 1)]
            tries += 1
            await anyio.sleep(pause)
            for kind in _LISTS:
                # What changed while nobody listened is not told again.
                changed(kind)

    # Inside

    @property
    def _is_stateless(self) -> bool:
        return self._opened is not None and self._opened.stateless

    async def _call(self, plan: CallPlan) -> ToolResult:
        params: dict[str, Any] = {"name": plan.tool, "arguments": plan.arguments}
        meta = dict(plan.meta)
        headers = parameters((self._marks or {}).get(plan.tool, {}), plan.arguments)
        if plan.idempotency_key is not None:
            meta[IDEMPOTENCY_META] = plan.idempotency_key
            headers["Idempotency-Key"] = plan.idempotency_key
        if meta:
            params["_meta"] = meta
        heard = Heard(plan.progress, plan.log) if plan.progress or plan.log else None
        raw = await self._requests.ask(
            "tools/call", params, plan.deadline, headers=headers, heard=heard,
            repeats=plan.may_repeat,
        )  # fmt: skip
        return self._requests.read(lambda: wire_content.tool_result(raw, plan.most_bytes))

    async def _collect(self, method: str, pages: wire_lists.Pages, deadline: float) -> None:
        params: dict[str, Any] = {}
        while True:
            raw = await self._requests.ask(method, params, deadline, repeats=True)
            cursor = self._requests.read(lambda raw=raw: pages.add(raw))
            if cursor is None:
                return
            params = {"cursor": cursor}

    async def _subscribed(self) -> bool:
        """Listen by a subscription until it ends; say whether the server had granted it."""
        wanted = {f"{kind}ListChanged": True for kind in _LISTS}
        try:
            await self._requests.ask(
                "subscriptions/listen", {"notifications": wanted}, None, repeats=True
            )
        except UpstreamError as error:
            return error.outcome == "outcome_unknown"
        return True


def _same(value: Any) -> Any:
    return value
