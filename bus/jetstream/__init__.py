"""The bus on JetStream: what is stored, and what is stored until it is done.

``publishing``  storing one message and waiting for its receipt
``direct_get``  reading many messages with one request
``journal``     fenced appends and reads of one stream
``blobs``       large bytes in chunks under their hash
``outbox``      publishing into streams without waiting; ``ring`` is what it may send again
``shares``      keeping each tenant to its share of the streams that all have in common
``ticket``      a stored command in the hands of a process
``bus``         all of it together, for one process
"""

from bus.jetstream.bus import NatsBus, open_bus, system_clock
from bus.jetstream.journal import JetStreamJournal

__all__ = ["JetStreamJournal", "NatsBus", "open_bus", "system_clock"]
