"""What a pool tells unasked and asked: tools that changed, and how its servers fare."""

from actors.mcp_pool.flow.pool import ServerPool
from actors.mcp_pool.flow.pools import Pools
from actors.mcp_pool.flow.tool_cache import KnownTools
from bus.codec import encode
from bus.ports import Bus, Delivery
from bus.subjects import fill
from bus.tasks import Wakeup
from schemas.tool_servers import POOLS_SUBJECT, ListedKind, ToolsChangedEvent

MOST_WAITING = 10_000
"""Events that wait to be published; beyond it the newest are left out."""


class PoolReports:
    """Publishes changes of tools, and answers the operator. ``pools`` is set before it runs."""

    pools: Pools

    def __init__(self, bus: Bus, process: str) -> None:
        self._bus = bus
        self._process = process
        self._waiting: list[tuple[str, ToolsChangedEvent]] = []
        self._wakeup = Wakeup()

    def changed(self, pool: ServerPool, known: KnownTools, kind: ListedKind) -> None:
        """Have the tenants told that have used a server whose lists changed."""
        event = ToolsChangedEvent(
            server=pool.spec.name,
            tools=len(known.by_name),
            digest=known.digest,
            at=self._bus.clock(),
            kind=kind,
        )
        room = MOST_WAITING - len(self._waiting)
        self._waiting += [(tenant, event) for tenant in list(pool.tenants)[:room]]
        self._wakeup.set()

    async def run(self) -> None:
        """Publish and answer until cancelled."""
        async with self._bus.transport.subscription(POOLS_SUBJECT, self._tell):
            while True:
                await self._wakeup.wait()
                waiting, self._waiting = self._waiting, []
                for tenant, event in waiting:
                    subject = fill(event.SUBJECT or "", tenant=tenant, server=event.server)
                    await self._bus.outbox.post(subject, encode(event))

    async def _tell(self, delivery: Delivery) -> None:
        states = self.pools.states(self._process)
        await self._bus.transport.publish(delivery.reply, encode(states))
