"""Reading what is stored of an entity: commands, events, states of all versions."""

from typing import Any, Generic, TypeVar

import msgspec

from bus.codec import MessageDecoder, decode, encode
from bus.errors import problem
from schemas.entity import Entity

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E")


class Codec(Generic[S, C, E]):
    """The decoders of one entity type."""

    __slots__ = ("_entity", "command", "event")

    def __init__(self, entity: Entity[S, C, E]) -> None:
        self._entity = entity
        self.command: MessageDecoder[C] = MessageDecoder(entity.command_type)
        self.event: MessageDecoder[E] = MessageDecoder(entity.event_type)

    def state(self, data: bytes | msgspec.Raw, version: int) -> S:
        """Decode a state that was stored by a version of this entity.

        Raises:
            ProblemError: ``validation``: it is malformed, or there is no upgrade.
        """
        entity = self._entity
        if version == entity.version:
            return decode(entity.state_type, data)
        if version > entity.version or not entity.can_read(version):
            raise problem("validation", f"a state of version {version} has no upgrade")
        plain = decode(dict[str, Any], data)
        for older in range(version, entity.version):
            plain = entity.upgrades[older](plain)
        return decode(entity.state_type, encode(plain))
