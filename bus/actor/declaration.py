"""What an actor is, as data: from this value a process of it is made, and the fleet knows it."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bus.config import Config, Timing
from bus.kv import Follow, Store
from bus.projection import Projection
from bus.requests.service import requests_of
from bus.runtime.quota_report import Source
from bus.runtime.supervision import Part
from bus.shard import AskRoute
from bus.streams.spec import StreamSpec, journal_spec
from bus.work.worker import Job
from schemas.base import Request
from schemas.entity import Entity


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What an actor makes itself: its handlers, and what no declaration can say.

    ``handlers`` are objects of the declared services, ``doer`` is what the jobs are done by, and
    ``routes`` lead to what entities ask that is no entity. ``uses`` tell what tenants use of
    quotas.
    """

    handlers: Sequence[object] = ()
    doer: Any = None
    parts: Sequence[Part] = ()
    routes: Mapping[str, AskRoute] = field(default_factory=dict[str, AskRoute])
    uses: Sequence[Source] = ()


def as_declared(entity: Entity[Any, Any, Any], _: Any) -> Entity[Any, Any, Any]:
    """Stand for ``under`` in an actor whose entities know no settings."""
    return entity


@asynccontextmanager
async def at_once(here: Any) -> AsyncGenerator[Own]:
    """Make an object of each declared service, which is given ``here``."""
    yield Own(handlers=[kind(here) for kind in here.actor.services])


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One actor.

    ``entities`` and ``stores`` are its own, ``follows`` are stores that it watches to their end
    before it is ready, ``projections`` are kept up to date in each process. ``services`` are the
    classes whose methods answer requests (``bus.requests.service.answers``), and ``jobs`` what its
    workers do. ``asks`` names the entities of any actor that it asks, or reports to.

    ``settings`` is what an operator decides of it, and ``under`` returns an entity as it is by
    these. ``opened`` makes what is its own, for as long as the process lives: by default an object
    of each service, which is given what ``Here`` knows, as is each job.
    """

    name: str
    settings: type[Config] = Config
    entities: Sequence[Entity[Any, Any, Any]] = ()
    stores: Sequence[Store[Any]] = ()
    follows: Sequence[Follow[Any]] = ()
    projections: Sequence[Projection] = ()
    services: Sequence[type[Any]] = ()
    jobs: Sequence[Job[Any]] = ()
    asks: Sequence[str] = ()
    under: Callable[[Entity[Any, Any, Any], Any], Entity[Any, Any, Any]] = as_declared
    opened: Callable[[Any], AbstractAsyncContextManager[Own]] = at_once

    @property
    def requests(self) -> tuple[type[Request], ...]:
        """The public requests that it answers."""
        return tuple(each for kind in self.services for each in requests_of(kind).values())

    @property
    def buckets(self) -> tuple[Store[Any], ...]:
        """The stores that must stand before it begins: its own, and those it follows."""
        return tuple(dict.fromkeys((*self.stores, *(each.store for each in self.follows))))

    def streams(self, timing: Timing) -> tuple[StreamSpec, ...]:
        """Return the streams that are there for this actor's sake, and live as long as it does."""
        journals = [journal_spec(entity.name, timing) for entity in self.entities]
        return (*journals, *(store.spec() for store in self.stores))
