"""The items of one queue for one tenant, as one worker asks for them. Knows no network or clock.

A worker asks for many items at once and the server sends them as they come, so an item's way to the
worker is one message long. The server forgets a request after a while, and says so.
"""

import math

EXPIRY_SECONDS = 30.0
"""How long a request for items stands."""

GRACE_SECONDS = 5.0
"""A request whose end was not heard of counts as forgotten after this."""


IDLE_SECONDS = 60.0
"""After so long without an item and without word of one, a lane is asked no more and forgotten.

Who sends items says so at least every 30 s while it sends any, and what is stored is looked for
every other second: so no item waits for longer.
"""

SLACK = 4
"""Items that may stand above twice the credit before all requests are recalled."""


class _Request:
    __slots__ = ("remaining", "until")

    def __init__(self, remaining: int, until: float) -> None:
        self.remaining = remaining
        self.until = until


class Lane:
    """The requests that stand. ``ready`` says whether the server has our consumer.

    A lane that was ``touched`` once becomes idle, unless it is touched again.
    """

    def __init__(self, queue: str, tenant: str) -> None:
        self.tenant = tenant
        self.consumer = consumer_name(queue, tenant)
        self.ready = False
        self.touched = math.inf
        self._requests: dict[str, _Request] = {}

    def touch(self, now: float) -> None:
        """Note that the tenant has work."""
        self.touched = now

    def is_idle(self, now: float) -> bool:
        """Say whether nothing was heard of work of the tenant for long."""
        return now - self.touched > IDLE_SECONDS

    def is_forgotten(self, now: float) -> bool:
        """Say whether the lane is idle and no request of ours stands any more."""
        return self.is_idle(now) and self.wanted(1, now) == 1

    def wanted(self, credit: int, now: float) -> int:
        """Return how many items to ask for now, given how many may be handed out.

        Asking waits until half of what may come is used up, so that not every item costs a request.
        """
        for name in [name for name, request in self._requests.items() if request.until < now]:
            del self._requests[name]
        outstanding = self.outstanding
        missing = credit - outstanding
        return missing if missing > 0 and missing >= outstanding else 0

    def is_overdrawn(self, credit: int) -> bool:
        """Say whether many more items may come than may be handed out by now."""
        outstanding = self.outstanding
        return outstanding > 2 * credit + SLACK if credit > 0 else outstanding > 0

    @property
    def outstanding(self) -> int:
        """How many items the server may still send."""
        return sum(request.remaining for request in self._requests.values())

    def asked(self, name: str, count: int, now: float) -> None:
        """Note a request."""
        self._requests[name] = _Request(count, now + EXPIRY_SECONDS + GRACE_SECONDS)

    def received(self) -> None:
        """Note an item. Which request it answers is not said; they are used up in order."""
        for name, request in self._requests.items():
            request.remaining -= 1
            if request.remaining == 0:
                del self._requests[name]
            return

    def ended(self, name: str) -> None:
        """Note that the server has forgotten a request."""
        self._requests.pop(name, None)

    def recall(self) -> None:
        """Note that no request stands any more."""
        self._requests.clear()


def consumer_name(queue: str, tenant: str) -> str:
    """Name the consumer of a lane. Neither part can contain the colon, so names are unique."""
    return f"{queue}:{tenant}"
