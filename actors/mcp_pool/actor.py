"""The MCP pool: it calls tools of servers, answers questions about them, and keeps their terms."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from actors.mcp_pool.adapters.addressing import Addressing
from actors.mcp_pool.adapters.definitions import SERVERS, ServerDefinitions
from actors.mcp_pool.adapters.definitions import opened as opened_definitions
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.operator_file import named_servers
from actors.mcp_pool.adapters.results import ResultStore
from actors.mcp_pool.config import McpPoolConfig
from actors.mcp_pool.core.upstream import ServerAddress, Upstream
from actors.mcp_pool.flow.authorizers import Authorizers, TokenKeeping
from actors.mcp_pool.flow.calls import ToolCaller
from actors.mcp_pool.flow.ledger import UpstreamLedger
from actors.mcp_pool.flow.means import Connect, PoolMeans
from actors.mcp_pool.flow.pools import Pools
from actors.mcp_pool.flow.questions import ServerQuestions
from actors.mcp_pool.flow.reporting import PoolReports
from bus.actor import Actor, Here, Own
from bus.http import HttpClient, HttpLimits
from bus.runtime.supervision import Part
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from bus.tasks import background
from bus.work.worker import Job
from schemas.lifecycle import EXECUTION_ENTITY
from schemas.tools import TOOL_QUEUE, ToolWork

CALL = Job(
    queue=TOOL_QUEUE,
    body_type=ToolWork,
    handle=ToolCaller.do_call,
    stopped=ToolCaller.stopped,
    places=lambda config: config.max_calls,
    # A server that hangs takes half of the places at most, and so on: others find some free.
    is_long=True,
)


LIMITS = HttpLimits(connections=1024, read_seconds=None)
"""The pool bounds calls itself, and a stream on which a server tells of changes is silent long."""

ANYWHERE = Egress(allow_loopback=True, allowed=("0.0.0.0/0", "::/0"))
"""Where servers may be that the operator has named."""


def connecting(checked: Lanes, free: Lanes) -> Connect:
    """Return what makes upstreams: the addresses of tenants are held to the egress policy."""

    def connect(address: ServerAddress, trusted: bool) -> Upstream:  # noqa: FBT001  as Connect
        return (free if trusted else checked)(address)

    return connect


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[Own]:
    """Make what calls tools, and the pools that it calls them over."""
    config, bus, quotas = here.config, here.bus, here.process.quotas
    egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
    secrets = Secrets.load({}, config.secrets_file, os.environ)
    named = named_servers(config, os.environ)
    async with (
        HttpClient(egress, LIMITS, field="server") as checked,
        HttpClient(ANYWHERE, LIMITS, field="server") as free,
        opened_definitions(here.bucket(SERVERS), bus.clock, quotas, egress, named) as definitions,
        background() as tasks,
    ):
        ledger = UpstreamLedger(
            lambda: (checked.opened + free.opened, checked.closed + free.closed)
        )
        means = PoolMeans(connecting(Lanes(tasks, checked), Lanes(tasks, free)), tasks, ledger)
        reports = PoolReports(bus, here.process.name)
        keep = TokenKeeping(Path(config.data), secrets, (checked, free), tasks, bus.clock)
        addresses = Addressing(secrets, os.environ, Authorizers(keep))
        pools = Pools(means, named, definitions, addresses, reports.changed)
        calls = ToolCaller(pools, bus, ResultStore(bus.blobs, config.shards))
        reports.pools = pools
        try:
            yield Own(
                handlers=[definitions, ServerQuestions(pools, ledger)],
                doer=calls,
                parts=[
                    Part(name="pools", run=pools.run),
                    Part(name="reports", run=reports.run),
                ],
            )
        finally:
            await pools.close()


ACTOR = Actor(
    name="mcp_pool",
    settings=McpPoolConfig,
    stores=[SERVERS],
    services=[ServerDefinitions, ServerQuestions],
    jobs=[CALL],
    asks=[EXECUTION_ENTITY],
    opened=opened,
)
