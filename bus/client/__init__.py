"""The public contract as a Python client: ask, and follow a stream to its end.

``requests``   typed requests with their Problems, asked again while the bus is away
``beginning``  requests made for entities, which are told of the end of what they have begun
``order``      events as they arrive, put in order
``follow``     live events and stored ones, joined by their cursors
"""

from bus.client.follow import follow
from bus.client.requests import Client

__all__ = ["Client", "follow"]
