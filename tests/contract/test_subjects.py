"""The table of public messages is whole, and its subjects keep the rules of the house."""

import pytest

from bus.subjects import fill, filter_for, matches, overlap, parse
from schemas import catalog
from schemas.base import RESERVED, Command, Message, Question, Request
from schemas.catalog import FactRow, RequestRow
from tests.contract.registry import message_classes, public_template

REQUESTS = catalog.requests()
FACTS = (*catalog.stream_events(), *catalog.events(), *catalog.records())


def test_every_class_with_a_public_subject_is_in_the_table():
    listed = {row.message for row in (*REQUESTS, *FACTS)}
    assert listed == {kind for kind in message_classes() if public_template(kind)}


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row.name)
def test_a_request_has_the_shape_of_a_public_command(row: RequestRow):
    cb, tenant, actor, *noun, verb = row.subject.split(".")
    assert (cb, tenant) == ("cb", "{tenant}")
    assert actor not in RESERVED
    assert verb.isidentifier()
    assert len(noun) <= 1
    assert issubclass(row.message, Request)
    assert issubclass(row.reply, Message)
    assert row.doc


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row.name)
def test_a_command_can_be_submitted_and_a_question_cannot(row: RequestRow):
    is_command = issubclass(row.message, Command)
    assert is_command is not issubclass(row.message, Question)
    assert row.submit == (f"cb.{{tenant}}.submit.{row.name}" if is_command else None)


@pytest.mark.parametrize("row", FACTS, ids=lambda row: row.message.__name__)
def test_a_fact_stands_under_its_reserved_word(row: FactRow):
    cb, tenant, word, *_ = row.subject.split(".")
    assert (cb, tenant) == ("cb", "{tenant}")
    assert word in {*RESERVED} - {"submit"}
    assert row.doc


@pytest.mark.parametrize("row", catalog.events(), ids=lambda row: row.name)
def test_a_public_event_names_its_subject_in_its_type(row: FactRow):
    subject = fill(row.subject, **dict.fromkeys(parse(row.subject, row.subject) or {}, "x"))
    assert matches(f"cb.x.events.{row.name}.x", subject)


def test_no_two_requests_share_a_subject_or_a_name():
    subjects = [s for row in REQUESTS for s in (row.subject, row.submit) if s is not None]
    assert len(subjects) == len(set(subjects))
    assert len(REQUESTS) == len({row.name for row in REQUESTS})


def test_what_is_asked_and_what_is_published_never_meet():
    for request in REQUESTS:
        for fact in FACTS:
            assert not overlap(filter_for(request.subject), filter_for(fact.subject))


def test_types_are_unique_within_a_stream_and_among_events():
    for rows in (catalog.stream_events(), catalog.events()):
        names = [row.name for row in rows]
        assert all(names)
        assert len(names) == len(set(names))
