"""What waits, by tenant. Pure."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class TenantLine(Generic[T]):
    """Items in the order of their arrival for each tenant; the tenants take turns.

    Iterating yields the tenants that wait, who has waited longest for its turn first.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def count(self, tenant: str) -> int:
        """Return how many items of a tenant wait."""
        return len(self._waiting.get(tenant, ()))

    def add(self, tenant: str, item: T) -> None:
        """Let an item wait behind the others of its tenant."""
        waiting = self._waiting.get(tenant)
        if waiting is None:
            waiting = self._waiting[tenant] = deque()
        waiting.append(item)
        self._count += 1

    def remove(self, tenant: str, item: T) -> None:
        """Let an item of a tenant wait no more; nothing happens if it does not."""
        waiting = self._waiting.get(tenant)
        if waiting is not None and item in waiting:
            waiting.remove(item)
            self._count -= 1
            if not waiting:
                del self._waiting[tenant]

    def take(self, tenant: str) -> T:
        """Remove and return the oldest item of a tenant, whose next turn is after all others'."""
        waiting = self._waiting[tenant]
        item = waiting.popleft()
        self._count -= 1
        if not waiting:
            del self._waiting[tenant]
        elif len(self._waiting) > 1:
            self._waiting[tenant] = self._waiting.pop(tenant)
        return item

    def take_next(self) -> T:
        """Remove and return the oldest item of the tenant whose turn it is."""
        return self.take(next(iter(self._waiting)))
