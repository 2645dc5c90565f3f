"""The actors of this house as they declare themselves, imported only where that is needed."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from actors.fleet.plan import REPLICAS
from bus.actor import Actor
from bus.config import Timing
from bus.errors import problem
from bus.streams.spec import StreamSpec, stream_specs
from schemas.entity import Entity

AnyEntity = Entity[Any, Any, Any]


def actor(name: str) -> Actor:
    """Return the declaration of an actor."""
    found: Actor = import_module(f"actors.{name}.actor").ACTOR
    return found


def actors(names: Iterable[str] | None = None) -> tuple[Actor, ...]:
    """Return the declarations of these actors, or of all."""
    return tuple(actor(name) for name in (REPLICAS if names is None else names))


def entities() -> dict[str, tuple[AnyEntity, Actor]]:
    """Return every entity type with the actor that owns it, by its name."""
    return {each.name: (each, owner) for owner in actors() for each in owner.entities}


def entity(name: str) -> AnyEntity:
    """Return the declaration of an entity type.

    Raises:
        ProblemError: ``not_found``.
    """
    known = entities()
    if name not in known:
        raise problem("not_found", f"there is no entity {name}; there are {', '.join(known)}")
    return known[name][0]


def streams(names: Iterable[str] | None = None) -> tuple[StreamSpec, ...]:
    """Return the streams of a fleet of these actors, or of all, but for the inboxes of tenants."""
    timing = Timing()
    own = (spec for each in actors(names) for spec in each.streams(timing))
    return (*stream_specs((), timing), *own)
