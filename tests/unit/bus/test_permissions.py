"""Permissions follow the table of public messages, and nothing else is allowed."""

import pytest

from bus.errors import ConfigError, ProblemError
from bus.requests.caller import Caller
from bus.security.permissions import (
    Permissions,
    fleet_permissions,
    inbox_prefix,
    password_variable,
    render,
    tenant_permissions,
)
from bus.subjects import fill, overlap
from schemas import catalog
from schemas.identity import TENANT_ACTIONS
from schemas.ids import PLATFORM

BOTH = ("cb.>", "_cb.>", "$JS.>", "$KV.>", "$O.>", "$SRV.>", "_INBOX.>")


def test_no_tenant_can_be_the_platform():
    with pytest.raises(ProblemError):
        tenant_permissions(PLATFORM, "alice")
    for users in ([], ["alice"]):
        with pytest.raises(ProblemError):
            render({PLATFORM: users})


def test_only_who_asks_in_the_name_of_the_platform_is_its_operator_and_no_tenant_may():
    assert Caller(tenant=PLATFORM).principal.is_operator
    assert not Caller(tenant="acme").principal.is_operator
    asked = tenant_permissions("acme", "alice").publish
    assert not any(overlap(subject, f"cb.{PLATFORM}.>") for subject in asked)
    assert not any(subject.startswith(("$KV", "_cb", "$JS")) for subject in asked)


def test_a_user_may_ask_and_submit_what_the_contract_offers_listen_and_read_its_inbox():
    rows = [row for row in catalog.requests() if row.action in TENANT_ACTIONS]
    asked = {fill(row.subject, tenant="acme") for row in rows}
    submitted = {fill(row.submit, tenant="acme") for row in rows if row.submit}
    permissions = tenant_permissions("acme", "alice")
    assert set(permissions.publish) == asked | submitted
    assert permissions.subscribe == (
        "cb.acme.stream.*",
        "cb.acme.events.>",
        "_INBOX.acme-alice.>",
    )


def test_what_a_user_may_publish_is_spelt_out_without_wildcards():
    assert not [
        subject for subject in tenant_permissions("acme", "alice").publish if "*" in subject
    ]


def test_users_of_two_tenants_share_nothing():
    one, other = tenant_permissions("acme", "alice"), tenant_permissions("globex", "alice")
    for left in (*one.publish, *one.subscribe):
        assert not any(overlap(left, right) for right in (*other.publish, *other.subscribe))


def test_two_users_of_a_tenant_share_no_inbox():
    assert not overlap(f"{inbox_prefix('acme', 'alice')}.>", f"{inbox_prefix('acme', 'bob')}.>")


def test_the_fleet_may_do_what_its_processes_need_and_not_what_administers_the_server():
    assert fleet_permissions() == Permissions(
        publish=(*BOTH, "_R_.>", "$SYS._INBOX.>"),
        subscribe=(*BOTH, "$SYS.REQ.USER.AUTH"),
    )


def test_a_user_may_ask_what_his_actions_allow_and_hear_no_answers_without_leave():
    permissions = tenant_permissions("acme", "alice", {"agents:read", "executions:read"})
    assert "cb.acme.agents.list" in permissions.publish
    assert "cb.acme.agents.execute" not in permissions.publish
    assert "cb.acme.submit.agents.execute" not in permissions.publish
    assert permissions.subscribe == ("cb.acme.events.>", "_INBOX.acme-alice.>")


def test_with_an_issuer_the_server_asks_about_whoever_is_none_of_its_users():
    text = render({"acme": ["alice"]}, "ABC")
    assert text.endswith(
        'authorization {\n  auth_callout {\n    issuer: "ABC"\n    account: "FLEET"\n'
        '    auth_users: ["fleet", "acme-alice"]\n  }\n}\n'
    )
    assert "auth_callout" not in render({"acme": ["alice"]})


@pytest.mark.parametrize("hostile", ["", "a.b", "*", ">", "a b", 'a"', "a\n", "$SYS"])
def test_a_name_that_cannot_stand_in_a_subject_is_refused(hostile: str):
    with pytest.raises(ProblemError):
        render({hostile: ["alice"]})
    with pytest.raises(ProblemError):
        render({"acme": [hostile]})


def test_no_password_stands_in_the_text_only_the_variables_that_hold_them():
    text = render({"acme": ["alice"], "globex": ["carol-2"]})
    assert password_variable("globex-carol-2") == "NATS_PASSWORD_GLOBEX_CAROL_2"
    for variable in ("FLEET", "ACME_ALICE", "GLOBEX_CAROL_2"):
        assert f"password: $NATS_PASSWORD_{variable}," in text


def test_the_text_says_which_inboxes_the_fleet_is_to_make():
    assert "CALLBOARD_TENANTS=acme,globex\n" in render({"acme": ["alice"], "globex": ["carol"]})


@pytest.mark.parametrize(
    "tenants",
    [{"a": ["b-c"], "a-b": ["c"]}, {"a": ["b_c", "b-c"]}, {"acme": ["alice", "alice"]}],
)
def test_two_users_that_would_share_a_password_are_refused(tenants: dict[str, list[str]]):
    with pytest.raises(ConfigError):
        render(tenants)
