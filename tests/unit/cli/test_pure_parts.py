"""What commands compute before they speak to anybody."""

from datetime import UTC, datetime

import pytest

from actors.cli.asking import requests_in
from actors.cli.checks import Result, processes, providers
from actors.cli.dead import target
from actors.cli.session import said
from actors.cli.shown import rows_of
from bus.errors import ProblemError
from bus.subjects import shard_of
from schemas.fleet import Alive, DeadLetter, EndpointState, KeyState, ProviderStates
from schemas.problems import Problem

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_yaml_text_may_hold_several_requests_and_empty_documents():
    text = "id: one\nname: One\n---\n---\nid: two\n"
    assert requests_in(text.encode()) == [{"id": "one", "name": "One"}, {"id": "two"}]


def test_a_json_text_holds_one_request():
    assert requests_in(b'{"id": "one"}') == [{"id": "one"}]
    assert requests_in(b'{"id": "one"}', is_json=True) == [{"id": "one"}]


@pytest.mark.parametrize(
    ("text", "is_json"), [("id: [", False), ("just text", False), ("{", True), ("id: a", True)]
)
def test_a_text_that_holds_no_request_is_refused(text: str, is_json: bool):
    with pytest.raises(ProblemError) as refused:
        requests_in(text.encode(), is_json=is_json)
    assert refused.value.problem.code == "validation"


def test_a_problem_is_said_in_one_line():
    problem = Problem(code="not_found", message="there is no agent x", field="agent_id")
    assert said(problem) == "not_found: there is no agent x (agent_id)"
    assert said(Problem(code="internal", message="it failed")) == "internal: it failed"


def test_sick_providers_are_named_and_are_no_fault_of_the_fleet():
    resting = KeyState(name="a", resting_seconds=3.0)
    well = EndpointState(endpoint="openai/gpt-4o", circuit="closed", keys=[resting])
    sick = EndpointState(endpoint="groq/llama", circuit="half_open", opens_in_seconds=9.6)
    told = [
        ProviderStates(process="one", endpoints=[well]),
        ProviderStates(process="two", endpoints=[well, sick]),
    ]

    detail = "2 called; groq/llama is half open for 10 s; the key a rests for 3 s"
    assert providers(told) == Result("providers", ok=True, detail=detail)
    assert providers([]).detail == "0 called"


def test_only_ready_processes_count():
    alive = {
        "a": Alive(process="a", actor="agents", ready=True, metrics_port=9464),
        "b": Alive(process="b", actor="streaming", ready=True),
        "c": Alive(process="c", actor="streaming", lacks=["queue generate is not being pulled"]),
    }
    assert processes(alive, {"agents": 1, "streaming": 2}) == [
        Result("agents", ok=True, detail="1 ready of 1 alive, 1 wanted; metrics on 9464"),
        Result(
            "streaming",
            ok=False,
            detail="1 ready of 2 alive, 2 wanted; c: queue generate is not being pulled",
        ),
    ]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("_cb.cmd.execution.3", "_cb.cmd.execution.3"),
        ("_cb.cmd.account", f"_cb.cmd.account.{shard_of('acme', 'ledger', 16)}"),
    ],
)
def test_a_dead_letter_goes_back_to_where_it_came_from(subject: str, expected: str):
    body = '{"id":"1","tenant":"acme","key":"ledger","body":{}}'
    letter = DeadLetter(id="1", subject=subject, reason="r", at=NOW, deliveries=1, body=body)
    assert target(letter, 16) == expected


def test_the_rows_of_a_text_are_counted_by_the_width_of_the_terminal():
    assert [rows_of(text, 4) for text in ("", "abcd", "abcde", "ab\ncd", "日本語")] == [
        1,
        1,
        2,
        2,
        2,
    ]
