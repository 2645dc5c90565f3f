"""A store of what users define: versions, compare-and-set, watch, soft delete, quotas.

What one process has stored and answered, every process sees: ``get`` and all changes read the
bucket, ``rows`` catches up first, and ``usable`` never refuses from memory alone; but it may return
a version that was replaced a moment ago, as long as the watch lags behind.

When the bucket does not answer, reads raise ``UnavailableError`` at once and changes, which try
again, ``DeadlineError`` in the end. All raise ``ProblemError`` ``validation`` for a tenant or an id
that is not one.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Generic, NamedTuple

import structlog

from bus.codec import encode
from bus.errors import FencedError, ProblemError, UnavailableError, problem
from bus.fairness import Quotas, exceeded
from bus.kv.bucket import Bucket, BucketWatch
from bus.kv.roster import R, Roster
from bus.kv.stock import Stock, StockPlan
from bus.kv.versions import EVERYTHING, HEADS, Change, Versions
from schemas.fleet import QuotaUse
from schemas.problems import Problem
from schemas.versioned import V, applied, deleted

log = structlog.get_logger()

CATCH_UP_SECONDS = 2.0

COUNTED = "agents"
"""The quota of how many values of one kind a tenant may have."""


class Kind(NamedTuple, Generic[V, R]):
    """What is stored: its ``noun`` in texts (``agent``), and what its row in a list shows."""

    noun: str
    row: Callable[[V], R]

    def missing(self, name: str, field: str = "id") -> Problem:
        """Return the refusal of a name under which nothing stands."""
        return Problem(code="not_found", message=f"there is no {self.noun} {name}", field=field)


class VersionedStore(Generic[V, R]):
    """The values of one kind of all tenants. Made by ``opened``."""

    def __init__(
        self,
        kind: Kind[V, R],
        versions: Versions[V],
        roster: Roster[V, R],
        stock: Stock,
        watch: BucketWatch,
        quotas: Quotas,
    ) -> None:
        self._kind = kind
        self._versions = versions
        self._roster = roster
        self._stock = stock
        self._watch = watch
        self._quotas = quotas

    async def create(self, tenant: str, name: str, make: Callable[[int], V | Problem]) -> V:
        """Store what ``make`` returns for its version number; ``conflict`` if it stands already."""

        def refuse(_: V) -> Problem:
            message = f"the {self._kind.noun} stands already"
            return Problem(code="conflict", message=message, field="id")

        return await self.apply(tenant, name, make, refuse)

    async def apply(
        self,
        tenant: str,
        name: str,
        make: Callable[[int], V | Problem],
        change: Callable[[V], V | Problem],
    ) -> V:
        """Store a new value, or what ``change`` makes of the one that stands."""
        return await self._replace(tenant, name, lambda head: applied(head, make, change))

    async def change(self, tenant: str, name: str, change: Callable[[V], V | Problem]) -> V:
        """Change the value that stands; ``not_found``."""
        missing = self._kind.missing(name)
        return await self.apply(tenant, name, lambda _: missing, change)

    async def delete(self, tenant: str, name: str, now: datetime) -> V:
        """Delete a value softly; ``not_found`` if it never was. Once more changes nothing."""

        def change(head: V | None) -> V | Problem:
            return self._kind.missing(name) if head is None else deleted(head, now)

        return await self._replace(tenant, name, change, is_bounded=False)

    async def get(self, tenant: str, name: str, version: int | None = None) -> V:
        """Read a value, or one version of it, which outlives its deletion; ``not_found``."""
        head = await self._head(tenant, name)
        if head is None or (version is None and head.deleted_at is not None):
            raise ProblemError(self._kind.missing(name))
        if version in (None, head.version):
            return head
        earlier = await self._versions.archived(tenant, name, version)
        if earlier is None:
            kept = self._quotas.of(tenant).versions
            message = f"there is no version {version}; the newest {kept} are kept"
            raise problem("not_found", message, field="version")
        return earlier

    async def usable(
        self, tenant: str, name: str, field: str, refusal: Callable[[V], Problem | None]
    ) -> V:
        """Return the value to use now; raises what ``refusal`` says of it, or ``not_found``.

        ``field`` is where the request names it.
        """
        known = self._roster.find(tenant, name) if self._watch.fresh else None
        if known is not None and known.deleted_at is None and refusal(known) is None:
            return known
        head = await self._head(tenant, name)
        if head is None or head.deleted_at is not None:
            raise ProblemError(self._kind.missing(name, field))
        refused = refusal(head)
        if refused is not None:
            raise ProblemError(refused)
        return head

    async def rows(self, tenant: str) -> list[R]:
        """Return a row for each value of a tenant that is not deleted, in no order."""
        await self._watch.catch_up(timeout=CATCH_UP_SECONDS)
        return self._roster.rows(tenant)

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use: values that are not deleted, and bytes of all versions."""
        for tenant in self._stock.tenants:
            yield self._quotas.use(tenant, COUNTED, len(self._roster.rows(tenant)))
            yield self._quotas.use(tenant, "definition_bytes", self._stock.bytes_of(tenant))

    async def _head(self, tenant: str, name: str) -> V | None:
        head = await self._versions.head(tenant, name)
        if head is None:
            return None
        self._roster.keep(tenant, head.value, head.revision)
        return head.value

    async def _replace(
        self, tenant: str, name: str, change: Change[V], *, is_bounded: bool = True
    ) -> V:
        """Store what ``change`` makes of the newest version; it is ``is_bounded`` by the quotas.

        Versions that are too many by then are dropped. Several processes that do that at once may
        store a little more than is allowed.
        """
        plan: list[StockPlan] = []

        def within(head: V | None) -> V | Problem:
            wanted = change(head)
            if isinstance(wanted, Problem) or wanted is head:
                return wanted
            plan[:] = [self._plan(tenant, wanted)]
            refused = self._refusal(tenant, head, plan[0].used) if is_bounded else None
            return refused or wanted

        entry = await self._versions.replace(tenant, name, within)
        self._roster.keep(tenant, entry.value, entry.revision)
        for version in plan[0].drop if plan else ():
            await self._drop(tenant, name, version)
        return entry.value

    def _plan(self, tenant: str, wanted: V) -> StockPlan:
        terms, size = self._quotas.of(tenant), len(encode(wanted))
        most = terms.definition_bytes
        return self._stock.plan(tenant, wanted.id, size, versions=terms.versions, most_bytes=most)

    def _refusal(self, tenant: str, head: V | None, used: int) -> Problem | None:
        terms = self._quotas.of(tenant)
        count = len(self._roster.rows(tenant)) + 1
        is_new = head is None or head.deleted_at is not None
        if is_new and count > terms.agents:
            return exceeded(COUNTED, count, terms.agents, f"{self._kind.noun}s")
        if used > terms.definition_bytes:
            what = "bytes of definitions"
            return exceeded("definition_bytes", used, terms.definition_bytes, what)
        return None

    async def _drop(self, tenant: str, name: str, version: int) -> None:
        """Forget a version. What cannot be forgotten now is so with the next change."""
        try:
            await self._versions.drop(tenant, name, version)
        except (FencedError, UnavailableError) as error:
            log.info("versions.version_not_dropped", id=name, error=str(error))


@asynccontextmanager
async def opened(
    kind: Kind[V, R], bucket: Bucket[V], quotas: Quotas
) -> AsyncGenerator[VersionedStore[V, R]]:
    """Open a store: while the context is open, the bucket is watched."""
    roster, stock = Roster(kind.row), Stock()
    async with (
        bucket.watch(HEADS, roster) as watch,
        bucket.watch_sizes(EVERYTHING, stock),
    ):
        yield VersionedStore(kind, Versions(bucket), roster, stock, watch, quotas)
