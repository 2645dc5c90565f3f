"""The store of MCP servers that tenants have defined, and the requests about them."""

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from actors.mcp_pool.core import servers
from bus.errors import problem
from bus.fairness import Quotas
from bus.kv import Bucket, Kind, Store, VersionedStore
from bus.kv.versioned import opened as opened_store
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.service import answers
from bus.security.egress import Egress
from schemas.tool_servers import ApplyServer, DeleteServer, GetServer, ServerSummary, ToolServer

SERVERS = Store(bucket="mcp_servers", kind=ToolServer, max_bytes=64 * 1024 * 1024)

KIND = Kind("MCP server", servers.summary)


class ServerDefinitions:
    """The servers of all tenants. Made by ``opened``; raises as ``bus.kv.versioned`` says.

    ``taken`` are the names of the operator's servers.
    """

    def __init__(
        self,
        store: VersionedStore[ToolServer, ServerSummary],
        clock: Clock,
        egress: Egress,
        taken: Collection[str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._egress = egress
        self._taken = taken

    async def usable(self, tenant: str, name: str) -> ToolServer:
        """Return the server that calls go to now; ``not_found``."""
        return await self._store.usable(tenant, name, "server", lambda _: None)

    async def rows(self, tenant: str) -> list[ServerSummary]:
        """Return a row for each server of a tenant."""
        return await self._store.rows(tenant)

    @answers(ApplyServer)
    async def apply(self, caller: Caller, wanted: ApplyServer) -> ToolServer:
        """Create a server, or replace the one that stands."""
        if wanted.id in self._taken:
            raise problem("conflict", "the operator has a server of this name", field="id")
        host = urlsplit(wanted.server.url).hostname or ""
        self._egress.check_literal(host, field="server.url")
        return await self._store.apply(
            caller.tenant,
            wanted.id,
            lambda version: servers.create(wanted, self._clock(), version=version),
            lambda standing: servers.update(standing, wanted, self._clock()),
        )

    @answers(GetServer)
    async def get(self, caller: Caller, wanted: GetServer) -> ToolServer:
        """Read a server, or one version of it."""
        return await self._store.get(caller.tenant, wanted.id, wanted.version)

    @answers(DeleteServer)
    async def delete(self, caller: Caller, wanted: DeleteServer) -> ToolServer:
        """Delete a server softly."""
        return await self._store.delete(caller.tenant, wanted.id, self._clock())


@asynccontextmanager
async def opened(
    bucket: Bucket[ToolServer],
    clock: Clock,
    quotas: Quotas,
    egress: Egress,
    taken: Collection[str],
) -> AsyncGenerator[ServerDefinitions]:
    """Open the store: while the context is open, the bucket is watched."""
    async with opened_store(KIND, bucket, quotas) as store:
        yield ServerDefinitions(store, clock, egress, taken)
