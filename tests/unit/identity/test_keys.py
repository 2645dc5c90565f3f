"""Who may give which key to whom, and what one opens."""

import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.identity.core import keys, members
from schemas.api_keys import ID_BYTES, SECRET_BYTES, KeyKind, PresentedKey, key_id, made
from schemas.identity import ACTIONS, Principal, admin
from schemas.problems import Problem
from schemas.roles import ROLES, TIERS, Role, Tier, actions_of, narrowed
from schemas.tenancy import (
    ApiKey,
    CreateKey,
    InviteMember,
    ListKeys,
    Member,
    Tenant,
    TenantMembers,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TENANT = Tenant(id="acme", version=1, created_at=NOW, updated_at=NOW)
NOBODY = TenantMembers(id="acme", version=0, created_at=NOW, updated_at=NOW)

SCOPES = st.lists(st.sampled_from([*ACTIONS, "agents:*", "executions:*"]), max_size=6)
TIER, ROLE = st.sampled_from(TIERS), st.sampled_from(ROLES)


def a_key(kind: KeyKind = "live") -> PresentedKey:
    return made(kind, key_id(os.urandom(ID_BYTES)), os.urandom(SECRET_BYTES))


def member(role: Role, name: str = "ann") -> Member:
    return Member(id=name, role=role, since=NOW)


def given_by(maker: Principal, wanted: CreateKey, owner: Member | None = None) -> ApiKey | Problem:
    refused = keys.refusal(maker, wanted, owner, TENANT, NOW)
    return refused or keys.make(maker, wanted, owner, a_key(wanted.kind), NOW)


@given(role=ROLE, wanted=ROLE, tier=TIER, held=SCOPES, scopes=SCOPES)
def test_a_key_never_opens_more_than_its_maker_may_do(
    role: Role, wanted: Role, tier: Tier, held: list[str], scopes: list[str]
):
    tenant = msgspec.structs.replace(TENANT, tier=tier)
    maker = Principal(tenant="acme", actions=narrowed(actions_of(role, tier), held), user="ann")
    owner = member(role)
    key = CreateKey(role=wanted, scopes=scopes)
    if keys.refusal(maker, key, owner, tenant, NOW) is None:
        drawn = a_key()
        stored = keys.make(maker, key, owner, drawn, NOW)
        opened = keys.opened_by(drawn, stored, owner, tenant, NOW)
        assert isinstance(opened, Principal)
        assert opened.actions <= maker.actions


@given(now_role=ROLE, key_role=ROLE, scopes=SCOPES)
def test_what_its_owner_has_lost_a_key_does_not_open(
    now_role: Role, key_role: Role, scopes: list[str]
):
    drawn = a_key()
    wanted = CreateKey(role=key_role, scopes=scopes)
    stored = keys.make(admin("acme"), wanted, member("OWNER"), drawn, NOW)
    opened = keys.opened_by(drawn, stored, member(now_role), TENANT, NOW)
    assert isinstance(opened, Principal)
    assert opened.actions <= actions_of(now_role, TENANT.tier)
    assert opened.user == "ann"
    assert opened.key == drawn.id


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (CreateKey(scopes=["agents:fly"]), "scopes.0"),
        (CreateKey(scopes=["agents:read", "nothing:*"]), "scopes.1"),
        (CreateKey(scopes=[], expires_at=NOW), "expires_at"),
        (CreateKey(scopes=["agents:read"], role="ADMIN"), "role"),
        (CreateKey(scopes=["executions:write"]), "scopes"),
        (CreateKey(scopes=["agents:read"], project="other"), "project"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_not_be_given_is_refused_at_its_field(wanted: CreateKey, field: str):
    maker = Principal(
        tenant="acme",
        actions=frozenset({"agents:read", "keys:own"}),
        user="ann",
        project="mine",
    )
    refused = given_by(maker, wanted, member("MEMBER"))
    assert isinstance(refused, Problem)
    assert refused.field == field


def test_keys_of_others_take_leave():
    ann = Principal(tenant="acme", actions=frozenset({"keys:own"}), user="ann")
    wanted = CreateKey(scopes=[], owner="bob")
    refused = keys.owner_of(ann, wanted)
    assert isinstance(refused, Problem)
    assert keys.owner_of(ann, CreateKey(scopes=[])) == "ann"
    assert keys.owner_of(admin("acme"), wanted) == "bob"
    assert keys.owner_of(admin("acme"), CreateKey(scopes=[])) is None


def test_a_rotated_key_is_taken_with_both_secrets_until_the_time_of_grace_is_over():
    old, new, third = a_key(), a_key(), a_key()
    stored = keys.make(admin("acme"), CreateKey(scopes=["agents:read"]), None, old, NOW)

    def opens(presented: PresentedKey, key: ApiKey, at: datetime) -> bool:
        shown = presented._replace(id=key.id)
        return isinstance(keys.opened_by(shown, key, None, TENANT, at), Principal)

    rotated = keys.rotate(stored, new, 60, NOW)
    assert isinstance(rotated, ApiKey)
    assert opens(old, rotated, NOW)
    assert opens(new, rotated, NOW)
    assert not opens(old, rotated, NOW + timedelta(seconds=60))
    assert opens(new, rotated, NOW + timedelta(seconds=60))

    again = keys.rotate(rotated, third, 60, NOW)
    assert isinstance(again, ApiKey)
    assert not opens(old, again, NOW)

    at_once = keys.rotate(again, old, 0, NOW)
    assert isinstance(at_once, ApiKey)
    assert not opens(third, at_once, NOW)


def test_what_opens_nothing_says_why_to_the_log():
    drawn = a_key()
    wanted = CreateKey(scopes=["agents:read"], expires_at=NOW + timedelta(hours=1))
    ann = member("MEMBER")
    stored = keys.make(admin("acme"), wanted, ann, drawn, NOW)
    suspended = msgspec.structs.replace(TENANT, suspended=True)

    def why(
        key: ApiKey | None = stored,
        *,
        presented: PresentedKey = drawn,
        owner: Member | None = ann,
        tenant: Tenant = TENANT,
        at: datetime = NOW,
    ) -> str:
        found = keys.opened_by(presented, key, owner, tenant, at)
        return found if isinstance(found, str) else "opened"

    assert why() == "opened"
    assert why(None) == "unknown"
    assert why(presented=a_key()._replace(id=drawn.id)) == "wrong secret"
    assert why(presented=drawn._replace(kind="test")) == "wrong secret"
    assert why(keys.revoke(stored, NOW)) == "revoked"
    assert why(at=NOW + timedelta(hours=1)) == "expired"
    assert why(tenant=suspended) == "tenant suspended"
    assert why(owner=None) == "its owner is no member any more"


def test_a_revoked_key_stays_so():
    stored = keys.make(admin("acme"), CreateKey(scopes=[]), None, a_key(), NOW)
    revoked = keys.revoke(stored, NOW)
    assert keys.revoke(revoked, NOW) is revoked
    refused = keys.rotate(revoked, a_key(), 0, NOW)
    assert isinstance(refused, Problem)
    assert refused.code == "conflict"


def test_pages_of_keys_show_ones_own_and_to_an_admin_all():
    stored = [
        keys.make(
            admin("acme"),
            CreateKey(scopes=[]),
            member("MEMBER", name),
            a_key(),
            NOW + timedelta(seconds=at),
        )
        for at, name in enumerate(["ann", "bob", "ann", "bob", "ann"])
    ]
    ann = Principal(tenant="acme", actions=frozenset({"keys:own"}), user="ann")

    def listed(principal: Principal, limit: int) -> list[str]:
        seen: list[str] = []
        after: str | None = None
        while True:
            page = keys.page(stored, ListKeys(limit=limit, after=after), principal)
            seen += [key.id for key in page.keys]
            after = page.next
            if after is None:
                return seen

    newest_first = [key.id for key in reversed(stored)]
    for limit in (1, 2, 5):
        assert listed(admin("acme"), limit) == newest_first
        assert listed(ann, limit) == newest_first[::2]


# Members


def invited(*people: tuple[str, Role]) -> TenantMembers:
    listed = NOBODY
    for name, role in people:
        found = members.invited(listed, InviteMember(id=name, role=role), NOW)
        assert isinstance(found, TenantMembers)
        listed = found
    return listed


def test_the_last_owner_stays_one():
    listed = invited(("ann", "OWNER"), ("bob", "MEMBER"))
    for refused in (
        members.promoted(listed, "ann", "ADMIN", NOW),
        members.removed(listed, "ann", NOW),
    ):
        assert isinstance(refused, Problem)
        assert refused.code == "conflict"
    both = members.promoted(listed, "bob", "OWNER", NOW)
    assert isinstance(both, TenantMembers)
    left = members.removed(both, "ann", NOW)
    assert isinstance(left, TenantMembers)
    assert [each.id for each in left.members] == ["bob"]


def test_who_is_invited_again_keeps_his_role():
    listed = invited(("ann", "OWNER"))
    again = members.invited(listed, InviteMember(id="ann", role="OWNER"), NOW)
    assert again is listed
    refused = members.invited(listed, InviteMember(id="ann", role="VIEWER"), NOW)
    assert isinstance(refused, Problem)
    assert refused.field == "role"


def test_there_are_so_many_members_at_most(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "MOST_MEMBERS", 1)
    refused = members.invited(invited(("ann", "OWNER")), InviteMember(id="bob"), NOW)
    assert isinstance(refused, Problem)
    assert refused.code == "rate_limited"
    assert isinstance(members.promoted(NOBODY, "bob", "ADMIN", NOW), Problem)
    assert isinstance(members.removed(NOBODY, "bob", NOW), Problem)
