"""The bus in memory: the counterpart of everything on NATS, for tests and simulation.

``exchange``    plain messages between all who are connected
``transport``   one connection, which can be lost and found
``mailbox``     one subscription
``store``       streams and what they keep
``journal``     fenced appends and reads of one stream
``blobs``       large bytes by their hash
``outbox``      publishing into streams, repeated after a restart
``bus``         all of it together, one life or several
"""

from bus.memory.blobs import MemoryBlobs
from bus.memory.bus import MemoryBus, MemoryProcess, memory_bus
from bus.memory.exchange import Fate, MemoryExchange
from bus.memory.journal import MemoryJournal
from bus.memory.outbox import MemoryOutbox
from bus.memory.store import MemoryStore
from bus.memory.transport import MemoryTransport

__all__ = [
    "Fate",
    "MemoryBlobs",
    "MemoryBus",
    "MemoryExchange",
    "MemoryJournal",
    "MemoryOutbox",
    "MemoryProcess",
    "MemoryStore",
    "MemoryTransport",
    "memory_bus",
]
