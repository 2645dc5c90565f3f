"""Members: who belongs to a tenant, and in which role."""

from collections.abc import Callable

from actors.identity.core import members
from bus.errors import ProblemError
from bus.kv import Kind, VersionedStore
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.problems import Problem
from schemas.tenancy import (
    InviteMember,
    ListMembers,
    Member,
    MemberList,
    RemoveMember,
    SetRole,
    TenantMembers,
)


def _name(listed: TenantMembers) -> str:
    return listed.id


KIND = Kind("list of members", _name)

MemberStore = VersionedStore[TenantMembers, str]

Change = Callable[[TenantMembers], TenantMembers | Problem]


class Members:
    """The members of all tenants. Those of one lie in one value, under the tenant's name."""

    def __init__(self, store: MemberStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @answers(InviteMember)
    async def do_invite(self, caller: Caller, wanted: InviteMember) -> Member:
        """Make somebody a member."""
        now = self._clock()
        listed = await self._changed(caller, lambda each: members.invited(each, wanted, now))
        return _found(listed, wanted.id)

    @answers(SetRole)
    async def do_set_role(self, caller: Caller, wanted: SetRole) -> Member:
        """Give a member another role."""
        now = self._clock()
        listed = await self._changed(
            caller, lambda each: members.promoted(each, wanted.id, wanted.role, now)
        )
        return _found(listed, wanted.id)

    @answers(RemoveMember)
    async def do_remove(self, caller: Caller, wanted: RemoveMember) -> MemberList:
        """Remove a member, and say who is left."""
        now = self._clock()
        listed = await self._changed(caller, lambda each: members.removed(each, wanted.id, now))
        return MemberList(members=listed.members)

    @answers(ListMembers)
    async def do_list(self, caller: Caller, wanted: ListMembers) -> MemberList:
        """List the members of the tenant."""
        del wanted
        return MemberList(members=(await self.of(caller.tenant)).members)

    async def of(self, tenant: str) -> TenantMembers:
        """Return the members of a tenant, none where nobody was invited."""
        try:
            return await self._store.get(tenant, tenant)
        except ProblemError as error:
            if error.problem.code != "not_found":
                raise
            return self._nobody(tenant)

    async def _changed(self, caller: Caller, change: Change) -> TenantMembers:
        tenant = caller.tenant
        return await self._store.apply(
            tenant, tenant, lambda version: change(self._nobody(tenant, version)), change
        )

    def _nobody(self, tenant: str, version: int = 0) -> TenantMembers:
        now = self._clock()
        return TenantMembers(id=tenant, version=version, created_at=now, updated_at=now)


def _found(listed: TenantMembers, name: str) -> Member:
    member = members.find(listed, name)
    if member is None:
        raise ProblemError(members.missing(name))
    return member
