"""A request is in the contract because its class is defined, and only if it is whole."""

from typing import Any

import pytest
from click.testing import CliRunner

from actors.cli.commands import main
from bus.security.permissions import tenant_permissions
from schemas import base, catalog
from schemas.agents import AgentList
from schemas.base import Command, Question
from schemas.documents import asyncapi, subjects_table


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of the registries, which forgets what a test defines."""
    catalog.requests()
    requests, facts = dict(base.REQUESTS), list(base.FACTS)
    for module in (base, catalog):
        monkeypatch.setattr(module, "REQUESTS", requests)
        monkeypatch.setattr(module, "FACTS", facts)
    return requests


def defined(kind: type, **fields: Any) -> type:
    """Define a request of the one kind or the other."""
    body: dict[str, Any] = {"__module__": __name__, "__doc__": "Juggle.", "REPLY": AgentList}
    return type(kind)("Juggle", (kind,), body | {"ACTION": "agents:write"} | fields)


def test_a_command_that_is_defined_stands_wherever_the_contract_is_told():
    assert not catalog.is_command("circus.juggle")
    defined(Command, SUBJECT="circus.juggle")

    assert catalog.is_command("circus.juggle")
    channels, operations = asyncapi()["channels"], asyncapi()["operations"]
    assert channels["circus-juggle"]["address"] == "cb.{tenant}.circus.juggle"
    assert channels["submit-circus-juggle"]["address"] == "cb.{tenant}.submit.circus.juggle"
    assert operations["circus-juggle"]["x-callboard-action"] == "agents:write"
    allowed = tenant_permissions("acme", "alice").publish
    assert {"cb.acme.circus.juggle", "cb.acme.submit.circus.juggle"} <= set(allowed)
    assert (
        "| `cb.<tenant>.circus.juggle` | command | Juggle. | `agents:write` |" in subjects_table()
    )
    told = CliRunner().invoke(main, ["circus", "juggle", "--help"]).output
    assert "Juggle." in told
    assert "--submit" in told


def test_a_question_has_no_durable_form_whatever_its_verb():
    defined(Question, SUBJECT="circus.set")

    assert catalog.find("circus.set") is not None
    assert not catalog.is_command("circus.set")
    assert "submit-circus-set" not in asyncapi()["channels"]
    assert "cb.acme.submit.circus.set" not in tenant_permissions("acme", "alice").publish


def test_a_base_of_requests_is_none_itself(registry: dict[str, Any]):
    before = set(registry)
    base_of_some = defined(Command)
    assert set(registry) == before
    defined(base_of_some, SUBJECT="circus.juggle")
    assert set(registry) == before | {"circus.juggle"}


@pytest.mark.parametrize(
    "fields",
    [
        {"SUBJECT": "juggle"},
        {"SUBJECT": "cb.{tenant}.circus.juggle"},
        {"SUBJECT": "circus.Juggle"},
        {"SUBJECT": "events.juggle"},
        {"SUBJECT": "submit.juggle"},
        {"SUBJECT": "agents.execute"},
        {"SUBJECT": "circus.juggle", "REPLY": None},
        {"SUBJECT": "circus.juggle", "REPLY": dict},
        {"SUBJECT": "circus.juggle", "ACTION": None},
        {"SUBJECT": "circus.juggle", "ACTION": "circus:fly"},
    ],
)
@pytest.mark.parametrize("kind", [Command, Question])
def test_a_request_that_is_not_whole_cannot_be_defined(kind: type, fields: dict[str, Any]):
    with pytest.raises(TypeError, match="Juggle: "):
        defined(kind, **fields)
