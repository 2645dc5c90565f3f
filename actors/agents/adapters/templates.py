"""The store of templates, and the requests about them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors.agents.core import templates
from bus.fairness import Quotas
from bus.kv import Bucket, Kind, Store, VersionedStore
from bus.kv.versioned import opened as opened_store
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.templates import (
    AgentTemplate,
    ApplyTemplate,
    DeleteTemplate,
    GetTemplate,
    ListTemplates,
    TemplateList,
    TemplateSummary,
)

TEMPLATES = Store(bucket="agent_templates", kind=AgentTemplate, max_bytes=256 * 1024 * 1024)

KIND = Kind("template", templates.summary)


class Templates:
    """The templates of all tenants. Made by ``opened``; raises as ``bus.kv.versioned`` says."""

    def __init__(self, store: VersionedStore[AgentTemplate, TemplateSummary], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def read(self, tenant: str, name: str, version: int | None) -> AgentTemplate:
        """Read a template that an agent is to be made of; ``not_found``."""
        return await self._store.get(tenant, name, version)

    @answers(ApplyTemplate)
    async def apply(self, caller: Caller, wanted: ApplyTemplate) -> AgentTemplate:
        """Create a template, or replace the one that stands."""
        return await self._store.apply(
            caller.tenant,
            wanted.id,
            lambda version: templates.create(wanted, self._clock(), version=version),
            lambda standing: templates.update(standing, wanted, self._clock()),
        )

    @answers(GetTemplate)
    async def get(self, caller: Caller, wanted: GetTemplate) -> AgentTemplate:
        """Read a template, or one version of it."""
        return await self._store.get(caller.tenant, wanted.id, wanted.version)

    @answers(ListTemplates)
    async def list(self, caller: Caller, query: ListTemplates) -> TemplateList:
        """List templates."""
        return templates.page(await self._store.rows(caller.tenant), query)

    @answers(DeleteTemplate)
    async def delete(self, caller: Caller, wanted: DeleteTemplate) -> AgentTemplate:
        """Delete a template softly."""
        return await self._store.delete(caller.tenant, wanted.id, self._clock())


@asynccontextmanager
async def opened(
    bucket: Bucket[AgentTemplate], clock: Clock, quotas: Quotas
) -> AsyncGenerator[Templates]:
    """Open the store: while the context is open, the bucket is watched."""
    async with opened_store(KIND, bucket, quotas) as store:
        yield Templates(store, clock)
