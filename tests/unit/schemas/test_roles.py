"""The table of roles and tiers."""

from itertools import pairwise

import pytest

from schemas.identity import ACTIONS, OPERATOR_ACTIONS
from schemas.roles import (
    LEAST,
    ROLES,
    TIERS,
    Role,
    Tier,
    actions_of,
    at_least,
    is_scope,
    narrowed,
)


def test_every_action_is_somebodys():
    assert set(LEAST) == set(ACTIONS) - OPERATOR_ACTIONS


@pytest.mark.parametrize("tier", TIERS)
def test_a_higher_role_holds_all_that_a_lower_one_does(tier: Tier):
    held = [actions_of(role, tier) for role in ROLES]
    assert all(low <= high for low, high in pairwise(held))


@pytest.mark.parametrize("role", ROLES)
def test_a_higher_tier_holds_all_that_a_lower_one_does(role: Role):
    held = [actions_of(role, tier) for tier in TIERS]
    assert all(low <= high for low, high in pairwise(held))


@pytest.mark.parametrize(
    ("role", "tier", "action", "may"),
    [
        ("VIEWER", "GROWTH", "agents:read", True),
        ("VIEWER", "STARTER", "agents:read", False),
        ("VIEWER", "GROWTH", "executions:write", False),
        ("VIEWER", "GROWTH", "executions:content", False),
        ("MEMBER", "GROWTH", "executions:write", True),
        ("MEMBER", "ENTERPRISE", "agents:write", False),
        ("ADMIN", "GROWTH", "agents:write", True),
        ("ADMIN", "FREE", "agents:write", False),
        ("ADMIN", "ENTERPRISE", "members:admin", False),
        ("OWNER", "FREE", "members:admin", True),
        ("OWNER", "ENTERPRISE", "tenants:admin", False),
    ],
)
def test_who_may_what(role: str, tier: str, action: str, may: bool):
    assert (action in actions_of(role, tier)) == may


def test_scopes_narrow_and_never_widen():
    held = actions_of("MEMBER", "GROWTH")
    assert narrowed(held, []) == frozenset()
    assert narrowed(held, ["agents:*"]) == {"agents:read"}
    assert narrowed(held, ["agents:write", "executions:write"]) == {"executions:write"}
    assert [is_scope(text) for text in ("agents:*", "agents:read", "*:*", "agents:fly", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert at_least("OWNER", "VIEWER")
