"""Members and their roles: a tenant that has an owner keeps one. Pure."""

from datetime import datetime

import msgspec

from schemas.problems import Problem
from schemas.roles import Role
from schemas.tenancy import InviteMember, Member, TenantMembers
from schemas.versioned import changed

MOST_MEMBERS = 1_000

LAST_OWNER = "the tenant would have no owner any more: make somebody else one first"


def find(members: TenantMembers | None, name: str) -> Member | None:
    """Return a member, None if there is none of this id."""
    listed = members.members if members is not None else []
    return next((each for each in listed if each.id == name), None)


def invited(
    standing: TenantMembers, wanted: InviteMember, now: datetime
) -> TenantMembers | Problem:
    """Return the members with one more. Who is one already may get another name, not a role."""
    known = find(standing, wanted.id)
    if known is None and len(standing.members) >= MOST_MEMBERS:
        message = f"a tenant has {MOST_MEMBERS} members at most"
        return Problem(code="rate_limited", message=message, field="id")
    if known is not None and known.role != wanted.role:
        message = f"is a member already, as {known.role}: members.set_role changes that"
        return Problem(code="conflict", message=message, field="role")
    since = known.since if known is not None else now
    member = Member(id=wanted.id, role=wanted.role, name=wanted.name, since=since)
    return _with(standing, member, now)


def promoted(
    standing: TenantMembers, name: str, role: Role, now: datetime
) -> TenantMembers | Problem:
    """Return the members with one in another role; the last owner stays one."""
    known = find(standing, name)
    if known is None:
        return missing(name)
    if role != "OWNER" and _is_last(standing, known):
        return Problem(code="conflict", message=LAST_OWNER, field="role")
    return _with(standing, msgspec.structs.replace(known, role=role), now)


def removed(standing: TenantMembers, name: str, now: datetime) -> TenantMembers | Problem:
    """Return the members without one; the last owner stays."""
    known = find(standing, name)
    if known is None:
        return missing(name)
    if _is_last(standing, known):
        return Problem(code="conflict", message=LAST_OWNER, field="id")
    return changed(standing, now, members=[each for each in standing.members if each is not known])


def missing(name: str, field: str = "id") -> Problem:
    """Refuse what is said of somebody who is no member."""
    return Problem(code="not_found", message=f"there is no member {name}", field=field)


def _with(standing: TenantMembers, member: Member, now: datetime) -> TenantMembers:
    others = [each for each in standing.members if each.id != member.id]
    return changed(standing, now, members=sorted([*others, member], key=lambda each: each.id))


def _is_last(standing: TenantMembers, member: Member) -> bool:
    owners = [each.id for each in standing.members if each.role == "OWNER"]
    return owners == [member.id]
