"""What a process has taken in and not answered yet, counted and in bytes, by tenant. Pure."""

from collections.abc import Iterator

from bus.fairness.quotas import Quotas
from schemas.fleet import QuotaUse
from schemas.problems import Problem

MOST_REQUESTS = 16_384
"""Requests that a process has taken and not answered, of all tenants together."""

MOST_BYTES = 128 * 1024**2
"""Their bytes. Decoded, encoded and on their way they may take several times as much memory."""

RETRY_SECONDS = 1.0


class InFlight:
    """Counts requests from their arrival to their answer."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._tenants: dict[str, tuple[int, int]] = {}
        self.requests = 0
        self.bytes = 0

    def of(self, tenant: str) -> tuple[int, int]:
        """Return how many requests of a tenant are under way, and their bytes."""
        return self._tenants.get(tenant, (0, 0))

    @property
    def tenants(self) -> list[str]:
        """Those of whom requests are under way."""
        return list(self._tenants)

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use."""
        for tenant, (requests, held) in list(self._tenants.items()):
            yield self._quotas.use(tenant, "requests", requests)
            yield self._quotas.use(tenant, "request_bytes", held)

    def take(self, tenant: str, size: int) -> Problem | None:
        """Count a request of ``size`` bytes, or say why it is refused."""
        refused = self.refusal(tenant, size)
        if refused is None:
            requests, held = self._tenants.get(tenant, (0, 0))
            self._tenants[tenant] = requests + 1, held + size
            self.requests += 1
            self.bytes += size
        return refused

    def release(self, tenant: str, size: int) -> None:
        """Count a request no more: it is answered."""
        requests, held = self._tenants[tenant]
        if requests > 1:
            self._tenants[tenant] = requests - 1, held - size
        else:
            del self._tenants[tenant]
        self.requests -= 1
        self.bytes -= size

    def refusal(self, tenant: str, size: int) -> Problem | None:
        """Say why a request of so many bytes would be refused now."""
        terms, (requests, held) = self._quotas.of(tenant), self._tenants.get(tenant, (0, 0))
        if requests >= terms.requests:
            return _refused("requests", requests, terms.requests)
        # One request may always be under way, however large: its own bound is another.
        if requests and held + size > terms.request_bytes:
            return _refused("request_bytes", held + size, terms.request_bytes)
        if self.requests >= MOST_REQUESTS:
            return _full(f"{self.requests} requests are", self.requests, MOST_REQUESTS)
        if self.requests and self.bytes + size > MOST_BYTES:
            return _full(f"{self.bytes} bytes of requests are", self.bytes + size, MOST_BYTES)
        return None


def _refused(quota: str, used: int, allowed: int) -> Problem:
    what = "requests" if quota == "requests" else "bytes of requests"
    return Problem(
        code="rate_limited",
        message=f"{used} {what} of this tenant would be under way here, {allowed} are allowed",
        field=quota,
        retryable=True,
        retry_after=RETRY_SECONDS,
        details={"quota": quota, "used": used, "allowed": allowed},
    )


def _full(what: str, used: int, allowed: int) -> Problem:
    return Problem(
        code="unavailable",
        message=f"{what} under way in this process, {allowed} are the most",
        retryable=True,
        retry_after=RETRY_SECONDS,
        details={"used": used, "allowed": allowed},
    )
