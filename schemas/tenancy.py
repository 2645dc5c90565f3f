"""Tenants, their members, and the keys that open them: what is stored, and what is asked of it.

Operators keep tenants, in the name of the platform. Who makes or changes a key can give it nothing
that he has not himself: it is looked at when the key is made, and again whenever it is used.
"""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from schemas.api_keys import KeyKind, SecretHash
from schemas.base import Command, Cursor, Message, Question
from schemas.ids import END, Label, TenantId, Token
from schemas.roles import Role, Tier
from schemas.versioned import Versioned

MOST_GRACE_SECONDS = 7 * 86_400

Scope = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z_]{1,32}:([a-z_]{1,32}|\*)" + END,
        description="an action such as agents:read, or all of a domain: agents:*",
    ),
]

Scopes = Annotated[list[Scope], msgspec.Meta(max_length=64)]
"""What a key opens of all that its role does. Without one it opens nothing."""


class Tenant(Versioned):
    """A tenant: an organisation that shares nothing with others. A suspended one is let in nowhere.

    Its ``version`` counts changes, of which a deletion is one.
    """

    name: str = ""
    tier: Tier = "GROWTH"
    suspended: bool = False


class Member(Message):
    """A person of a tenant, under the id that the issuer of his tokens gives him."""

    id: Token
    role: Role
    name: str = ""
    since: datetime


class TenantMembers(Versioned):
    """The members of a tenant, by id: one value, so that two changes cannot take both owners."""

    members: list[Member] = []


class ApiKey(Versioned):
    """A key as it is stored: of its secrets only the hashes. ``owner`` is a member, if it has one.

    What is spent with it counts for ``project``, and for its owner.
    """

    name: str = ""
    kind: KeyKind = "live"
    owner: Token | None = None
    role: Role = "MEMBER"
    scopes: list[Scope] = []
    project: Label | None = None
    secrets: list[SecretHash] = []
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


# Answers


class KeyDetails(Message):
    """A key without its secret, of which the ``last`` characters are shown."""

    id: str
    version: int
    name: str
    kind: KeyKind
    owner: Token | None
    role: Role
    scopes: list[Scope]
    project: Label | None
    last: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKey(Message):
    """A key that was made or rotated. ``secret`` is the whole key: it is shown this once.

    After a rotation the former secret is taken until ``former_until``.
    """

    key: KeyDetails
    secret: str
    former_until: datetime | None = None


class KeyList(Message):
    """Keys, the newest first. ``next`` leads to the following page."""

    keys: list[KeyDetails]
    next: Cursor | None = None


class MemberList(Message):
    """The members of a tenant, by id."""

    members: list[Member]


class TenantList(Message):
    """All tenants, by id. ``next`` leads to the following page."""

    tenants: list[Tenant]
    next: Cursor | None = None


# Tenants


class ApplyTenant(Command):
    """Create a tenant, or change the one that stands. Its tier decides what its members may do."""

    SUBJECT: ClassVar[str] = "tenants.apply"
    REPLY: ClassVar[type[Message]] = Tenant
    ACTION: ClassVar[str] = "tenants:admin"
    PLATFORM: ClassVar[bool] = True

    id: TenantId
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    tier: Tier = "GROWTH"


class SuspendTenant(Command):
    """Let a tenant in nowhere, or (``suspended`` false) let it in again. Nothing of it is lost."""

    SUBJECT: ClassVar[str] = "tenants.suspend"
    REPLY: ClassVar[type[Message]] = Tenant
    ACTION: ClassVar[str] = "tenants:admin"
    PLATFORM: ClassVar[bool] = True

    id: TenantId
    suspended: bool = True


class GetTenant(Question):
    """Read the tenant that asks."""

    SUBJECT: ClassVar[str] = "tenants.get"
    REPLY: ClassVar[type[Message]] = Tenant
    ACTION: ClassVar[str] = "tenants:read"


class ListTenants(Question):
    """List all tenants."""

    SUBJECT: ClassVar[str] = "tenants.list"
    REPLY: ClassVar[type[Message]] = TenantList
    ACTION: ClassVar[str] = "tenants:admin"
    PLATFORM: ClassVar[bool] = True

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Cursor | None = None


# Members


class InviteMember(Command):
    """Make somebody a member, under the id that the issuer of his tokens gives him."""

    SUBJECT: ClassVar[str] = "members.invite"
    REPLY: ClassVar[type[Message]] = Member
    ACTION: ClassVar[str] = "members:admin"

    id: Token
    role: Role = "MEMBER"
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""


class SetRole(Command):
    """Give a member another role. The last owner stays one."""

    SUBJECT: ClassVar[str] = "members.set_role"
    REPLY: ClassVar[type[Message]] = Member
    ACTION: ClassVar[str] = "members:admin"

    id: Token
    role: Role


class RemoveMember(Command):
    """Remove a member: his keys open nothing from then on. The last owner stays."""

    SUBJECT: ClassVar[str] = "members.remove"
    REPLY: ClassVar[type[Message]] = MemberList
    ACTION: ClassVar[str] = "members:admin"

    id: Token


class ListMembers(Question):
    """List the members of the tenant."""

    SUBJECT: ClassVar[str] = "members.list"
    REPLY: ClassVar[type[Message]] = MemberList
    ACTION: ClassVar[str] = "members:read"


# Keys


class CreateKey(Question):
    """Make a key; the answer shows it this once.

    Without ``owner`` it is the key of whoever asks, or of the tenant where he is no member. Nobody
    can give a key a role or scope that he has not himself.
    """

    SUBJECT: ClassVar[str] = "keys.create"
    REPLY: ClassVar[type[Message]] = NewKey
    ACTION: ClassVar[str] = "keys:own"

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    kind: KeyKind = "live"
    owner: Token | None = None
    role: Role = "MEMBER"
    scopes: Scopes
    project: Label | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class RotateKey(Question):
    """Give a key a new secret. The former one is taken for ``grace_seconds`` more.

    Budgets, limits and history stay with the key's id.
    """

    SUBJECT: ClassVar[str] = "keys.rotate"
    REPLY: ClassVar[type[Message]] = NewKey
    ACTION: ClassVar[str] = "keys:own"

    id: Token
    grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=MOST_GRACE_SECONDS)] = 86_400


class RevokeKey(Command):
    """Let a key open nothing any more."""

    SUBJECT: ClassVar[str] = "keys.revoke"
    REPLY: ClassVar[type[Message]] = KeyDetails
    ACTION: ClassVar[str] = "keys:own"

    id: Token


class ListKeys(Question):
    """List keys: one's own, and with ``keys:admin`` those of all."""

    SUBJECT: ClassVar[str] = "keys.list"
    REPLY: ClassVar[type[Message]] = KeyList
    ACTION: ClassVar[str] = "keys:own"

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    after: Cursor | None = None
