"""What becomes of submitted commands: ids, pauses, and the first ones of a tenant."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bus.config import Config, load
from bus.jetstream.publishing import PubAck
from bus.requests.inboxes.rules import (
    LONGEST_ASKED_PAUSE,
    MESSAGE_ID,
    TRY_AGAIN,
    InboxRules,
    InboxStanding,
    next_try,
    no_command,
    pause,
    redrive_id,
    refusal,
    request_subject,
    rules,
    standing,
    submission_id,
    treatment,
    try_again,
)
from bus.streams.spec import inbox_stream
from bus.subjects import fill, is_token
from schemas import catalog
from schemas.problems import Problem

TENANTS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
SEQUENCES = st.integers(1, 2**53)
TEXTS = st.text(max_size=80)
TIMES = st.floats(0, 1e9)


# Ids


@given(TENANTS, SEQUENCES, st.none() | TEXTS)
def test_a_command_without_an_id_gets_one_that_can_stand_in_a_subject(
    tenant: str, sequence: int, message_id: str | None
):
    name = submission_id(inbox_stream(tenant), sequence, message_id)

    assert is_token(name)
    assert fill("cb.{tenant}.events.command.rejected.{id}", tenant=tenant, id=name)


@given(TENANTS, SEQUENCES, SEQUENCES)
def test_two_commands_of_a_tenant_have_two_ids(tenant: str, one: int, other: int):
    stream = inbox_stream(tenant)
    same = submission_id(stream, one, None) == submission_id(stream, other, None)

    assert same is (one == other)


@given(SEQUENCES, SEQUENCES, TEXTS, TEXTS)
def test_what_has_the_same_message_id_is_the_same_command(
    one: int, other: int, text: str, other_text: str
):
    first = submission_id("INBOX_acme", one, text)

    assert first == submission_id("INBOX_acme", other, text)
    assert (first == submission_id("INBOX_acme", one, other_text)) is (text == other_text)


@given(TENANTS, SEQUENCES, SEQUENCES, st.integers(1, 10**9))
def test_a_letter_that_is_handed_in_again_keeps_its_id_and_is_swallowed_by_no_other(
    tenant: str, sequence: int, later: int, number: int
):
    letter = submission_id(inbox_stream(tenant), sequence, None)

    assert submission_id(inbox_stream(tenant), later, redrive_id(letter, number)) == letter
    assert redrive_id(letter, number) != redrive_id(letter, number + 1)


@given(TEXTS, st.integers(1, 10**9))
def test_a_letter_of_any_name_can_be_handed_in_again(letter: str, number: int):
    assert re.fullmatch(r"redrive\.[A-Za-z0-9_-]+\.\d+", redrive_id(letter, number))


# Pauses


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e6), st.floats(0, 1))
def test_pauses_are_bounded_and_never_shorter_than_asked(
    deliveries: int, asked: float | None, spread: float
):
    seconds = pause(deliveries, asked, 0.5, 60.0, spread)

    assert min(asked or 0.0, LONGEST_ASKED_PAUSE) <= seconds
    assert 0.5 <= seconds <= max(60.0, LONGEST_ASKED_PAUSE) * 1.25


@given(st.integers(1, 100), st.floats(0, 1))
def test_pauses_double_until_they_are_long(deliveries: int, spread: float):
    one, next_one = (pause(n, None, 0.5, 60.0, spread) for n in (deliveries, deliveries + 1))

    assert next_one == min(2 * one, 60.0 * (1 + spread / 4))


@given(TIMES, TIMES, st.floats(0.1, 60), st.floats(0.01, 1))
def test_the_last_try_comes_before_the_age_ends(
    age: float, most: float, wanted: float, least: float
):
    seconds = next_try(age, most, wanted, least)

    assert (seconds is None) is (most - age - least <= 0)
    assert seconds is None or 0 < seconds <= min(wanted, most - age)


# The first commands of a tenant


@given(
    sent=TIMES,
    made=st.none() | TIMES,
    late=st.floats(0, 10),
    asked_later=st.floats(0, 10),
    settle=st.floats(0.1, 5),
    message_id=st.none() | TEXTS.filter(bool),
)
def test_a_first_command_is_stored_once_or_its_sender_is_told_to_repeat_it(
    sent: float,
    made: float | None,
    late: float,
    asked_later: float,
    settle: float,
    message_id: str | None,
):
    """The server stores what is sent from the making of the inbox on, and no message id twice."""
    heard_at, asked_at = sent + late, sent + late + asked_later
    is_captured = made is not None and made <= sent
    found = made + settle if made is not None and made <= asked_at else None
    headers = {MESSAGE_ID: message_id} if message_id else None

    what = treatment(standing(heard_at, found), headers)

    copies = is_captured + (what == "store" and not (is_captured and message_id is not None))
    assert copies <= 1
    if not copies:
        is_told = what == "repeat"
        assert is_told or late >= settle


@given(st.sampled_from(["Nats-Rollup", "Nats-Expected-Stream", "nats-ttl", "NATS-Schedule"]))
def test_only_the_server_judges_headers_that_are_meant_for_it(name: str):
    for message_id in ({}, {MESSAGE_ID: "m"}):
        assert treatment(InboxStanding.MISSING, {name: "x"} | message_id) == "repeat"
    harmless = {"traceparent": "x", "Nats-Request-Info": "{}"}
    assert treatment(InboxStanding.MISSING, harmless) == "store"


def test_a_refusal_is_a_problem_and_an_error_of_jetstreams():
    answer = refusal(try_again("not now"), "INBOX_acme", TRY_AGAIN)

    assert msgspec.json.decode(answer, type=Problem).retryable
    error = msgspec.json.decode(answer, type=PubAck).error
    assert error is not None
    assert (error.code, error.err_code) == TRY_AGAIN


# Commands


def test_the_contract_alone_says_what_is_a_command():
    for row in catalog.requests():
        assert (no_command(row.name) is None) is (row.submit is not None)
    for name in ("", "x", "agents", "agents.execute.x", "nonsense.x"):
        assert no_command(name) is not None


def test_a_command_is_requested_where_its_service_listens():
    for row in catalog.requests():
        submitted = fill(row.submit or row.subject.replace("}.", "}.submit."), tenant="acme")
        assert request_subject(submitted) == fill(row.subject, tenant="acme")


def test_an_operator_says_who_has_an_inbox_from_the_start():
    assert rules(load(Config, {})) == InboxRules(tenants=("local",), most=500, days=7.0)
    given = load(
        Config,
        {
            "CALLBOARD_TENANTS": "acme, globex",
            "CALLBOARD_MAX_TENANTS": "3",
            "CALLBOARD_SUBMITTED_DAYS": "0.5",
        },
    )
    assert rules(given) == InboxRules(tenants=("acme", "globex"), most=3, days=0.5)
