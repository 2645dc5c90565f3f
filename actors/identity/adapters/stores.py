"""The stores of identity, and what a process knows of all that they hold."""

from datetime import datetime
from typing import NamedTuple

from actors.identity.core import members
from actors.identity.core.keys import opened_by
from bus.kv import Follow, Store
from bus.kv.heads import Heads
from schemas.api_keys import PresentedKey
from schemas.identity import Principal
from schemas.tenancy import ApiKey, Tenant, TenantMembers

_MEGABYTE = 1024 * 1024

TENANTS = Store(bucket="tenants", kind=Tenant, max_bytes=64 * _MEGABYTE)
MEMBERS = Store(bucket="members", kind=TenantMembers, max_bytes=128 * _MEGABYTE)
KEYS = Store(bucket="keys", kind=ApiKey, max_bytes=256 * _MEGABYTE)

_EVERY = "*.*"

KNOWN_TENANTS = Follow(
    store=TENANTS,
    pattern=_EVERY,
    make=lambda _process, _config: Heads[Tenant](),
    what="tenants are",
)
KNOWN_MEMBERS = Follow(
    store=MEMBERS,
    pattern=_EVERY,
    make=lambda _process, _config: Heads[TenantMembers](),
    what="members are",
)
KNOWN_KEYS = Follow(
    store=KEYS, pattern=_EVERY, make=lambda _process, _config: Heads[ApiKey](), what="keys are"
)


class Known(NamedTuple):
    """All tenants, members and keys, as this process knows them."""

    tenants: Heads[Tenant]
    members: Heads[TenantMembers]
    keys: Heads[ApiKey]

    def opened_by(self, presented: PresentedKey, now: datetime) -> Principal | str:
        """Return whom a presented key stands for, or why it opens nothing: for the log alone."""
        name = self.keys.tenant_of(presented.id) or ""
        key = self.keys.of(name, presented.id)
        tenant = self.tenants.of(name, name) or (None if key is None else _plain(name, key))
        listed = self.members.of(name, name)
        owner = members.find(listed, key.owner) if key is not None and key.owner else None
        return opened_by(presented, key, owner, tenant, now)


def _plain(name: str, key: ApiKey) -> Tenant:
    """Stand for a tenant of which an operator has said nothing."""
    return Tenant(id=name, version=0, created_at=key.created_at, updated_at=key.created_at)
