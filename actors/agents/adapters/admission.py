"""Whether a tenant may begin one more execution, by the quotas that the operator has set."""

from collections.abc import Iterator

import msgspec

from actors.agents.core.index import ExecutionIndex
from bus.errors import ProblemError
from bus.fairness import Quotas, exceeded
from bus.ports import Clock
from schemas.fleet import QuotaUse

RETRY_SECONDS = 5.0


class Admission:
    """Counts what is known of all executions of the fleet, and those begun here a moment ago.

    Several processes that accept at once may let in a few more than are allowed.
    """

    def __init__(self, index: ExecutionIndex, quotas: Quotas, clock: Clock) -> None:
        self._index = index
        self._quotas = quotas
        self._clock = clock

    def demand(self, tenant: str, execution_id: str) -> None:
        """Refuse a new execution where there are too many; a known one is asked for again.

        Raises:
            ProblemError: ``rate_limited``.
        """
        now, terms = self._clock(), self._quotas.of(tenant)
        running = self._index.open(tenant, now) + 1
        stored = self._index.stored_lately(tenant, now)
        refused = None
        if running > terms.executions:
            refused = exceeded("executions", running, terms.executions, "open executions")
        elif stored > terms.record_bytes:
            what = "bytes of records within an hour"
            refused = exceeded("record_bytes", stored, terms.record_bytes, what)
        if refused is not None and not self._index.knows(tenant, execution_id):
            later = msgspec.structs.replace(refused, retryable=True, retry_after=RETRY_SECONDS)
            raise ProblemError(later)

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use."""
        now = self._clock()
        for tenant in self._index.tenants:
            yield self._quotas.use(tenant, "executions", self._index.open(tenant, now))
            stored = self._index.stored_lately(tenant, now)
            yield self._quotas.use(tenant, "record_bytes", stored)

    def begun(self, tenant: str, execution_id: str) -> None:
        """Count an execution that was accepted."""
        self._index.begun(tenant, execution_id, self._clock())
