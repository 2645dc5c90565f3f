"""What a process remembers for each tenant: bounded in number and in age, and never shared.

What one tenant does cannot be seen in what another meets, nor push out what is known for another.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")

TENANTS = 1024
EACH = 64
LIFETIME = 3600.0
"""Seconds since it was last noted."""


class _Noted(NamedTuple, Generic[V]):
    value: V
    until: float


class Memory(Generic[V]):
    """Values by tenant and name; of each tenant the least recently used are forgotten first.

    Times are seconds on a clock that never goes back, passed in.
    """

    def __init__(
        self, *, each: int = EACH, tenants: int = TENANTS, lifetime: float = LIFETIME
    ) -> None:
        self._each = each
        self._tenants = tenants
        self._lifetime = lifetime
        self._noted: OrderedDict[str, OrderedDict[Hashable, _Noted[V]]] = OrderedDict()

    def find(self, tenant: str, name: Hashable, now: float) -> V | None:
        """Return what is known under a name, None if that is nothing or too old."""
        of_tenant = self._noted.get(tenant)
        noted = of_tenant.get(name) if of_tenant is not None else None
        if of_tenant is None or noted is None:
            return None
        if now >= noted.until:
            del of_tenant[name]
            return None
        of_tenant.move_to_end(name)
        self._noted.move_to_end(tenant)
        return noted.value

    def note(self, tenant: str, name: Hashable, value: V, now: float) -> None:
        """Remember a value, from now on for the lifetime."""
        of_tenant = self._noted.setdefault(tenant, OrderedDict())
        of_tenant[name] = _Noted(value, now + self._lifetime)
        of_tenant.move_to_end(name)
        if len(of_tenant) > self._each:
            of_tenant.popitem(last=False)
        self._noted.move_to_end(tenant)
        if len(self._noted) > self._tenants:
            self._noted.popitem(last=False)

    def values(self, now: float) -> Iterator[V]:
        """Yield all that is known."""
        for of_tenant in self._noted.values():
            yield from (noted.value for noted in of_tenant.values() if now < noted.until)
