"""What the streams capture, and what they must never capture."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.fleet.declared import streams
from bus.config import Timing
from bus.state.pages import page_subject
from bus.streams.spec import (
    StreamSpec,
    filters,
    inbox_spec,
    inbox_stream,
    inbox_tenant,
)
from bus.subjects import (
    archived_subject,
    ended_subject,
    filter_for,
    journal_filter,
    journal_subject,
    mailbox_subject,
    overlap,
    owner_subject,
    state_subject,
)
from schemas.base import ASK, PUBLIC, Request
from schemas.ids import PLATFORM
from tests.contract.registry import message_classes

SPECS = (
    *streams(),
    *(inbox_spec(tenant, Timing()) for tenant in ("acme", "Acme", PLATFORM)),
)


REQUESTS = [kind for kind in message_classes() if issubclass(kind, Request)]


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda kind: kind.__name__)
def test_no_stream_captures_a_public_request_because_its_ack_would_answer_in_place_of_the_actor(
    request_type: type[Request],
):
    subjects = [filter_for(prefix + request_type.SUBJECT) for prefix in (PUBLIC, ASK)]

    for subject in subjects:
        assert [pattern for pattern in filters(SPECS) if overlap(pattern, subject)] == []


@pytest.mark.parametrize(
    "subject",
    [
        mailbox_subject("execution", 3),
        "_cb.sys.>",
        "_INBOX.>",
        "$SRV.>",
        "$JS.API.>",
    ],
)
def test_no_stream_captures_what_is_only_for_those_who_listen(subject: str):
    assert [pattern for pattern in filters(SPECS) if overlap(pattern, subject)] == []


def test_no_subject_is_stored_twice():
    patterns = filters(SPECS)

    assert [
        (one, other)
        for place, one in enumerate(patterns)
        for other in patterns[place + 1 :]
        if overlap(one, other)
    ] == []


@pytest.mark.parametrize(
    ("subject", "stream"),
    [
        (journal_subject("execution", 15), "JOURNAL_EXECUTION"),
        (journal_subject("account", 0), "JOURNAL_ACCOUNT"),
        (state_subject("execution", 15, "acme", "e1"), "JOURNAL_EXECUTION"),
        (page_subject(state_subject("account", 0, PLATFORM, "account"), 1), "JOURNAL_ACCOUNT"),
        (owner_subject("execution", 15), "JOURNAL_EXECUTION"),
        ("cb.acme.submit.agents.execute", "INBOX_acme"),
        ("cb.Acme.submit.nonsense", "INBOX_=acme"),
        (f"cb.{PLATFORM}.submit.budgets.set", "INBOX_==platform"),
        ("cb.acme.record.e1", "EXECUTIONS"),
        ("cb.acme.events.execution.completed.e1", "EVENTS"),
        ("cb.acme.stream.e1", "STREAMS"),
        ("_cb.conversation.acme.reviewer.s1", "CONVERSATIONS"),
        ("_cb.dead.acme.work.llm", "DEAD"),
        ("_cb.bill.acme", "BILLS"),
        (f"_cb.blob.{'0' * 64}.0", "BLOBS"),
        (archived_subject("account", 3, "2026-01-01T00:00:00Z"), "ARCHIVE"),
        ("_cb.archive.account.3.acme.2026-01.1.0af7651916cd43dd8448eb211c80319c.0", "ARCHIVE"),
        ("$KV.agents.acme.reviewer", "KV_agents"),
        ("$KV.terms.acme", "KV_terms"),
    ],
)
def test_every_stored_subject_has_its_stream(subject: str, stream: str):
    assert [spec.name for spec in SPECS if spec.captures(subject)] == [stream]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_in_a_cluster_every_stream_has_three_copies_and_none_is_lazy(spec: StreamSpec):
    settings = spec.settings("r3")

    assert settings["num_replicas"] == 3
    assert "persist_mode" not in settings


def test_on_one_server_only_streams_that_can_be_rebuilt_are_lazy():
    lazy = {spec.name for spec in SPECS if spec.settings("r1").get("persist_mode") == "async"}

    assert lazy == {"CONVERSATIONS", "EVENTS", "EXECUTIONS", "KV_answers", "KV_scripts", "STREAMS"}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_stream_is_bounded(spec: StreamSpec):
    assert spec.max_bytes > 0


def test_journals_and_blobs_keep_what_they_have_and_refuse_what_does_not_fit():
    keeping = {spec.name for spec in SPECS if spec.settings("r1")["discard"] == "new"}

    assert keeping >= {
        "ARCHIVE",
        "BLOBS",
        "INBOX_acme",
        "JOURNAL_ACCOUNT",
        "JOURNAL_EXECUTION",
        "KV_agents",
        "KV_terms",
    }


def test_a_journal_its_archive_or_a_submitted_command_is_never_removed_by_age():
    ages = {spec.name: spec.settings("r1")["max_age"] for spec in SPECS}

    kept = [name for name in ages if name.startswith(("JOURNAL_", "INBOX_", "ARCHIVE"))]
    assert {ages[name] for name in kept} == {0}


def test_what_purges_a_journal_reaches_no_state_at_rest():
    purged = [journal_subject("execution", 1), journal_filter("execution")]
    kept = [
        state_subject("execution", 1, "acme", "e1"),
        page_subject(state_subject("execution", 1, "acme", "e1"), 1),
        ended_subject("execution", 1, "acme", "e1"),
        owner_subject("execution", 1),
    ]

    assert [(one, other) for one in purged for other in kept if overlap(one, other)] == []


DAY = 24 * 3600


def test_what_is_over_expires_so_many_seconds_after_it_was_stored():
    ages = {spec.name: spec.settings("r1")["max_age"] / 10**9 for spec in SPECS}

    assert {name: age for name, age in ages.items() if age} == {
        "STREAMS": 3600,
        "EVENTS": 7 * DAY,
        "EXECUTIONS": 90 * DAY,
        "CONVERSATIONS": 90 * DAY,
        "DEAD": 30 * DAY,
        "KV_answers": 7 * DAY,
        "KV_batches": 3 * DAY,
        "KV_scripts": 7 * DAY,
    }


TENANTS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.just(PLATFORM))


@given(TENANTS)
def test_every_tenant_can_have_an_inbox_which_names_it(tenant: str):
    name = inbox_stream(tenant)

    assert inbox_tenant(name) == tenant
    assert re.fullmatch(r"[\x21-\x7e]{1,255}", name)
    assert not set(name) & set(".*>/\\")


@given(TENANTS, TENANTS)
def test_no_two_tenants_share_an_inbox_even_on_a_disk_that_knows_no_case(one: str, other: str):
    for twin in (other, one.swapcase(), one.lower(), one.upper()):
        same = inbox_stream(one).casefold() == inbox_stream(twin).casefold()
        assert same is (one == twin)
