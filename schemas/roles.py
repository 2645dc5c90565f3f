"""Roles and tiers: who of a tenant may do what, as one table. Pure.

Whatever lets somebody do something derives from ``LEAST``: requests, faces, users of nats-server.
A role holds all that lesser roles hold, and so does a tier. Sources: the AI hub's ``canAccess`` and
``canManage``, its tiers FREE to ENTERPRISE, and its platform role SUPER_ADMIN.
"""

from collections.abc import Iterable
from functools import cache
from typing import Literal, NamedTuple, get_args

from schemas.identity import ACTIONS

Role = Literal["VIEWER", "MEMBER", "ADMIN", "OWNER"]
"""Of a member within a tenant, the least first."""

Tier = Literal["FREE", "STARTER", "GROWTH", "ELITE", "ENTERPRISE"]
"""What a tenant has subscribed to, the least first."""

ROLES: tuple[Role, ...] = get_args(Role)
TIERS: tuple[Tier, ...] = get_args(Tier)


class Least(NamedTuple):
    """The least role and tier that an action takes."""

    role: Role
    tier: Tier = "GROWTH"


LEAST: dict[str, Least] = {
    "agents:read": Least("VIEWER"),
    "executions:read": Least("VIEWER"),
    "costs:read": Least("VIEWER"),
    "budgets:read": Least("VIEWER"),
    "prices:read": Least("VIEWER"),
    "tools:read": Least("VIEWER"),
    "executions:content": Least("MEMBER"),
    "executions:write": Least("MEMBER"),
    "executions:approve": Least("MEMBER"),
    "tools:use": Least("MEMBER"),
    "keys:own": Least("MEMBER"),
    "agents:write": Least("ADMIN"),
    "tools:write": Least("ADMIN"),
    "budgets:admin": Least("ADMIN"),
    "keys:admin": Least("ADMIN"),
    "workflows:read": Least("MEMBER"),
    "workflows:run": Least("MEMBER"),
    "workflows:write": Least("ADMIN"),
    "members:read": Least("VIEWER", "FREE"),
    "members:admin": Least("OWNER", "FREE"),
    "tenants:read": Least("VIEWER", "FREE"),
}
"""What a member of a tenant may do. An action that is missing here is the operator's alone."""


def at_least(role: Role, least: Role) -> bool:
    """Say whether a role holds all that another one does."""
    return ROLES.index(role) >= ROLES.index(least)


def has_tier(tier: Tier, least: Tier) -> bool:
    """Say whether a tier holds all that another one does."""
    return TIERS.index(tier) >= TIERS.index(least)


@cache
def actions_of(role: Role, tier: Tier) -> frozenset[str]:
    """Return what a member of this role may do in a tenant of this tier."""
    return frozenset(
        action
        for action, least in LEAST.items()
        if at_least(role, least.role) and has_tier(tier, least.tier)
    )


def narrowed(held: frozenset[str], scopes: Iterable[str]) -> frozenset[str]:
    """Return what is left of actions under the scopes of a key.

    A scope is an action, or all of a domain: ``agents:*``. No scope leaves nothing.
    """
    wanted = frozenset(scopes)
    return frozenset(
        action for action in held if action in wanted or f"{action.partition(':')[0]}:*" in wanted
    )


def is_scope(text: str) -> bool:
    """Say whether a text names an action, or all of a domain in which there is one."""
    domain, _, verb = text.partition(":")
    return text in ACTIONS or (verb == "*" and any(a.startswith(f"{domain}:") for a in ACTIONS))
