"""Laws of subjects: what is filled in comes out again, and nothing slips through."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ProblemError
from bus.subjects import (
    ask_subject,
    fill,
    filter_for,
    is_ask,
    journal_subject,
    mailbox_subject,
    matches,
    overlap,
    parse,
    request_subject,
    shard_of,
    submit_subject,
    tenant_of,
    token,
    work_subject,
)
from schemas.base import Request
from schemas.executions import ExecuteAgent

TEMPLATE = "cb.{tenant}.stream.{execution_id}"
ALPHABET = "abcXYZ019_-"
tokens = st.text(ALPHABET, min_size=1, max_size=64)
parts = st.sampled_from(("a", "b", "c"))
subjects = st.lists(parts, min_size=1, max_size=4).map(".".join)
filters = st.builds(
    lambda head, rest: ".".join((*head, *rest)),
    st.lists(st.one_of(parts, st.just("*")), min_size=1, max_size=3),
    st.sampled_from(((), (">",))),
)


@given(tokens, tokens)
def test_what_was_filled_in_is_parsed_out(tenant: str, execution: str):
    subject = fill(TEMPLATE, tenant=tenant, execution_id=execution)

    assert parse(TEMPLATE, subject) == {"tenant": tenant, "execution_id": execution}
    assert matches(filter_for(TEMPLATE), subject)
    assert matches(filter_for(TEMPLATE, tenant=tenant), subject)
    assert not matches(filter_for(TEMPLATE, tenant=tenant + "x"), subject)


@given(st.text(max_size=70))
def test_a_token_is_returned_as_it_is_or_refused(value: str):
    good = 0 < len(value) <= 64 and all(c.isascii() and (c.isalnum() or c in "_-") for c in value)
    if good:
        assert token(value, "tenant") == value
    else:
        with pytest.raises(ProblemError) as refused:
            token(value, "tenant")
        assert (refused.value.problem.code, refused.value.problem.field) == ("validation", "tenant")


@pytest.mark.parametrize("value", ["", "a.b", "*", ">", "a b", "a\n", "\n", "é", "$JS", "x" * 65])
def test_what_could_change_a_subject_is_no_token(value: str):
    with pytest.raises(ProblemError):
        fill(TEMPLATE, tenant="acme", execution_id=value)


@pytest.mark.parametrize(
    "subject",
    ["cb.acme.stream", "cb.acme.stream.e1.more", "cb..stream.e1", "cbXacme.stream.e1", ""],
)
def test_a_subject_of_another_form_is_not_parsed(subject: str):
    assert parse(TEMPLATE, subject) is None


@given(filters, subjects)
def test_a_filter_that_catches_a_subject_overlaps_it(pattern: str, subject: str):
    assert matches(pattern, subject) == overlap(pattern, subject)


@given(filters, filters, subjects)
def test_two_filters_that_catch_one_subject_overlap(one: str, other: str, subject: str):
    if matches(one, subject) and matches(other, subject):
        assert overlap(one, other)
        assert overlap(other, one)


@given(filters, filters, subjects)
def test_a_filter_within_another_catches_no_more(wide: str, narrow: str, subject: str):
    if matches(wide, narrow) and matches(narrow, subject):
        assert matches(wide, subject)


@pytest.mark.parametrize(
    ("one", "other"), [("a.>", "a"), ("a.*", "a"), ("a.*.b", "a.*.c"), ("a", "a.b"), ("a.>", "b.>")]
)
def test_filters_that_share_no_subject_do_not_overlap(one: str, other: str):
    assert not overlap(one, other)
    assert not overlap(other, one)


@given(tokens, tokens, st.integers(1, 64))
def test_an_entity_has_one_shard(tenant: str, key: str, shards: int):
    assert 0 <= shard_of(tenant, key, shards) < shards
    assert shard_of(tenant, key, shards) == shard_of(tenant, key, shards)


def test_shards_and_subjects_never_change_for_they_are_stored():
    assert shard_of("acme", "e1", 16) == 3
    assert journal_subject("execution", 3) == "_cb.journal.execution.3"
    assert mailbox_subject("execution", 3) == "_cb.cmd.execution.3"
    assert work_subject("generate", "acme") == "_cb.work.generate.acme"
    assert request_subject(ExecuteAgent, "acme") == "cb.acme.agents.execute"
    assert submit_subject(ExecuteAgent, "acme") == "cb.acme.submit.agents.execute"
    assert ask_subject(ExecuteAgent, "acme") == "_cb.ask.acme.agents.execute"


@given(tokens, st.sampled_from([request_subject, ask_subject, submit_subject]))
def test_a_request_tells_its_tenant_and_whether_only_the_fleet_may_send_it(
    tenant: str, made: Callable[[type[Request], str], str]
):
    subject = made(ExecuteAgent, tenant)
    assert tenant_of(subject) == tenant
    assert is_ask(subject) is (made is ask_subject)


def test_entities_spread_over_all_shards():
    counts = [0] * 16
    for number in range(1600):
        counts[shard_of("acme", f"execution-{number}", 16)] += 1

    assert min(counts) > 50
    assert max(counts) < 200
