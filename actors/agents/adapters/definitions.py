"""The store of definitions: commands and reads, over a bucket and what is seen by watching it."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager

import structlog

from actors.agents.adapters.versions import EVERYTHING, HEADS, Change, Versions
from actors.agents.core import definitions
from actors.agents.core.roster import Roster
from actors.agents.core.stock import Plan, Stock
from bus.codec import encode
from bus.config import Config
from bus.errors import FencedError, ProblemError, UnavailableError, problem
from bus.fairness import Quotas, exceeded
from bus.kv import Bucket, Entry, Watch
from bus.ports import Clock
from schemas.agents import (
    AgentDefinition,
    AgentSummary,
    ApplyAgent,
    CreateAgent,
    DeleteAgent,
    GetAgent,
    ToggleAgent,
    UpdateAgent,
)
from schemas.fleet import QuotaUse
from schemas.problems import Problem

log = structlog.get_logger()

CATCH_UP_SECONDS = 2.0


class Definitions:
    """The agents of all tenants. Made by ``opened``.

    ``executable`` and ``rows`` answer from memory, everything else from the bucket. What one
    process has stored and answered, every process sees: ``get`` and all changes read the bucket,
    ``rows`` catches up first, and ``executable`` never refuses from memory alone; but it may run a
    version that was replaced a moment ago, as long as the watch lags behind.

    When the bucket does not answer, reads raise ``UnavailableError`` at once and changes, which try
    again, ``DeadlineError`` in the end. All raise ``ProblemError`` ``validation`` for a tenant or
    an id that is not one.
    """

    def __init__(
        self,
        versions: Versions,
        roster: Roster,
        stock: Stock,
        watch: Watch,
        clock: Clock,
        quotas: Quotas,
    ) -> None:
        self._versions = versions
        self._roster = roster
        self._stock = stock
        self._watch = watch
        self._clock = clock
        self._quotas = quotas

    async def create(self, tenant: str, wanted: CreateAgent) -> AgentDefinition:
        """Store a new agent; ``conflict`` if it stands already."""

        def change(standing: AgentDefinition | None) -> AgentDefinition | Problem:
            if standing is not None and standing.deleted_at is None:
                return Problem(code="conflict", message="the agent stands already", field="id")
            return definitions.apply(standing, wanted, self._clock())

        return await self._replace(tenant, wanted.id, change)

    async def apply(self, tenant: str, wanted: ApplyAgent) -> AgentDefinition:
        """Store a new agent, or change the one that stands."""
        return await self._replace(
            tenant, wanted.id, lambda standing: definitions.apply(standing, wanted, self._clock())
        )

    async def update(self, tenant: str, wanted: UpdateAgent) -> AgentDefinition:
        """Change an agent; ``not_found``, or ``conflict`` with the version that was expected."""
        return await self._change_standing(
            tenant, wanted.id, lambda standing: definitions.update(standing, wanted, self._clock())
        )

    async def delete(self, tenant: str, wanted: DeleteAgent) -> AgentDefinition:
        """Delete an agent softly; ``not_found`` if it never was. Once more changes nothing."""

        def change(standing: AgentDefinition | None) -> AgentDefinition | Problem:
            if standing is None:
                return _not_found(wanted.id)
            return definitions.soft_delete(standing, self._clock())

        return await self._replace(tenant, wanted.id, change, is_bounded=False)

    async def toggle(self, tenant: str, wanted: ToggleAgent) -> AgentDefinition:
        """Take an agent ``OFFLINE`` or back to ``IDLE``; ``not_found``."""
        return await self._change_standing(
            tenant,
            wanted.id,
            lambda standing: definitions.toggle(standing, wanted.status, self._clock()),
        )

    async def get(self, tenant: str, wanted: GetAgent) -> AgentDefinition:
        """Read an agent, or one version of it, which outlives its deletion; ``not_found``."""
        head = await self._versions.head(tenant, wanted.id)
        if head is None:
            raise ProblemError(_not_found(wanted.id))
        self._roster.keep(tenant, head.value, head.revision)
        if wanted.version is None and head.value.deleted_at is not None:
            raise ProblemError(_not_found(wanted.id))
        if wanted.version in (None, head.value.version):
            return head.value
        earlier = await self._versions.archived(tenant, wanted.id, wanted.version)
        if earlier is None:
            kept = self._quotas.of(tenant).versions
            message = f"there is no version {wanted.version}; the newest {kept} are kept"
            raise problem("not_found", message, field="version")
        return earlier

    async def executable(self, tenant: str, agent_id: str) -> AgentDefinition:
        """Return the definition to run now; ``not_found``, or ``conflict`` if it is ``OFFLINE``."""
        known = self._roster.find(tenant, agent_id) if self._watch.fresh else None
        if known is not None and definitions.refusal(known) is None:
            return known
        head = await self._versions.head(tenant, agent_id)
        if head is None:
            raise problem("not_found", f"there is no agent {agent_id}", field="agent_id")
        self._roster.keep(tenant, head.value, head.revision)
        refused = definitions.refusal(head.value)
        if refused is not None:
            raise ProblemError(refused)
        return head.value

    async def rows(self, tenant: str) -> list[AgentSummary]:
        """Return a row for each agent of a tenant that is not deleted, in no order."""
        await self._watch.catch_up(timeout=CATCH_UP_SECONDS)
        return self._roster.rows(tenant)

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use: agents that are not deleted, and bytes of all versions."""
        for tenant in self._stock.tenants:
            yield self._quotas.use(tenant, "agents", len(self._roster.rows(tenant)))
            yield self._quotas.use(tenant, "definition_bytes", self._stock.bytes_of(tenant))

    async def _replace(
        self, tenant: str, agent_id: str, change: Change, *, is_bounded: bool = True
    ) -> AgentDefinition:
        """Store what ``change`` makes of the newest version; it is ``is_bounded`` by the quotas.

        Versions that are too many by then are dropped. Several processes that do that at once may
        store a little more than is allowed.
        """
        plan: list[Plan] = []

        def within(standing: AgentDefinition | None) -> AgentDefinition | Problem:
            wanted = change(standing)
            if isinstance(wanted, Problem) or wanted is standing:
                return wanted
            plan[:] = [self._plan(tenant, wanted)]
            refused = self._refusal(tenant, standing, plan[0].used) if is_bounded else None
            return refused or wanted

        entry = await self._versions.replace(tenant, agent_id, within)
        self._roster.keep(tenant, entry.value, entry.revision)
        for version in plan[0].drop if plan else ():
            await self._drop(tenant, agent_id, version)
        return entry.value

    def _plan(self, tenant: str, wanted: AgentDefinition) -> Plan:
        terms, size = self._quotas.of(tenant), len(encode(wanted))
        return self._stock.plan(
            tenant,
            wanted.id,
            size,
            versions=terms.versions,
            most_bytes=terms.definition_bytes,
        )

    def _refusal(self, tenant: str, standing: AgentDefinition | None, used: int) -> Problem | None:
        terms = self._quotas.of(tenant)
        agents = len(self._roster.rows(tenant)) + 1
        is_new = standing is None or standing.deleted_at is not None
        if is_new and agents > terms.agents:
            return exceeded("agents", agents, terms.agents, "agents")
        if used > terms.definition_bytes:
            what = "bytes of definitions"
            return exceeded("definition_bytes", used, terms.definition_bytes, what)
        return None

    async def _drop(self, tenant: str, agent_id: str, version: int) -> None:
        """Forget a version. What cannot be forgotten now is so with the next change."""
        try:
            await self._versions.drop(tenant, agent_id, version)
        except (FencedError, UnavailableError) as error:
            log.info("definitions.version_not_dropped", agent=agent_id, error=str(error))

    async def _change_standing(
        self,
        tenant: str,
        agent_id: str,
        change: Callable[[AgentDefinition], AgentDefinition | Problem],
    ) -> AgentDefinition:
        def change_standing(standing: AgentDefinition | None) -> AgentDefinition | Problem:
            if standing is None or standing.deleted_at is not None:
                return _not_found(agent_id)
            return change(standing)

        return await self._replace(tenant, agent_id, change_standing)


@asynccontextmanager
async def opened(
    bucket: Bucket[AgentDefinition], clock: Clock, quotas: Quotas | None = None
) -> AsyncGenerator[Definitions]:
    """Open the store: while the context is open, the bucket is watched."""
    roster, stock, terms = Roster(), Stock(), quotas or Quotas.load(Config())
    async with (
        bucket.watch(HEADS, _Feed(roster)) as watch,
        bucket.watch_sizes(EVERYTHING, _Scales(stock)),
    ):
        yield Definitions(Versions(bucket), roster, stock, watch, clock, terms)


class _Feed:
    """Tells the roster what the watch sees."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def changed(self, entry: Entry[AgentDefinition]) -> None:
        tenant, _ = entry.key.split(".")
        self._roster.keep(tenant, entry.value, entry.revision)

    def removed(self, key: str, revision: int) -> None:
        tenant, agent_id = key.split(".")
        self._roster.drop(tenant, agent_id, revision)

    def cleared(self) -> None:
        self._roster.clear()


class _Scales:
    """Tells the stock how large what is stored is."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    def changed(self, entry: Entry[int]) -> None:
        self._stock.note(entry.key, entry.value)

    def removed(self, key: str, revision: int) -> None:
        del revision
        self._stock.note(key, 0)

    def cleared(self) -> None:
        self._stock.clear()


def _not_found(agent_id: str) -> Problem:
    return Problem(code="not_found", message=f"there is no agent {agent_id}", field="id")
