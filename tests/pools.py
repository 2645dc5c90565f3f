"""The pool of a server, and all of a process, over servers in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from actors.mcp_pool.adapters.definitions import SERVERS, ServerDefinitions
from actors.mcp_pool.adapters.definitions import opened as opened_definitions
from actors.mcp_pool.adapters.meter import CallMark
from actors.mcp_pool.adapters.operator_file import NamedServer
from actors.mcp_pool.adapters.results import ResultStore
from actors.mcp_pool.core.servers import ServerPlace, ServerSpec
from actors.mcp_pool.core.upstream import CallPlan, ServerAddress, Upstream, UpstreamError
from actors.mcp_pool.flow.calls import ToolCaller
from actors.mcp_pool.flow.ledger import UpstreamLedger
from actors.mcp_pool.flow.means import Connect, PoolMeans
from actors.mcp_pool.flow.pool import Requester, ServerPool
from actors.mcp_pool.flow.pools import Pools
from actors.mcp_pool.flow.tool_cache import KnownTools
from bus.config import Config
from bus.fairness import Quotas
from bus.kv import MemoryBucket
from bus.memory import MemoryProcess
from bus.security.egress import Egress
from bus.tasks import background, loop_time
from schemas.tool_servers import ServerLimits, ServerTerms
from schemas.tools import TOOL_QUEUE, ServerTool, ToolHints, ToolWork
from schemas.work import ReplyTo, WorkItem
from tests.fake_upstream import FakeServer


def spec(name: str = "fake", *, replicas: int = 1, **terms: Any) -> ServerSpec:
    limits = terms.pop("limits", ServerLimits())
    return ServerSpec(
        name=name,
        owner="",
        version=0,
        places=tuple(ServerPlace("http", url=f"http://{name}.{n}/mcp") for n in range(replicas)),
        strategy=terms.pop("strategy", "least_connections"),
        terms=ServerTerms(limits=limits, **terms),
    )


def address(of: ServerSpec, number: int, tenant: str) -> ServerAddress:
    del tenant
    return ServerAddress(name=of.name, kind="http", url=of.places[number].url)


class Pooled(NamedTuple):
    """A pool, its ledger and the lists that it said have changed."""

    pool: ServerPool
    ledger: UpstreamLedger
    changes: list[KnownTools]

    async def call(
        self, tool: str, number: int = 0, *, who: str = "agent", seconds: float = 5.0, **more: Any
    ) -> Any:
        """Call a tool; an error is returned."""
        mark = more.pop("mark", CallMark())
        hints = more.pop("hints", ToolHints())
        once = more.pop("once", not hints.may_repeat)
        plan = CallPlan(tool, {"n": number}, deadline=loop_time() + seconds)
        known = ServerTool(server="fake", tool=tool, hints=hints)
        try:
            return await self.pool.call(
                Requester("acme", who, f"run-{number}"), plan, known, mark, once=once
            )
        except UpstreamError as error:
            return error


@asynccontextmanager
async def pooled(connect: Connect, of: ServerSpec) -> AsyncGenerator[Pooled]:
    """Run a pool; when the context ends, all is closed."""
    ledger, changes = UpstreamLedger(), list[KnownTools]()
    async with background() as tasks:
        means = PoolMeans(connect, tasks, ledger)
        pool = ServerPool(of, means, address, lambda *told: changes.append(told[1]))
        try:
            yield Pooled(pool, ledger, changes)
        finally:
            await pool.close()


class Many(NamedTuple):
    """All pools of a process, and what does work items over them."""

    pools: Pools
    definitions: ServerDefinitions
    calls: ToolCaller
    ledger: UpstreamLedger
    bus: MemoryProcess

    def item(
        self, server: str, tool: str, arguments: str = "{}", **more: Any
    ) -> WorkItem[ToolWork]:
        """Return a work item; ``more`` are fields of its body."""
        seconds = more.pop("seconds", 5.0)
        number = more.pop("number", 1)
        body = ToolWork(
            execution_id=f"run-{number}",
            tenant=more.pop("tenant", "acme"),
            call_id=f"call-{number}",
            server=server,
            tool=tool,
            arguments=arguments,
            attempt=1,
            deadline=self.bus.clock() + timedelta(seconds=seconds),
            **more,
        )
        reply_to = ReplyTo(entity="execution", tenant=body.tenant, key=body.execution_id)
        return WorkItem(
            id=f"execution.{body.tenant}.run-{number}.1.1.1",
            work="1.1",
            attempt=1,
            queue=TOOL_QUEUE,
            tenant=body.tenant,
            reply_to=reply_to,
            since=self.bus.clock(),
            body=body,
            once=body.once,
            lane=server,
        )


@asynccontextmanager
async def many(
    bus: MemoryProcess, *servers: FakeServer, tenants: tuple[str, ...] = ("*",), **terms: Any
) -> AsyncGenerator[Many]:
    """Run the pools of servers that the operator has named."""
    by_name = {server.name: server for server in servers}

    def connect(where: ServerAddress, trusted: bool) -> Upstream:
        return by_name[where.name].connect(where, trusted)

    named = {name: NamedServer(spec(name, **terms), tenants, "") for name in by_name}
    ledger = UpstreamLedger()
    quotas = Quotas(Config().quota)
    bucket = MemoryBucket(SERVERS.kind)
    egress = Egress()
    async with (
        opened_definitions(bucket, bus.clock, quotas, egress, named) as definitions,
        background() as tasks,
    ):
        means = PoolMeans(connect, tasks, ledger)
        pools = Pools(means, named, definitions, address, lambda *_: None)
        tasks.start_soon(pools.run)
        try:
            calls = ToolCaller(pools, bus, ResultStore(bus.blobs, 4))
            yield Many(pools, definitions, calls, ledger, bus)
        finally:
            await pools.close()
