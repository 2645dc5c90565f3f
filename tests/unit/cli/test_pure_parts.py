"""What commands compute before they speak to anybody."""

from datetime import UTC, datetime

import msgspec
import pytest

from actors.cli.asking import requests_in
from actors.cli.checks import Result, processes, providers
from actors.cli.dead import addressed
from actors.cli.rendering import rows_of
from actors.cli.session import rendered
from bus.codec import decode, encode
from bus.errors import ProblemError
from schemas.fleet import Alive, EndpointState, KeyState, ProviderStates
from schemas.journal import CommandEnvelope
from schemas.letters import DeadLetter
from schemas.problems import Problem
from schemas.work import ReplyTo, Stopped, item_id

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
    assert rendered(problem) == "not_found: there is no agent x (agent_id)"
    assert rendered(Problem(code="internal", message="it failed")) == "internal: it failed"


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


def test_a_process_that_lacks_a_secret_of_others_is_named():
    told = [
        ProviderStates(process="one", endpoints=[], secrets=["openai", "team-a"]),
        ProviderStates(process="two", endpoints=[], secrets=["openai"]),
        ProviderStates(process="three", endpoints=[]),
    ]

    assert providers(told).ok
    assert providers(told).detail == (
        "0 called; three lacks the secret openai, team-a; two lacks the secret team-a"
    )


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


def dead_letter(subject: str, name: str, body: str) -> DeadLetter:
    return DeadLetter(id=name, subject=subject, reason="r", at=NOW, deliveries=1, body=body)


def test_a_command_that_died_goes_back_to_its_entity_under_its_id():
    envelope = CommandEnvelope(id="7", tenant="acme", key="ledger", body=msgspec.Raw(b"{}"))
    letter = dead_letter("_cb.cmd.account", "acme.ledger.7", encode(envelope).decode())
    assert addressed(letter) == ("account", envelope)


def test_an_item_that_died_is_given_up_unbegun_so_that_its_owner_begins_it_anew():
    name = item_id(ReplyTo(entity="execution", tenant="acme", key="e1"), "2", 3)
    entity, envelope = addressed(dead_letter("_cb.work.generate", name, "torn"))
    assert (entity, envelope.id, envelope.tenant, envelope.key) == (
        "execution",
        f"{name}.result",
        "acme",
        "e1",
    )
    assert decode(Stopped, envelope.body) == Stopped(work="2", attempt=3, sent=False)


@pytest.mark.parametrize(
    ("subject", "name"),
    [("_cb.work.generate", "item"), ("_cb.work.q", "e.acme.k.w.x"), ("cb.acme.record.e", "e")],
)
def test_a_letter_that_names_nobody_is_not_handed_in(subject: str, name: str):
    with pytest.raises(ProblemError):
        addressed(dead_letter(subject, name, "{}"))


def test_the_rows_of_a_text_are_counted_by_the_width_of_the_terminal():
    assert [rows_of(text, 4) for text in ("", "abcd", "abcde", "ab\ncd", "日本語")] == [
        1,
        1,
        2,
        2,
        2,
    ]
