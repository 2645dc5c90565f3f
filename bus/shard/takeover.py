"""Finding out, after a takeover, which open work was begun."""

from collections import defaultdict
from collections.abc import Mapping

import anyio

from bus.config import Timing
from bus.ports import Transport
from bus.shard.dispatch import WorkDispatch
from bus.work.inventory import ask_holder
from bus.work.registry import WorkerRegistry
from schemas.entity import EntityAddress
from schemas.fleet import InventoryRequest
from schemas.work import AnyWorkItem

OpenWork = list[tuple[EntityAddress, AnyWorkItem]]


class OpenWorkKeeper:
    """Lets wait what nobody can have begun, and begins anew what may be lost.

    An item that no commit names was never offered. Of one that a commit names, that worker alone
    can have it, and is asked. If it has not, and promises to take no offer of a former owner, then
    nobody has begun the item. If it has gone, or cannot tell, somebody may have.
    """

    def __init__(
        self,
        open_work: OpenWork,
        assigned: Mapping[str, str],
        dispatch: WorkDispatch,
        registry: WorkerRegistry,
        transport: Transport,
        timing: Timing,
    ) -> None:
        self._dispatch = dispatch
        self._registry = registry
        self._transport = transport
        self._timing = timing
        self._unnamed = [entry for entry in open_work if entry[1].id not in assigned]
        self._named: defaultdict[tuple[str, str], OpenWork] = defaultdict(list)
        for address, work in open_work:
            if work.id in assigned:
                self._named[assigned[work.id], work.queue].append((address, work))

    async def run(self) -> None:
        """See to all open work, once."""
        self._let_wait(self._unnamed)
        async with anyio.create_task_group() as tasks:
            for (worker, queue), items in self._named.items():
                tasks.start_soon(self._find, worker, queue, items)

    async def _find(self, worker: str, queue: str, items: OpenWork) -> None:
        shard, epoch = self._dispatch.shard, self._dispatch.epoch
        self._registry.meet(worker, queue)
        call = InventoryRequest(shard=shard, epoch=epoch)
        held = await ask_holder(worker, call, self._transport, self._registry, self._timing)
        names = set(held.items) if held else set[str]()
        for address, work in self._uncared_for(items):
            if work.id in names:
                self._dispatch.adopt(address, work, worker)
            elif held is None or held.epoch != epoch:
                self._dispatch.begin_anew(address, work)
            else:
                self._dispatch.wait(address, work)

    def _let_wait(self, items: OpenWork) -> None:
        for address, work in self._uncared_for(items):
            self._dispatch.wait(address, work)

    def _uncared_for(self, items: OpenWork) -> OpenWork:
        return [entry for entry in items if self._dispatch.lacks(*entry)]
