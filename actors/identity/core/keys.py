"""Keys: who may give which one to whom, how it changes, and what it opens. Pure.

A key never opens more than its maker may do: that is looked at when it is made, and what its owner
may do counts anew at each use. So what somebody has put into a store past these rules opens nothing
that its owner has lost, and a member whose role falls takes his keys along.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from schemas.api_keys import PresentedKey, fits, hash_of
from schemas.identity import Principal
from schemas.problems import Problem
from schemas.roles import Role, actions_of, at_least, is_scope, narrowed
from schemas.tenancy import ApiKey, CreateKey, KeyDetails, KeyList, ListKeys, Member, Tenant
from schemas.versioned import following


def owner_of(maker: Principal, wanted: CreateKey) -> str | Problem | None:
    """Return whose key it is to be, None for the tenant's own."""
    owner = wanted.owner if wanted.owner is not None else maker.user
    if owner != maker.user and "keys:admin" not in maker.actions:
        message = "keys of others take keys:admin"
        return Problem(code="forbidden", message=message, field="owner")
    return owner


def make(
    maker: Principal, wanted: CreateKey, owner: Member | None, key: PresentedKey, now: datetime
) -> ApiKey:
    """Return a new key."""
    return ApiKey(
        id=key.id,
        version=1,
        created_at=now,
        updated_at=now,
        name=wanted.name,
        kind=wanted.kind,
        owner=owner.id if owner else None,
        role=wanted.role,
        scopes=wanted.scopes,
        project=wanted.project if wanted.project is not None else maker.project,
        secrets=[hash_of(key)],
        expires_at=wanted.expires_at,
    )


def refusal(
    maker: Principal, wanted: CreateKey, owner: Member | None, tenant: Tenant, now: datetime
) -> Problem | None:
    """Say why somebody may not give a key, if he may not."""
    for place, scope in enumerate(wanted.scopes):
        if not is_scope(scope):
            message = f"{scope} is no action, nor all of a domain"
            return Problem(code="validation", message=message, field=f"scopes.{place}")
    if wanted.expires_at is not None and wanted.expires_at <= now:
        return Problem(code="validation", message="is over already", field="expires_at")
    if owner is not None and not at_least(owner.role, wanted.role):
        message = f"its owner is {owner.role} only"
        return Problem(code="forbidden", message=message, field="role")
    beyond = narrowed(actions_of(wanted.role, tenant.tier), wanted.scopes) - maker.actions
    if beyond:
        message = f"you may not do yourself what the key would open: {', '.join(sorted(beyond))}"
        return Problem(code="forbidden", message=message, field="scopes")
    if maker.project is not None and wanted.project not in (None, maker.project):
        message = "your own key is of another project"
        return Problem(code="forbidden", message=message, field="project")
    return None


def rotate(
    standing: ApiKey, key: PresentedKey, grace_seconds: int, now: datetime
) -> ApiKey | Problem:
    """Return a key with a new secret; the newest former one is taken for some time more."""
    if standing.revoked_at is not None:
        return Problem(code="conflict", message="it is revoked: make another one", field="id")
    until = now + timedelta(seconds=grace_seconds)
    newest = [each for each in standing.secrets if each.until is None]
    former = [msgspec.structs.replace(each, until=until) for each in newest if grace_seconds]
    return following(standing, now, secrets=[hash_of(key), *former])


def revoke(standing: ApiKey, now: datetime) -> ApiKey:
    """Return a key that opens nothing any more. Once more changes nothing."""
    if standing.revoked_at is not None:
        return standing
    return following(standing, now, revoked_at=now, secrets=[])


def is_own(principal: Principal, key: ApiKey) -> bool:
    """Say whether a key is its own principal's, or that of the member who asks."""
    if principal.key == key.id:
        return True
    return principal.user is not None and principal.user == key.owner


def may_see(principal: Principal, key: ApiKey) -> bool:
    """Say whether somebody may list a key, rotate and revoke it."""
    return "keys:admin" in principal.actions or is_own(principal, key)


# At use


def opened_by(
    presented: PresentedKey,
    key: ApiKey | None,
    owner: Member | None,
    tenant: Tenant | None,
    now: datetime,
) -> Principal | str:
    """Return whom a presented key stands for, or why it opens nothing: for the log alone.

    Where there is no such key its secret is compared all the same, so that the time tells nothing.
    """
    fitting = fits(presented, key.secrets if key is not None else [], now)
    if key is None or tenant is None or key.deleted_at is not None:
        return "unknown"
    if key.revoked_at is not None:
        return "revoked"
    if not fitting or key.kind != presented.kind:
        return "wrong secret"
    if key.expires_at is not None and now >= key.expires_at:
        return "expired"
    if tenant.suspended or tenant.deleted_at is not None:
        return "tenant suspended"
    role = _role(key, owner)
    if role is None:
        return "its owner is no member any more"
    return Principal(
        tenant=tenant.id,
        actions=narrowed(actions_of(role, tenant.tier), key.scopes),
        user=key.owner,
        project=key.project,
        key=key.id,
    )


def _role(key: ApiKey, owner: Member | None) -> Role | None:
    """Return the role in which a key acts: its own, and no higher than that of its owner now."""
    if key.owner is None:
        return key.role
    if owner is None:
        return None
    return key.role if at_least(owner.role, key.role) else owner.role


# Shown


def shown(key: ApiKey) -> KeyDetails:
    """Return what is told of a key."""
    return KeyDetails(
        id=key.id,
        version=key.version,
        name=key.name,
        kind=key.kind,
        owner=key.owner,
        role=key.role,
        scopes=key.scopes,
        project=key.project,
        last=key.secrets[0].last if key.secrets else "",
        created_at=key.created_at,
        updated_at=key.updated_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


def page(keys: Iterable[ApiKey], query: ListKeys, principal: Principal) -> KeyList:
    """Return a page of those keys that somebody may see, the newest first."""
    seen = [key for key in keys if may_see(principal, key)]
    rows = sorted(seen, key=_place, reverse=True)
    rest = [key for key in rows if query.after is None or _place(key) < query.after]
    page_ = rest[: query.limit]
    following_ = _place(page_[-1]) if len(rest) > len(page_) else None
    return KeyList(keys=[shown(key) for key in page_], next=following_)


def _place(key: ApiKey) -> str:
    return f"{key.created_at.isoformat()} {key.id}"
