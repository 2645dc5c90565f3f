"""What a process has taken in and not answered yet, counted and in bytes, by tenant. Pure."""

from collections.abc import Iterator

from bus.fairness.quotas import Quotas, QuotaTerms
from schemas.fleet import QuotaUse
from schemas.problems import Problem

MOST_REQUESTS = 16_384
"""Requests that a process has taken and not answered, of all tenants together."""

MOST_BYTES = 128 * 1024**2
"""Their bytes. Decoded, encoded and on their way they may take several times as much memory."""

RETRY_SECONDS = 1.0


class _Held:
    """What one tenant has under way, and its terms while it has anything."""

    __slots__ = ("bytes", "requests", "terms")

    def __init__(self, terms: QuotaTerms) -> None:
        self.terms = terms
        self.requests = self.bytes = 0


class InFlight:
    """Counts requests from their arrival to their answer."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._tenants: dict[str, _Held] = {}
        self.requests = 0
        self.bytes = 0

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use."""
        for tenant, held in list(self._tenants.items()):
            yield self._quotas.use(tenant, "requests", held.requests)
            yield self._quotas.use(tenant, "request_bytes", held.bytes)

    def take(self, tenant: str, size: int) -> Problem | None:
        """Count a request of ``size`` bytes, or say why it is refused."""
        held = self._tenants.get(tenant) or _Held(self._quotas.of(tenant))
        refused = self._refusal(held, size)
        if refused is None:
            if not held.requests:
                self._tenants[tenant] = held
            held.requests += 1
            held.bytes += size
            self.requests += 1
            self.bytes += size
        return refused

    def refusal(self, tenant: str, size: int) -> Problem | None:
        """Say why a request of so many bytes would be refused now."""
        return self._refusal(self._tenants.get(tenant) or _Held(self._quotas.of(tenant)), size)

    def release(self, tenant: str, size: int) -> None:
        """Count a request no more: it is answered."""
        held = self._tenants[tenant]
        held.requests -= 1
        held.bytes -= size
        if not held.requests:
            del self._tenants[tenant]
        self.requests -= 1
        self.bytes -= size

    def _refusal(self, held: _Held, size: int) -> Problem | None:
        terms, requests = held.terms, held.requests
        if requests >= terms.requests:
            return _refused("requests", requests, terms.requests)
        # One request may always be under way, however large: its own bound is another.
        if requests and held.bytes + size > terms.request_bytes:
            return _refused("request_bytes", held.bytes + size, terms.request_bytes)
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
