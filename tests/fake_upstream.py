"""An MCP server in memory that can be killed, hang, restart and lose sessions; it keeps count."""

# ruff: noqa: ARG002  a protocol's arguments are not all used

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import anyio

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
from bus.tasks import loop_time
from schemas.tools import ServerTool, ToolContent, ToolHints, ToolResult, ToolText

NUMBERS = {"type": "object", "properties": {"n": {"type": "integer"}}}
TOOLS = {
    "echo": ToolHints(read_only=True),
    "slow": ToolHints(),
    "hang": ToolHints(),
    "look": ToolHints(read_only=True),
}


class FakeServer:
    """What all upstreams of one server reach. ``effects`` counts calls that took effect, by n."""

    def __init__(self, name: str = "fake", *, stateless: bool = True) -> None:
        self.name = name
        self.stateless = stateless
        self.is_up = True
        self.hangs_opening = False
        self.incarnation = 1
        self.opens = 0
        self.most_at_once = self.running = 0
        self.listed = 0
        self.probes = 0
        self.effects: Counter[Any] = Counter()
        self.tools = dict(TOOLS)
        self.ttl: float | None = None
        self.schemas: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, ToolResult] = {}
        self.upstreams: list[FakeUpstream] = []
        self.listeners: set[Callable[[str], None]] = set()
        self._killed = anyio.Event()

    def connect(self, address: ServerAddress, _: bool) -> "FakeUpstream":
        upstream = FakeUpstream(self, address)
        self.upstreams.append(upstream)
        return upstream

    def kill(self) -> None:
        """Cut off all that is under way; it is down until it is started."""
        self.is_up = False
        killed, self._killed = self._killed, anyio.Event()
        killed.set()

    def start(self) -> None:
        """Come up as another process, which knows no session."""
        self.is_up = True
        self.incarnation += 1

    def open_now(self) -> dict[str, int]:
        """Return what all upstreams together have open."""
        found: Counter[str] = Counter()
        for upstream in self.upstreams:
            found.update(upstream.counters.open())
        return dict(found)

    async def until_killed(self) -> None:
        await self._killed.wait()


class FakeUpstream:
    """See ``Upstream``."""

    def __init__(self, server: FakeServer, address: ServerAddress) -> None:
        self.server = server
        self.address = address
        self._counters = LeakCounters()
        self._session: int | None = None
        self._closed = anyio.Event()

    @property
    def counters(self) -> LeakCounters:
        return self._counters

    async def open(self, deadline: float) -> Opened:
        self.server.opens += 1
        await anyio.sleep(0.01)
        if self.server.hangs_opening:
            await self._late(deadline)
        if not self.server.is_up:
            raise UpstreamError("not_sent", "connection refused")
        self._counters.opened["sessions"] += 1
        self._session = self.server.incarnation
        return Opened(
            era="2026" if self.server.stateless else "2025",
            version="2026-07-28" if self.server.stateless else "2025-11-25",
            server=self.server.name,
            tools=True,
            resources=True,
            prompts=True,
            list_changed=True,
            stateless=self.server.stateless,
        )

    async def call(self, plan: CallPlan) -> ToolResult:
        self._demand()
        server, number = self.server, plan.arguments.get("n")
        server.running += 1
        server.most_at_once = max(server.most_at_once, server.running)
        self._counters.opened["sockets"] += 1
        server.effects[number] += 1
        try:
            await self._meanwhile(plan)
        finally:
            self._counters.closed["sockets"] += 1
            server.running -= 1
        if plan.tool in server.answers:
            return server.answers[plan.tool]
        return ToolResult(content=[ToolText(text=f"{plan.tool} {number}")])

    async def _meanwhile(self, plan: CallPlan) -> None:
        """Let the time of a call pass, up to its end or the server's."""
        outcome: list[UpstreamError] = []

        async def die() -> None:
            await self.server.until_killed()
            outcome.append(
                UpstreamError("outcome_unknown", "cut off", sent=True, session_lost=True)
            )
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(die)
            match plan.tool:
                case "hang":
                    await anyio.sleep(max(0.0, plan.deadline - loop_time()))
                    outcome.append(UpstreamError("deadline", "no answer in time", sent=True))
                case "slow":
                    if plan.progress is not None:
                        plan.progress(1, 2, "half")
                    await anyio.sleep(1.0)
                case _:
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        if outcome:
            raise outcome[0]

    async def list_tools(self, deadline: float) -> Listing[ServerTool]:
        self._demand()
        self.server.listed += 1
        await anyio.sleep(0.01)
        return self._listing()

    def _listing(self) -> Listing[ServerTool]:
        server = self.server
        tools = [
            ServerTool(
                server=server.name,
                tool=name,
                hints=hints,
                parameters=server.schemas.get(name, NUMBERS),
                output=server.schemas.get(f"{name}.output"),
            )
            for name, hints in server.tools.items()
        ]
        return Listing(tools, server.ttl, ",".join(server.tools))

    async def list_resources(self, deadline: float) -> Listing[ListedResource]:
        self._demand()
        return Listing([ListedResource(uri="fake://one", name="one")], None, "r")

    async def list_templates(self, deadline: float) -> Listing[ListedTemplate]:
        self._demand()
        return Listing([ListedTemplate("fake://{name}", "any")], None, "t")

    async def complete(self, wish: CompletionWish, deadline: float) -> Completion:
        self._demand()
        return Completion([f"{wish.prompt or wish.template} {wish.argument} {wish.value}"], 7)

    async def read_resource(self, uri: str, deadline: float) -> list[ToolContent]:
        self._demand()
        return [ToolText(text=f"what lies at {uri}")]

    async def list_prompts(self, deadline: float) -> Listing[ListedPrompt]:
        self._demand()
        return Listing([ListedPrompt(name="greet")], None, "p")

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str], deadline: float
    ) -> list[PromptMessage]:
        self._demand()
        return [PromptMessage("user", ToolText(text=f"{name} {dict(arguments)}"))]

    async def listen(self, changed: Callable[[str], None]) -> None:
        self._counters.opened["tasks"] += 1
        self.server.listeners.add(changed)
        try:
            await self._closed.wait()
        finally:
            self.server.listeners.discard(changed)
            self._counters.closed["tasks"] += 1

    async def probe(self, deadline: float) -> None:
        self._demand()
        self.server.probes += 1
        if self.server.hangs_opening:
            await self._late(deadline)
        await anyio.sleep(0.01)

    async def close(self) -> None:
        self._closed.set()
        if self._session is not None:
            self._session = None
            self._counters.closed["sessions"] += 1

    def _demand(self) -> None:
        if not self.server.is_up:
            raise UpstreamError("not_sent", "connection refused", session_lost=True)
        if self._session != self.server.incarnation and not self.server.stateless:
            raise UpstreamError("rejected", "no such session", sent=True, session_lost=True)

    async def _late(self, deadline: float) -> None:
        await anyio.sleep(max(0.0, deadline - loop_time()))
        raise UpstreamError("deadline", "no answer in time", sent=True)
