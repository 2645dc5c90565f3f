"""How bodies are named: ``body.<entity>.<shard>.<tenant>.<key>.<hash>``. Pure.

The name says to which entity a body belongs, so that whoever owns the shard finds those that were
stored by a sender that died before its command was committed.
"""

from typing import NamedTuple

from bus.subjects import shard_of

ROOT = "body"
"""Keeps bodies apart from the snapshots and entries of a shard, which are named without it."""


class Holder(NamedTuple):
    """The entity to which a body belongs."""

    entity: str
    shard: int
    tenant: str
    key: str

    @property
    def under(self) -> str:
        """What all bodies of the entity lie under."""
        return f"{shard_bodies(self.entity, self.shard)}.{self.tenant}.{self.key}"


class BodyName(NamedTuple):
    """A body of the entity at ``tenant`` and ``key``, as its ``name`` says."""

    tenant: str
    key: str
    name: str


def holder_of(entity: str, shards: int, tenant: str, key: str) -> Holder:
    """Return an entity as the holder of bodies; ``shards`` is the number of its type's shards."""
    return Holder(entity, shard_of(tenant, key, shards), tenant, key)


def shard_bodies(entity: str, shard: int) -> str:
    """Return what the bodies of all entities of a shard lie under."""
    return f"{ROOT}.{entity}.{shard}"


def body_name(name: str) -> BodyName | None:
    """Return what a name says; None if it is not that of a body."""
    match name.split("."):
        case [root, _, _, tenant, key, _] if root == ROOT:
            return BodyName(tenant, key, name)
        case _:
            return None
