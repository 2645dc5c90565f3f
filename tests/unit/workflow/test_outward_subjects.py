"""Subjects of definitions: a workflow publishes and listens where nobody else speaks."""

import pytest

from actors.workflow.core.outward_subjects import is_stored, pattern_fault, publish_fault
from schemas import catalog


@pytest.mark.parametrize("subject", ["crm.lead_created", "alerts", "x.events.y", "eventsx.a"])
def test_a_subject_of_ones_own_is_open(subject: str):
    assert publish_fault(subject, "f") is None
    assert pattern_fault(subject, "f") is None
    assert not is_stored(subject)


@pytest.mark.parametrize("first", ["stream", "record", "submit", "agents", "executions", "tasks"])
def test_nothing_is_published_where_the_contract_speaks(first: str):
    fault = publish_fault(f"{first}.a.b", "net.transitions.2.action.subject")
    assert fault is not None
    assert (fault.code, fault.field) == ("validation", "net.transitions.2.action.subject")
    assert publish_fault(first, "f") is not None


@pytest.mark.parametrize(
    ("subject", "open_"),
    [
        ("events.lead.scored", True),
        ("events.execution.completed.x", False),
        ("events.execution", False),
        ("events", False),
    ],
)
def test_facts_of_ones_own_have_nouns_of_their_own(subject: str, open_: bool):
    assert (publish_fault(subject, "f") is None) == open_


def test_no_request_of_the_contract_can_be_published_or_listened_to():
    for row in catalog.requests():
        _, _, relative = row.subject.split(".", 2)
        assert publish_fault(relative, "f") is not None
        assert pattern_fault(relative, "f") is not None


@pytest.mark.parametrize(
    ("pattern", "open_"),
    [
        ("events.execution.completed.*", True),
        ("events.>", True),
        ("record.>", True),
        ("crm.*.created", True),
        ("*.created", False),
        ("*", False),
        ("stream.run-1", False),
        ("submit.>", False),
        ("agents.>", False),
    ],
)
def test_patterns_name_their_first_part(pattern: str, open_: bool):
    assert (pattern_fault(pattern, "f") is None) == open_
    assert is_stored(pattern) == pattern.startswith(("events", "record"))
