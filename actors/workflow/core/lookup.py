"""The nets that instances carry, compiled once and kept by their digest."""

from functools import lru_cache

import msgspec

from actors.workflow.core.compiling import CompiledNet
from schemas.nets import NetDefinition

MOST_COMPILED = 256
"""Some 100 KB each; a process that runs more kinds at once compiles again and again."""

_net = msgspec.json.Decoder(NetDefinition)


class _Source:
    """A net as bytes. It is found by its digest alone, so that no lookup walks through it."""

    __slots__ = ("digest", "raw")

    def __init__(self, raw: msgspec.Raw, digest: str) -> None:
        self.raw = raw
        self.digest = digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Source) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=MOST_COMPILED)
def _compiled(source: _Source) -> CompiledNet:
    return CompiledNet(_net.decode(source.raw))


def compiled(raw: msgspec.Raw, digest: str) -> CompiledNet:
    """Return a net that an instance carries, compiled.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _compiled(_Source(raw, digest))
