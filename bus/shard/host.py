"""Which shards this process should own, and running them."""

from collections.abc import Callable
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.errors import (
    ClockError,
    CorruptJournalError,
    FencedError,
    StateVersionError,
    TransientError,
)
from bus.membership import Membership, rendezvous
from bus.ports import Bus, Delivery
from bus.shard.asks import NO_ROUTES, AskRoutes
from bus.shard.owner import ShardOwner
from bus.streams.capacity import Rooms
from bus.telemetry import metrics
from bus.work.registry import WorkerRegistry
from schemas.entity import Entity
from schemas.fleet import SHARDS_SUBJECT, OwnedShard, OwnedShards
from schemas.journal import CommandEnvelope

log = structlog.get_logger()


class ShardHost:
    """Owns its share of an entity's shards, as the membership changes.

    ``routes`` lead to the owners of the entities that this one asks.
    """

    def __init__(
        self,
        entity: Entity[Any, Any, Any],
        shards: int,
        process: str,
        membership: Membership,
        bus: Bus,
        timing: Timing,
        *,
        routes: AskRoutes = NO_ROUTES,
    ) -> None:
        self._entity = entity
        self._shards = shards
        self._process = process
        self._membership = membership
        self._registry = WorkerRegistry(f"{entity.name}-{process}", membership, bus, timing)
        self._bus = bus
        self._timing = timing
        self._routes = routes
        self._rooms = Rooms(entity.name, bus, timing)
        self._running: dict[int, ShardOwner] = {}
        self._refused: dict[int, str] = {}
        self._wrong_clock: str | None = None
        self._logged: set[int] = set()
        self._draining = anyio.Event()
        self._released = anyio.Event()

    async def run(self) -> None:
        """Take and release shards until cancelled or drained."""
        # An owner that was cancelled before it began has not taken itself off the list.
        self._running.clear()
        async with (
            self._bus.transport.subscription(SHARDS_SUBJECT, self._tell),
            anyio.create_task_group() as watching,
        ):
            watching.start_soon(self._registry.run)
            watching.start_soon(self._rooms.run)
            await anyio.sleep(self._timing.join_seconds)
            await self._keep_reconciling()
            watching.cancel_scope.cancel()

    async def _keep_reconciling(self) -> None:
        async with anyio.create_task_group() as tasks:
            while not self._draining.is_set():
                changed = self._membership.changed
                self._reconcile(tasks)
                with anyio.move_on_after(self._timing.reconcile_seconds):
                    await changed.wait()

    def offer(self, shard: int, envelope: CommandEnvelope, answer: Callable[[bytes], None]) -> bool:
        """Hand a command to the owner of a shard if that is in this process; say whether it is."""
        owner = self._running.get(shard)
        return owner is not None and owner.offer(envelope, answer)

    async def drain(self) -> None:
        """Release all shards in good order: each finishes what waits for it.

        Others take them over as soon as that is done, or has taken a heartbeat, however long the
        process goes on for other reasons.
        """
        self._draining.set()
        for owner in self._running.values():
            owner.stop()
        with anyio.move_on_after(self._timing.heartbeat_seconds):
            await self._all_released()
        await self._membership.retire(self._entity.name)
        await self._all_released()

    async def _all_released(self) -> None:
        while self._running:
            self._released = anyio.Event()
            await self._released.wait()

    @property
    def owned(self) -> list[int]:
        """The shards this process serves at present."""
        return sorted(shard for shard, owner in self._running.items() if owner.serving)

    @property
    def assigned(self) -> list[int]:
        """The shards that are this process's, whether it serves them or cannot yet."""
        return sorted(self._wanted())

    @property
    def refusing(self) -> list[int]:
        """The shards that this process has found it cannot read."""
        return sorted(self._refused)

    @property
    def settled(self) -> bool:
        """Whether this process serves just the shards it should."""
        return (
            bool(self._membership.owners(self._entity.name)) and set(self.owned) == self._wanted()
        )

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until this process serves its share."""
        if self._wrong_clock is not None:
            return self._wrong_clock
        return None if self.settled else f"shards of {self._entity.name} are being taken over"

    def _wanted(self) -> set[int]:
        owners = self._membership.owners(self._entity.name)
        return {shard for shard in range(self._shards) if self._is_mine(shard, owners)}

    def _is_mine(self, shard: int, owners: list[str]) -> bool:
        name = self._name_of(shard)
        able = (owner for owner in owners if not self._membership.refuses(owner, name))
        return rendezvous(able, name) == self._process

    def _reconcile(self, tasks: TaskGroup) -> None:
        metrics.SHARDS_OWNED.at(self._entity.name).set(len(self.owned))
        corrupt = sum(owner.corrupt for owner in self._running.values())
        metrics.CORRUPT_HERE.at(self._entity.name).set(corrupt)
        wanted = self._wanted()
        self._log_owned(wanted)
        for shard in wanted - self._running.keys():
            owner = self._owner(shard)
            self._running[shard] = owner
            tasks.start_soon(self._own, shard, owner)
        for shard in self._running.keys() - wanted:
            self._running[shard].stop()

    def _log_owned(self, wanted: set[int]) -> None:
        """Log once that all shards are served that are to be, and not each of them."""
        if wanted != self._logged and set(self.owned) == wanted:
            self._logged = wanted
            log.info("shards.owned", entity=self._entity.name, shards=len(wanted))

    def _owner(self, shard: int) -> ShardOwner:
        entity, registry = self._entity, self._registry
        owner = ShardOwner(
            entity, shard, self._process, registry, self._bus, self._timing, routes=self._routes
        )
        owner.share(self._rooms)
        return owner

    async def _own(self, shard: int, owner: ShardOwner) -> None:
        name = self._name_of(shard)
        try:
            await owner.run()
            log.info("shard.released", shard=name)
        except* FencedError:
            metrics.COMMITS.at(self._entity.name, "fenced").inc()
            log.info("shard.lost", shard=name)
        except* TransientError as group:
            log.warning("shard.interrupted", shard=name, error=str(group.exceptions[0]))
        except* ClockError as group:
            self._wrong_clock = str(group.exceptions[0])
            await self._refuse(shard, self._wrong_clock)
            self._wrong_clock = None
        except* (CorruptJournalError, StateVersionError) as group:
            await self._refuse(shard, str(group.exceptions[0]))
        finally:
            del self._running[shard]
            self._released.set()

    async def _refuse(self, shard: int, reason: str) -> None:
        """Leave a shard that cannot be read here to others; after a while look again."""
        name = self._name_of(shard)
        log.error("shard.refused", shard=name, error=reason)
        self._refused[shard] = reason
        self._membership.refuse(name)
        try:
            with anyio.move_on_after(self._timing.corrupt_retry_seconds):
                await self._draining.wait()
        finally:
            self._membership.readmit(name)
            del self._refused[shard]

    def _name_of(self, shard: int) -> str:
        return f"{self._entity.name}.{shard}"

    # Telling

    async def _tell(self, delivery: Delivery) -> None:
        """Answer whoever asks what is owned here."""
        owned = [self._told(shard, owner) for shard, owner in sorted(self._running.items())]
        answer = OwnedShards(
            process=self._process, entity=self._entity.name, shards=self._shards, owned=owned
        )
        if delivery.reply:
            await self._bus.transport.publish(delivery.reply, encode(answer))

    def _told(self, shard: int, owner: ShardOwner) -> OwnedShard:
        refused = self._refused.get(shard)
        return (
            owner.told()
            if refused is None
            else OwnedShard(shard=shard, serving=False, refused=refused)
        )
