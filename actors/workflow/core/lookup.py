"""The nets that instances carry, compiled once and kept by their digest."""

import msgspec

from actors.workflow.core.compiling import CompiledNet
from schemas.bounded import Bounded
from schemas.nets import NetDefinition

MOST_COMPILED = 256
"""Some 100 KB each; a process that runs more kinds at once compiles again and again."""

_net = msgspec.json.Decoder(NetDefinition)
_known: Bounded[str, CompiledNet] = Bounded(MOST_COMPILED)


def compiled(raw: msgspec.Raw, digest: str) -> CompiledNet:
    """Return a net that an instance carries, compiled.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _known.get(digest) or _known.put(digest, CompiledNet(_net.decode(raw)))
