"""Who may do what on a nats-server, from the table of public messages: text for nats.conf. Pure.

Each tenant has an account of its own and the fleet has one; what the contract offers is exported
and imported between them. Permissions alone would not do: they say what a user may publish, and not
where the answer goes. With a journal's subject as reply subject, the server's own acknowledgement
of a submitted command would be written into the journal. Between accounts a reply can only go back
to where the request came from.

Passwords are variables, which nats-server takes from its environment. A password that is all digits
must be quoted there; a bcrypt hash may stand in place of one.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from bus.errors import ConfigError
from bus.subjects import fill, filter_for, token
from schemas import catalog
from schemas.identity import TENANT_ACTIONS
from schemas.streams import STREAM_SUBJECT

CALLOUT = "$SYS.REQ.USER.AUTH"
"""On which the server asks who connects, where its configuration says so: ADR-26."""

CALLOUT_REPLIES = "$SYS._INBOX.>"

FLEET_ACCOUNT = "FLEET"
FLEET_USER = "fleet"

_EVENTS = "cb.{tenant}.events.>"

_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9]")


class Permissions(NamedTuple):
    """The subjects a user may publish on, and those it may subscribe to. All others are denied."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


class User(NamedTuple):
    """One user as nats.conf describes it. ``password`` is the name of an environment variable."""

    name: str
    password: str
    permissions: Permissions


def tenant_permissions(
    tenant: str, user: str, actions: Collection[str] = TENANT_ACTIONS
) -> Permissions:
    """Return what a user of a tenant may do: ask, submit, listen, and read its own inbox.

    ``actions`` are those that he holds. Streams take ``executions:content``, because they have the
    answers in them, and events ``executions:read``.
    """
    stream, events = _facts(tenant)
    heard = [(stream, "executions:content"), (events, "executions:read")]
    inbox = f"{inbox_prefix(tenant, user)}.>"
    return Permissions(
        publish=tuple(fill(template, tenant=tenant) for template in _requests(actions)),
        subscribe=(*(subject for subject, action in heard if action in actions), inbox),
    )


def fleet_permissions() -> Permissions:
    """Return what the fleet's own processes may do within their account."""
    both = ("cb.>", "_cb.>", "$JS.>", "$KV.>", "$O.>", "$SRV.>", "_INBOX.>")
    # Replies to requests from another account carry a subject that the server makes up.
    return Permissions(publish=(*both, "_R_.>", CALLOUT_REPLIES), subscribe=(*both, CALLOUT))


def inbox_prefix(tenant: str, user: str) -> str:
    """Return where answers to a user arrive; its client must be told so."""
    return f"_INBOX.{user_name(tenant, user)}"


def user_name(tenant: str, user: str) -> str:
    """Return the name under which a tenant's user connects.

    Raises:
        ProblemError: ``validation``, if tenant or user cannot stand in a subject.
    """
    return f"{token(tenant, 'tenant')}-{token(user, 'user')}"


def password_variable(name: str) -> str:
    """Return the environment variable with the password of a user's full name."""
    return f"NATS_PASSWORD_{_NOT_IN_A_NAME.sub('_', name.upper())}"


def account_name(tenant: str) -> str:
    """Return the name of a tenant's account."""
    return f"TENANT_{tenant}"


def render(tenants: Mapping[str, Sequence[str]], issuer: str | None = None) -> str:
    """Return the accounts of a server for these tenants and their users, to include in nats.conf.

    With an ``issuer``, the public key of who signs answers, everybody who is none of these users is
    asked about: the fleet lets him in by his API key.

    Raises:
        ConfigError: two users would have the same name or the same variable.
        ProblemError: ``validation``, if a tenant or user cannot stand in a subject.
    """
    accounts = {
        tenant: [_tenant_user(tenant, user) for user in users] for tenant, users in tenants.items()
    }
    fleet = User(FLEET_USER, password_variable(FLEET_USER), fleet_permissions())
    _refuse_duplicates([fleet, *(user for users in accounts.values() for user in users)])
    blocks = [_fleet_account(fleet)]
    blocks += [_tenant_account(tenant, users) for tenant, users in accounts.items()]
    made_at_start = f"# The fleet makes their inboxes with CALLBOARD_TENANTS={','.join(tenants)}"
    named = [user.name for users in accounts.values() for user in users]
    callout = [_callout(issuer, [FLEET_USER, *named])] if issuer is not None else []
    return "\n".join([made_at_start, "accounts {", *blocks, "}", *callout, ""])


def _callout(issuer: str, users: Sequence[str]) -> str:
    said = {"issuer": issuer, "account": FLEET_ACCOUNT}
    lines = [f"    {name}: {_quoted(value)}" for name, value in said.items()]
    listed = f"    auth_users: {json.dumps(list(users))}"
    return "\n".join(["authorization {", "  auth_callout {", *lines, listed, "  }", "}"])


def _requests(actions: Collection[str] = TENANT_ACTIONS) -> tuple[str, ...]:
    rows = [row for row in catalog.requests() if row.action in actions]
    return tuple(
        template for row in rows for template in (row.subject, row.submit) if template is not None
    )


def _facts(tenant: str) -> tuple[str, ...]:
    return filter_for(STREAM_SUBJECT, tenant=tenant), fill(_EVENTS, tenant=tenant)


def _tenant_user(tenant: str, user: str) -> User:
    name = user_name(tenant, user)
    return User(name, password_variable(name), tenant_permissions(tenant, user))


def _refuse_duplicates(users: Iterable[User]) -> None:
    seen: dict[str, str] = {}
    for user in users:
        if user.password in seen:
            duplicate = seen[user.password]
            raise ConfigError(user.name, f"shares the variable {user.password} with {duplicate}")
        seen[user.password] = user.name


# Writing


def _fleet_account(fleet: User) -> str:
    exports = [f"{{service: {_quoted(filter_for(template))}}}" for template in _requests()]
    exports += [f"{{stream: {_quoted(subject)}}}" for subject in _exported_facts()]
    return "\n".join(
        [
            f"  {_quoted(FLEET_ACCOUNT)}: {{",
            "    jetstream: enabled",
            _listing("users", [_user(fleet)]),
            _listing("exports", exports),
            "  }",
        ]
    )


def _tenant_account(tenant: str, users: Sequence[User]) -> str:
    services = [fill(template, tenant=tenant) for template in _requests()]
    imports = [_import("service", subject) for subject in services]
    imports += [_import("stream", subject) for subject in _facts(tenant)]
    return "\n".join(
        [
            f"  {_quoted(account_name(tenant))}: {{",
            _listing("users", [_user(user) for user in users]),
            _listing("imports", imports),
            "  }",
        ]
    )


def _exported_facts() -> tuple[str, str]:
    return filter_for(STREAM_SUBJECT), filter_for(_EVENTS)


def _import(kind: str, subject: str) -> str:
    source = f"account: {_quoted(FLEET_ACCOUNT)}, subject: {_quoted(subject)}"
    return f"{{{kind}: {{{source}}}}}"


def _user(user: User) -> str:
    publish, subscribe = (json.dumps(list(subjects)) for subjects in user.permissions)
    allowed = f"publish: {{allow: {publish}}}, subscribe: {{allow: {subscribe}}}"
    return f"{{user: {_quoted(user.name)}, password: ${user.password}, permissions: {{{allowed}}}}}"


def _listing(name: str, items: Iterable[str]) -> str:
    return "\n".join([f"    {name}: [", *(f"      {item}" for item in items), "    ]"])


def _quoted(text: str) -> str:
    return json.dumps(text)
