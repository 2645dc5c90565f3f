"""The servers of all tenants, each with its pool: found by name, made when needed, given up."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import anyio
import structlog

from actors.mcp_pool.adapters import metrics
from actors.mcp_pool.adapters.definitions import ServerDefinitions
from actors.mcp_pool.adapters.operator_file import NamedServer
from actors.mcp_pool.core.servers import OPERATOR, ServerSpec, operators_summary, spec_of
from actors.mcp_pool.flow.means import PoolMeans
from actors.mcp_pool.flow.pool import Addresses, ListChanged, ServerPool
from bus.errors import ProblemError, problem
from bus.tasks import loop_time
from schemas.tool_servers import PoolStates, ServerList

log = structlog.get_logger()

TICK_SECONDS = 0.5
MOST_POOLS = 1000
"""Servers that one process keeps in mind; above it the one that was not used for longest goes."""

UNUSED_SECONDS = 3600.0


class PoolKey(NamedTuple):
    """Whose server it is, the operator's or a tenant's, and its name."""

    owner: str
    server: str


class Pools:
    """The pools of one process."""

    def __init__(
        self,
        means: PoolMeans,
        named: Mapping[str, NamedServer],
        definitions: ServerDefinitions,
        addresses: Addresses,
        changed: ListChanged,
    ) -> None:
        self._means = means
        self._named = named
        self._definitions = definitions
        self._addresses = addresses
        self._changed = changed
        self._pools: OrderedDict[PoolKey, ServerPool] = OrderedDict()

    async def find(self, tenant: str, server: str) -> ServerPool:
        """Return the pool of a server by its name.

        Raises:
            ProblemError: ``not_found``: there is none that this tenant may use.
            UnavailableError: it is not known whether there is one.
        """
        named = self._named.get(server)
        if named is not None:
            if not named.may_use(tenant):
                # As if there were none: its name is nobody's business.
                raise problem("not_found", f"there is no MCP server {server}", field="server")
            return self._of(PoolKey(OPERATOR, server), named.spec)
        key = PoolKey(tenant, server)
        try:
            definition = await self._definitions.usable(tenant, server)
        except ProblemError:
            if key in self._pools:
                self._pools.pop(key).give_up()
            raise
        return self._of(key, spec_of(definition, tenant))

    async def listed(self, tenant: str) -> ServerList:
        """Return the servers that a tenant may use."""
        rows = [
            operators_summary(name, each.description)
            for name, each in self._named.items()
            if each.may_use(tenant)
        ]
        taken = set(self._named)
        rows += [row for row in await self._definitions.rows(tenant) if row.id not in taken]
        return ServerList(servers=sorted(rows, key=lambda row: row.id))

    def _of(self, key: PoolKey, spec: ServerSpec) -> ServerPool:
        pool = self._pools.get(key)
        if pool is not None and pool.spec.version == spec.version:
            self._pools.move_to_end(key)
            return pool
        if pool is not None:
            pool.give_up()
        self._make_room()
        pool = self._pools[key] = ServerPool(spec, self._means, self._addresses, self._changed)
        self._pools.move_to_end(key)
        return pool

    def _make_room(self) -> None:
        if len(self._pools) < MOST_POOLS:
            return
        idle = next((key for key, pool in self._pools.items() if not pool.busy), None)
        if idle is None:
            raise problem("unavailable", "too many MCP servers are in use here", retryable=True)
        self._pools.pop(idle).give_up()

    async def run(self) -> None:
        """Look after all pools until cancelled."""
        while True:
            now = loop_time()
            for key, pool in list(self._pools.items()):
                pool.tick(now)
                if not pool.busy and now - pool.used_at > UNUSED_SECONDS:
                    self._pools.pop(key).give_up()
            self._measure()
            await anyio.sleep(TICK_SECONDS)

    def _measure(self) -> None:
        opened, _ = self._means.ledger.totals()
        state = self._means.ledger.state()
        for kind, count in opened.items():
            metrics.OPENED.at(kind).set(count)
            metrics.OPEN.at(kind).set(state.open.get(kind, 0))
            metrics.LEAKED.at(kind).set(state.leaked.get(kind, 0))

    async def close(self) -> None:
        """Close all sessions now."""
        pools = list(self._pools.values())
        self._pools.clear()
        async with anyio.create_task_group() as tasks:
            for pool in pools:
                tasks.start_soon(pool.close)

    def states(self, process: str) -> PoolStates:
        """Show all pools, and what is open."""
        shown = [pool.pooled() for pool in self._pools.values()]
        return PoolStates(process=process, servers=shown, ledger=self._means.ledger.state())
