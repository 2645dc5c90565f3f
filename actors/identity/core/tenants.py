"""Tenants as they are applied and suspended. Pure."""

from collections.abc import Iterable
from datetime import datetime

from schemas.ids import TenantId
from schemas.tenancy import ApplyTenant, ListTenants, Tenant, TenantList
from schemas.versioned import changed


def create(wanted: ApplyTenant, now: datetime, *, version: int) -> Tenant:
    """Return a new tenant."""
    return Tenant(
        id=wanted.id,
        version=version,
        created_at=now,
        updated_at=now,
        name=wanted.name,
        tier=wanted.tier,
    )


def update(standing: Tenant, wanted: ApplyTenant, now: datetime) -> Tenant:
    """Return a tenant as it is to be; whether it is suspended stays."""
    return changed(standing, now, name=wanted.name, tier=wanted.tier)


def unknown(tenant: TenantId, now: datetime) -> Tenant:
    """Stand for a tenant that nobody has applied: there is one as soon as there is a user of it."""
    return Tenant(id=tenant, version=0, created_at=now, updated_at=now)


def page(tenants: Iterable[Tenant], query: ListTenants) -> TenantList:
    """Return a page of tenants by id."""
    after = query.after or ""
    rows = sorted((each for each in tenants if each.id > after), key=lambda each: each.id)
    shown = rows[: query.limit]
    return TenantList(tenants=shown, next=shown[-1].id if len(rows) > len(shown) else None)
