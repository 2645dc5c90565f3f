"""What the pricing actor answers: the endpoints of small handlers, each with a file of its own."""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from bus.service import Endpoint


class Handler(Protocol):
    """Answers a few requests that belong together."""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the requests it answers."""
        ...


def endpoints(*handlers: Handler) -> tuple[Endpoint, ...]:
    """Return all requests this actor answers."""
    return tuple(chain.from_iterable(handler.endpoints() for handler in handlers))
