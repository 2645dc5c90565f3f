"""A nats-server of our own, or three, from the wheel: for a laptop, an example, a test.

``settings``  what the server is told, and why; ``nats.conf`` says the same to people
``guard``     the step between us and the server that ties its life to ours
``embedded``  starting it, waiting until it is ready, stopping it
``health``    asking it whether it can still write
``keeper``    starting it again when it has died, or has given up writing
``cluster``   three of them that replicate what they store
"""

from bus.server.cluster import EmbeddedCluster
from bus.server.embedded import EmbeddedServer

__all__ = ["EmbeddedCluster", "EmbeddedServer"]
