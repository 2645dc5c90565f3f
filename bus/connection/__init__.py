"""The connection to NATS: the only place where a NATS client is made.

``client``        the client of nats-py with our reconnection, errors and end of subscriptions
``socket``        the socket below it, closed within bounds
``replies``       one inbox for all answers of a process
``subscription``  one subscription, from the server's first message to the last one handled
``transport``     plain messages, requests and reconnection for everything above
"""

from bus.connection.client import NatsAddress
from bus.connection.replies import Replies
from bus.connection.transport import NatsTransport, connect

__all__ = ["NatsAddress", "NatsTransport", "Replies", "connect"]
