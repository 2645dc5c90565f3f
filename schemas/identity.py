"""Who asks, and whether that is allowed: principals, actions, one decision for every request. Pure.

Until users have identities, a user of a nats-server is the admin of its tenant. Members of the
fleet, such as a gateway, name the principal on whose behalf they ask.
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from schemas.ids import PLATFORM

ACTIONS = {
    "agents:read": "Read and list agents and their templates.",
    "agents:write": "Create, change and delete agents and their templates.",
    "executions:read": "List executions and conversations.",
    "executions:content": "Read what was asked and answered: records, streams, conversations.",
    "executions:write": "Run agents and models, cancel and delete executions.",
    "executions:approve": "Approve of calls of tools that wait for it, or reject them.",
    "budgets:read": "Read budgets, limits and their balances.",
    "budgets:admin": "Set and correct budgets and limits.",
    "costs:read": "Read reports of what was spent.",
    "prices:read": "Ask what something costs.",
    "tools:read": "List the tools of MCP servers, their resources and their prompts.",
    "tools:use": "Read resources of MCP servers and fill in their prompts.",
    "tools:write": "Define MCP servers, change and delete them.",
    "workflows:read": "Read and list workflows and what runs of them, with its data and history.",
    "workflows:write": "Define workflows, change and delete them.",
    "workflows:run": "Start instances of workflows, act on them and end them.",
    "keys:own": "Make keys for oneself, rotate and revoke them.",
    "keys:admin": "Make, list, rotate and revoke the keys of others.",
    "members:read": "List the members of the tenant.",
    "members:admin": "Invite members, change their roles and remove them.",
    "tenants:read": "Read what the tenant is.",
    "tenants:admin": "Create, change and suspend tenants: the operator's alone.",
}
"""Every action that a request may need, and what it allows."""

HEADER = "Callboard-Principal"
"""The header in which a member of the fleet says on whose behalf it asks, as JSON.

It is believed on ``_cb.ask`` subjects alone, on which only the fleet may publish.
"""

OPERATOR_ACTIONS = frozenset({"tenants:admin"})
"""What no tenant's admin may do."""

EVERY_ACTION = frozenset(ACTIONS)
TENANT_ACTIONS = EVERY_ACTION - OPERATOR_ACTIONS


class Principal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asks: a tenant, and which of its actions are allowed.

    An empty set allows nothing. ``user``, ``project`` and ``key`` (the id of an API key) are facts,
    unlike the labels of the same names in the body of a request.
    """

    tenant: str
    actions: frozenset[str] = frozenset()
    user: str | None = None
    project: str | None = None
    key: str | None = None

    @property
    def is_operator(self) -> bool:
        """Whether it decides on all tenants together, or on its own one."""
        return self.tenant == PLATFORM


NOBODY = Principal(tenant="")
"""Who is allowed nothing."""


class KeptPrincipal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A principal as journals and records keep it: the same bytes wherever it is written.

    The order of a set is not: it differs from process to process. Without ``actions`` it is one
    that may do everything within its tenant.
    """

    tenant: str
    actions: list[str] | None = None
    user: str | None = None
    project: str | None = None
    key: str | None = None

    @classmethod
    def of(cls, principal: Principal) -> "KeptPrincipal":
        """Keep a principal."""
        held = principal.actions
        return cls(
            tenant=principal.tenant,
            actions=None if held == admin(principal.tenant).actions else sorted(held),
            user=principal.user,
            project=principal.project,
            key=principal.key,
        )

    @property
    def principal(self) -> Principal:
        """The principal that was kept."""
        whole = admin(self.tenant).actions
        return Principal(
            tenant=self.tenant,
            actions=whole if self.actions is None else frozenset(self.actions),
            user=self.user,
            project=self.project,
            key=self.key,
        )


class Resource(NamedTuple):
    """What a request is about: the tenant it belongs to, and its kind, such as ``agents``."""

    tenant: str
    kind: str


@lru_cache(maxsize=1024)
def admin(tenant: str) -> Principal:
    """Return the principal that may do everything within its tenant; the platform's may do all."""
    actions = EVERY_ACTION if tenant == PLATFORM else TENANT_ACTIONS
    return Principal(tenant=tenant, actions=actions)


def may(principal: Principal, action: str, resource: Resource) -> bool:
    """Say whether a principal may do something to a resource.

    What is not allowed is denied: a foreign tenant, and an action that is unknown or not held.
    """
    return principal.tenant == resource.tenant and action in principal.actions and action in ACTIONS
