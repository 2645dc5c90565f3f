"""Who may do what: nothing that is not held, and nothing in a tenant that is not one's own."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import (
    ACTIONS,
    EVERY_ACTION,
    NOBODY,
    TENANT_ACTIONS,
    KeptPrincipal,
    Principal,
    Resource,
    admin,
    may,
)
from schemas.ids import PLATFORM

tenants = st.sampled_from(["acme", "globex", PLATFORM, ""])
actions = st.sampled_from([*ACTIONS, "agents:fly", ""])
held = st.frozensets(actions)


@given(tenants, tenants, held, actions)
def test_it_is_decided_by_the_tenant_and_the_actions_that_are_held(
    tenant: str, other: str, held: frozenset[str], action: str
):
    principal = Principal(tenant=tenant, actions=held)
    is_allowed = may(principal, action, Resource(other, "agents"))
    assert is_allowed is (tenant == other and action in held & EVERY_ACTION)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_admin_may_do_everything_in_its_tenant_and_nobody_anything(action: str):
    assert may(admin("acme"), action, Resource("acme", "agents")) is (action in TENANT_ACTIONS)
    assert may(admin(PLATFORM), action, Resource(PLATFORM, "agents"))
    assert not may(admin("acme"), action, Resource("globex", "agents"))
    assert not may(NOBODY, action, Resource("acme", "agents"))
    assert not may(NOBODY, action, Resource("", "agents"))
    assert not may(Principal(tenant="acme"), action, Resource("acme", "agents"))


@pytest.mark.parametrize("tenant", ["acme", PLATFORM])
@given(held=st.sets(st.sampled_from(sorted(ACTIONS))))
def test_a_principal_is_kept_as_the_same_bytes_and_comes_back(tenant: str, held: set[str]):
    ann = Principal(tenant=tenant, actions=frozenset(held), user="ann", project="p", key="k")
    other = sorted(held, reverse=True)
    again = Principal(
        tenant=tenant,
        actions=frozenset(other),
        user="ann",
        project="p",
        key="k",
    )
    kept = msgspec.json.encode(KeptPrincipal.of(ann))

    assert kept == msgspec.json.encode(KeptPrincipal.of(again))
    assert msgspec.json.decode(kept, type=KeptPrincipal).principal == ann
    assert KeptPrincipal.of(admin(tenant)) == KeptPrincipal(tenant=tenant)
    assert KeptPrincipal(tenant=tenant).principal == admin(tenant)
