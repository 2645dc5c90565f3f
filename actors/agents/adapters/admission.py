"""Whether a tenant may begin one more execution, by the quotas that the operator has set."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from actors.agents.adapters.lists import Counted
from bus.errors import ProblemError
from bus.fairness import Quotas, exceeded
from bus.tasks import loop_time
from schemas.fleet import QuotaUse
from schemas.problems import Problem

RETRY_SECONDS = 5.0

MOST_DAYS = 90
"""Streams of records and conversations have no older messages."""

PATIENCE_SECONDS = 30.0
"""What was accepted is counted within a second, or the bus was away."""


class Admission:
    """Counts what is known of all executions of the fleet, and those begun here a moment ago.

    Several processes that accept at once may let in a few more than are allowed. ``knows`` says
    whether an execution is there already. Embeddings are in no list: those that somebody waits for
    here are counted here.
    """

    def __init__(self, quotas: Quotas, knows: Callable[[str, str], Awaitable[bool]]) -> None:
        self.quotas = quotas
        self._knows = knows
        self._counted = Counted({}, {})
        self._counted_until = 0.0
        self._begun: dict[str, dict[str, float]] = {}
        self._held: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def kept(self, tenant: str) -> int | None:
        """Return for how many seconds a tenant's executions are stored; None is as long as any."""
        terms = self.quotas.of(tenant)
        days = terms.retention_days
        return None if days >= MOST_DAYS else max(round(days * 86_400), 1)

    def take(self, counted: Counted, until: float) -> None:
        """Take in how much there is of what was accepted ``until`` a moment of the loop's clock."""
        self._counted, self._counted_until = counted, until
        for tenant in list(self._begun):
            self._forget(tenant)

    async def demand(self, tenant: str, execution_id: str) -> None:
        """Refuse a new execution where there are too many; a known one is asked for again.

        Raises:
            ProblemError: ``rate_limited``.
            UnavailableError: it is not known here whether there is such an execution.
        """
        refused = self._refusal(tenant)
        if refused is None or self._is_here(tenant, execution_id):
            return
        if not await self._knows(tenant, execution_id):
            later = msgspec.structs.replace(refused, retryable=True, retry_after=RETRY_SECONDS)
            raise ProblemError(later)

    def begun(self, tenant: str, execution_id: str) -> None:
        """Count an execution that was accepted."""
        self._begun.setdefault(tenant, {})[execution_id] = loop_time()

    def hold(self, tenant: str, execution_id: str) -> None:
        """Count an execution that no list has, until it is released as often as it was held."""
        self._held[tenant][execution_id] += 1

    def release(self, tenant: str, execution_id: str) -> None:
        """Count it no longer."""
        held = self._held[tenant]
        held[execution_id] -= 1
        if not held[execution_id]:
            del held[execution_id]
        if not held:
            del self._held[tenant]

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use."""
        open_, stored = self._counted
        for tenant in dict.fromkeys((*open_, *stored, *self._begun, *self._held)):
            yield self.quotas.use(tenant, "executions", self._open(tenant))
            yield self.quotas.use(tenant, "record_bytes", stored.get(tenant, 0))

    def _refusal(self, tenant: str) -> Problem | None:
        terms = self.quotas.of(tenant)
        running, stored = self._open(tenant) + 1, self._counted.stored.get(tenant, 0)
        if running > terms.executions:
            return exceeded("executions", running, terms.executions, "open executions")
        if stored > terms.record_bytes:
            what = "bytes of records within an hour"
            return exceeded("record_bytes", stored, terms.record_bytes, what)
        return None

    def _open(self, tenant: str) -> int:
        self._forget(tenant)
        here = len(self._begun.get(tenant, ())) + len(self._held.get(tenant, ()))
        return self._counted.open.get(tenant, 0) + here

    def _is_here(self, tenant: str, execution_id: str) -> bool:
        begun, held = self._begun.get(tenant, ()), self._held.get(tenant, ())
        return execution_id in begun or execution_id in held

    def _forget(self, tenant: str) -> None:
        """Count no longer as begun what is counted as open, or was begun so long ago.

        One that was begun twice stands where it was begun first, and may hold up those behind it
        for a moment.
        """
        begun = self._begun.get(tenant)
        if begun is None:
            return
        until = max(self._counted_until, loop_time() - PATIENCE_SECONDS)
        while begun and begun[first := next(iter(begun))] < until:
            del begun[first]
        if not begun:
            del self._begun[tenant]
