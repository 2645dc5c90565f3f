"""The store of agents: commands and reads, in the words of the contract."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from actors.agents.adapters.templates import Templates
from actors.agents.core import definitions
from actors.agents.core.listing import summary
from actors.agents.core.templates import agent_of, use_of
from bus.errors import ProblemError, problem
from bus.fairness import Quotas
from bus.kv import Bucket, Kind, VersionedStore
from bus.kv.versioned import opened as opened_store
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
from schemas.templates import AgentTemplate

T = TypeVar("T")

KIND = Kind("agent", summary)

Update = Callable[[AgentDefinition], AgentDefinition | Problem]


class Definitions:
    """The agents of all tenants. Made by ``opened``; raises as ``bus.kv.versioned`` says."""

    def __init__(
        self,
        store: VersionedStore[AgentDefinition, AgentSummary],
        templates: Templates,
        clock: Clock,
    ) -> None:
        self._store = store
        self._templates = templates
        self._clock = clock

    async def create(self, tenant: str, wanted: CreateAgent) -> AgentDefinition:
        """Store a new agent, of a template if one is named; ``conflict`` if it stands already."""
        use = None
        if wanted.template is not None:
            template = await self._template(tenant, wanted.template, wanted.template_version)
            wanted, use = demanded(agent_of(template, wanted)), use_of(template)
        elif wanted.values or wanted.template_version is not None:
            raise problem("validation", "name the template that is meant", field="template")
        name = demanded(definitions.id_of(wanted))

        def make(version: int) -> AgentDefinition | Problem:
            return definitions.create(name, wanted, self._clock(), version=version, template=use)

        return await self._store.create(tenant, name, make)

    async def apply(self, tenant: str, wanted: ApplyAgent) -> AgentDefinition:
        """Store a new agent, or change the one that stands."""

        def make(version: int) -> AgentDefinition | Problem:
            return definitions.create(wanted.id, wanted, self._clock(), version=version)

        return await self._store.apply(tenant, wanted.id, make, self._updating(wanted))

    async def update(self, tenant: str, wanted: UpdateAgent) -> AgentDefinition:
        """Change an agent; ``not_found``, or ``conflict`` with the version that was expected."""
        return await self._store.change(tenant, wanted.id, self._updating(wanted))

    async def delete(self, tenant: str, wanted: DeleteAgent) -> AgentDefinition:
        """Delete an agent softly; ``not_found`` if it never was. Once more changes nothing."""
        return await self._store.delete(tenant, wanted.id, self._clock())

    async def toggle(self, tenant: str, wanted: ToggleAgent) -> AgentDefinition:
        """Take an agent ``OFFLINE`` or back to ``IDLE``; ``not_found``."""
        return await self._store.change(
            tenant,
            wanted.id,
            lambda standing: definitions.toggle(standing, wanted.status, self._clock()),
        )

    async def get(self, tenant: str, wanted: GetAgent) -> AgentDefinition:
        """Read an agent, or one version of it, which outlives its deletion; ``not_found``."""
        return await self._store.get(tenant, wanted.id, wanted.version)

    async def executable(self, tenant: str, agent_id: str) -> AgentDefinition:
        """Return the definition to run now; ``not_found``, or ``conflict`` if it is ``OFFLINE``."""
        return await self._store.usable(tenant, agent_id, "agent_id", definitions.refusal)

    async def rows(self, tenant: str) -> list[AgentSummary]:
        """Return a row for each agent of a tenant that is not deleted, in no order."""
        return await self._store.rows(tenant)

    def uses(self) -> Iterator[QuotaUse]:
        """Yield what the tenants use of their quotas."""
        return self._store.uses()

    async def _template(self, tenant: str, name: str, version: int | None) -> AgentTemplate:
        try:
            return await self._templates.read(tenant, name, version)
        except ProblemError as error:
            found = error.problem
            field = "template_version" if found.field == "version" else "template"
            raise ProblemError(msgspec.structs.replace(found, field=field)) from None

    def _updating(self, wanted: ApplyAgent | UpdateAgent) -> Update:
        return lambda standing: definitions.update(standing, wanted, self._clock())


def demanded(outcome: T | Problem) -> T:
    """Return an outcome, or raise the problem that it is."""
    if isinstance(outcome, Problem):
        raise ProblemError(outcome)
    return outcome


@asynccontextmanager
async def opened(
    bucket: Bucket[AgentDefinition],
    templates: Templates,
    clock: Clock,
    quotas: Quotas,
) -> AsyncGenerator[Definitions]:
    """Open the store: while the context is open, the bucket is watched."""
    async with opened_store(KIND, bucket, quotas) as store:
        yield Definitions(store, templates, clock)
