"""Tenants: what operators say of them."""

from actors.identity.core import tenants
from bus.errors import ProblemError
from bus.kv import Kind, VersionedStore
from bus.kv.heads import Heads
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.tenancy import (
    ApplyTenant,
    GetTenant,
    ListTenants,
    SuspendTenant,
    Tenant,
    TenantList,
)
from schemas.versioned import changed


def _name(tenant: Tenant) -> str:
    return tenant.id


KIND = Kind("tenant", _name)

TenantStore = VersionedStore[Tenant, str]


class Tenants:
    """The tenants of the fleet. Each lies under its own name."""

    def __init__(self, store: TenantStore, known: Heads[Tenant], clock: Clock) -> None:
        self._store = store
        self._known = known
        self._clock = clock

    @answers(ApplyTenant)
    async def do_apply(self, caller: Caller, wanted: ApplyTenant) -> Tenant:
        """Create a tenant, or change the one that stands."""
        del caller
        now = self._clock()
        return await self._store.apply(
            wanted.id,
            wanted.id,
            lambda version: tenants.create(wanted, now, version=version),
            lambda standing: tenants.update(standing, wanted, now),
        )

    @answers(SuspendTenant)
    async def do_suspend(self, caller: Caller, wanted: SuspendTenant) -> Tenant:
        """Let a tenant in nowhere, or let it in again."""
        del caller
        now = self._clock()
        return await self._store.change(
            wanted.id, wanted.id, lambda each: changed(each, now, suspended=wanted.suspended)
        )

    @answers(GetTenant)
    async def do_get(self, caller: Caller, wanted: GetTenant) -> Tenant:
        """Read the tenant that asks."""
        del wanted
        return await self.of(caller.tenant)

    @answers(ListTenants)
    async def do_list(self, caller: Caller, wanted: ListTenants) -> TenantList:
        """List all tenants."""
        del caller
        return tenants.page(self._known.values(), wanted)

    async def of(self, tenant: str) -> Tenant:
        """Return what is said of a tenant, or what holds where nobody has said anything."""
        try:
            return await self._store.get(tenant, tenant)
        except ProblemError as error:
            if error.problem.code != "not_found":
                raise
            return tenants.unknown(tenant, self._clock())
