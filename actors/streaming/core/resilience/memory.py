"""What a process remembers for each tenant: bounded in number and in age, and never shared.

What one tenant does cannot be seen in what another meets, nor push out what is known for another.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from schemas.bounded import Bounded

V = TypeVar("V")

TENANTS = 1024
EACH = 64
LIFETIME = 3600.0
"""Seconds since it was last noted."""


class _Noted(NamedTuple, Generic[V]):
    value: V
    until: float


class ResilienceMemory(Generic[V]):
    """Values by tenant and name; of each tenant the least recently used are forgotten first.

    Times are seconds on a clock that never goes back, passed in.
    """

    def __init__(
        self, *, each: int = EACH, tenants: int = TENANTS, lifetime: float = LIFETIME
    ) -> None:
        self._each = each
        self._lifetime = lifetime
        self._noted: Bounded[str, Bounded[Hashable, _Noted[V]]] = Bounded(tenants)

    def find(self, tenant: str, name: Hashable, now: float) -> V | None:
        """Return what is known under a name, None if that is nothing or too old."""
        of_tenant = self._noted.get(tenant)
        noted = of_tenant.get(name) if of_tenant is not None else None
        if of_tenant is None or noted is None:
            return None
        if now >= noted.until:
            of_tenant.drop(name)
            return None
        return noted.value

    def note(self, tenant: str, name: Hashable, value: V, now: float) -> None:
        """Remember a value, from now on for the lifetime."""
        of_tenant = self._noted.get(tenant)
        if of_tenant is None:
            of_tenant = self._noted.put(tenant, Bounded(self._each))
        of_tenant.put(name, _Noted(value, now + self._lifetime))

    def values(self, now: float) -> Iterator[V]:
        """Yield all that is known."""
        for of_tenant in self._noted.values():
            yield from (noted.value for noted in of_tenant.values() if now < noted.until)
