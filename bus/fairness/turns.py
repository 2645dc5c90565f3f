"""Who begins next where only so much can go on at once. Pure.

A place that frees goes to the tenant with the fewest running, and among equals to the one that has
waited longest for its turn. A few places beyond ``capacity`` are ``reserved`` for tenants with
nothing running, so that nobody waits behind the long work of another. Where work takes hours, the
places are ``shared`` besides: a tenant leaves as many free as it has, so that each that comes finds
some, and the last ones are never taken by one that has many.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from bus.fairness.line import TenantLine

T = TypeVar("T")

RESERVED_SHARE = 10
"""One place is reserved for each ten."""


def reserved_of(capacity: int) -> int:
    """Return how many places stand ready beyond ``capacity``: a tenth of it, and one at least."""
    return max(1, capacity // RESERVED_SHARE)


def next_tenant(
    waiting: Iterable[str], running: Mapping[str, int], may: Callable[[str], bool]
) -> str | None:
    """Return the tenant that begins next: of those that ``may``, the one with fewest running.

    ``waiting`` yields who has waited longest first, which decides among equals.
    """
    return min(filter(may, waiting), key=lambda tenant: running.get(tenant, 0), default=None)


class Turns(Generic[T]):
    """Items that run or wait. It knows how many run of each tenant, and names the next."""

    def __init__(
        self,
        capacity: int,
        *,
        per_tenant: int | None = None,
        reserved: int = 0,
        shared: bool = False,
    ) -> None:
        self._capacity = capacity
        self._shared = shared
        self._per_tenant = per_tenant or capacity
        self._reserved = reserved
        self._by_tenant: dict[str, int] = {}
        self.running = 0
        self.waiting = TenantLine[T]()

    def __len__(self) -> int:
        return self.running + len(self.waiting)

    @property
    def tenants(self) -> set[str]:
        """Those of whom something runs or waits."""
        return {*self._by_tenant, *self.waiting}

    def running_of(self, tenant: str) -> int:
        """Return how many items of a tenant run."""
        return self._by_tenant.get(tenant, 0)

    def room(self, tenant: str) -> int:
        """Return how many more items of a tenant could begin now."""
        mine = self._by_tenant.get(tenant, 0)
        free = self._capacity - self.running
        if not mine and free <= 0:
            free = min(1, free + self._reserved)
        elif self._shared:
            # Each one that begins takes a free place, and is one more to leave.
            free = (free - mine + 1) // 2
        return max(0, min(free, self._per_tenant - mine))

    def begin(self, tenant: str) -> bool:
        """Count an item as running if it may begin now; say whether."""
        mine, running = self._by_tenant.get(tenant, 0), self.running
        # As ``room`` says, without its arithmetic: it is asked for every request.
        if mine >= self._per_tenant or (
            running >= self._capacity and (mine or running >= self._capacity + self._reserved)
        ):
            return False
        if mine and self._shared and mine >= self._capacity - running:
            return False
        self._by_tenant[tenant] = mine + 1
        self.running = running + 1
        return True

    def end(self, tenant: str) -> None:
        """Count an item as running no more."""
        left = self._by_tenant[tenant] - 1
        if left:
            self._by_tenant[tenant] = left
        else:
            del self._by_tenant[tenant]
        self.running -= 1

    def start(self) -> tuple[str, T] | None:
        """Remove the next item that may begin from those that wait, and count it as running."""
        if not len(self.waiting) or self.running >= self._capacity + self._reserved:
            return None
        tenant = next_tenant(self.waiting, self._by_tenant, lambda name: self.room(name) > 0)
        if tenant is None or not self.begin(tenant):
            return None
        return tenant, self.waiting.take(tenant)
