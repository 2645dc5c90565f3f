"""What an actor has in one process, made from its declaration before what is its own."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from bus.actor.declaration import Actor
from bus.kv import Bucket, Follow, Followed, Store, Watcher, followed
from bus.ports import Clock
from bus.projection import Projection, Projector
from bus.requests.rpc import Owners
from bus.runtime.process import Process
from bus.shard import AskRoute, ShardHost

T = TypeVar("T")
W = TypeVar("W", bound=Watcher[Any])


class Here:
    """An actor in a process: its hosts and projections, and the routes to all that it declares."""

    def __init__(self, actor: Actor, process: Process) -> None:
        self.actor = actor
        self.process = process
        self.bus = process.bus
        self.config: Any = process.config
        self.hosts: dict[str, ShardHost] = {}
        self._asked: dict[str, AskRoute] = {}
        for entity in actor.entities:
            self.hosts[entity.name] = self._host(actor.under(entity, self.config))
        for name in actor.asks:
            self._asked[name] = self.way(name)
        self.projectors = {each.name: self._projector(each) for each in actor.projections}
        self._known: dict[str, tuple[Any, Followed]] = {}

    @property
    def clock(self) -> Clock:
        """The time of day."""
        return self.bus.clock

    def owners(self, entity: str) -> Owners:
        """Return the way to the owners of an entity for requests: each lapses with its patience."""
        return self._owners(entity, self.clock)

    def way(self, entity: str) -> Owners:
        """Return the same for what is asked again until it is answered, and never lapses."""
        return self._owners(entity, None)

    def bucket(self, store: Store[T]) -> Bucket[T]:
        """Return the bucket of a store."""
        return store.open(self.bus.nats, self.bus.jetstream)

    def projection(self, projection: Projection) -> Projector:
        """Return this process's copy of a declared projection."""
        return self.projectors[projection.name]

    def known(self, follow: Follow[W]) -> W:
        """Return what is told of a store that this actor follows."""
        return cast("W", self._known[follow.store.bucket][0])

    def followed(self, follow: Follow[Any]) -> Followed:
        """Return how far this process knows such a store."""
        return self._known[follow.store.bucket][1]

    def follows(self) -> dict[str, Followed]:
        """Return how far this process knows each store that it follows, by bucket."""
        return {bucket: known for bucket, (_, known) in self._known.items()}

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[None]:
        """Follow all stores that are declared so while the context is open."""
        async with AsyncExitStack() as stack:
            for each in self.actor.follows:
                told = each.make(self.process.name, self.config)
                watch = followed(self.bucket(each.store), each.pattern, told, each.what)
                self._known[each.store.bucket] = (told, await stack.enter_async_context(watch))
            yield

    def add_routes(self, routes: dict[str, AskRoute]) -> None:
        """Let entities ask what is no entity, too."""
        self._asked |= routes

    def reported_to(self) -> dict[str, Owners]:
        """Return the owners to whom results of work are reported, by entity."""
        return {name: self.way(name) for name in dict.fromkeys((*self.hosts, *self.actor.asks))}

    def _owners(self, entity: str, clock: Clock | None) -> Owners:
        host, process = self.hosts.get(entity), self.process
        if host is None:
            return Owners(
                self.bus.transport, entity, self.config.shards, process.timing, clock=clock
            )
        return Owners(
            self.bus.transport,
            entity,
            self.config.shards,
            process.timing,
            nearby=host.offer,
            clock=clock,
        )

    def _host(self, entity: Any) -> ShardHost:
        process = self.process
        return ShardHost(
            entity,
            self.config.shards,
            process.name,
            process.membership,
            self.bus,
            process.timing,
            routes=self._asked,
        )

    def _projector(self, projection: Projection) -> Projector:
        days = projection.retention
        kept = None if days is None else timedelta(days=days(self.process.timing))
        return Projector(
            projection,
            self.bus.feed(projection.entity),
            self.bus,
            directory=Path(self.config.data) / "projections",
            process=self.process.name,
            timing=self.process.timing,
            retention=kept,
        )
