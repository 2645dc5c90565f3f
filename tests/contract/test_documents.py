"""The AsyncAPI and JSON Schema documents are sound, and say what the table says."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from schemas import catalog
from schemas.documents import asyncapi, json_schema

DOCUMENT = asyncapi()
CHANNELS: dict[str, Any] = DOCUMENT["channels"]
OPERATIONS: dict[str, Any] = DOCUMENT["operations"]


def references(node: Any) -> Iterator[str]:
    match node:
        case dict():
            for key, value in node.items():
                if key == "$ref" and isinstance(value, str):
                    yield value
                else:
                    yield from references(value)
        case list():
            for value in node:
                yield from references(value)
        case _:
            return


def resolved(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_the_json_schema_is_valid_draft_2020_12():
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("document", [asyncapi(), json_schema()], ids=["asyncapi", "json_schema"])
def test_every_reference_leads_somewhere(document: dict[str, Any]):
    found = set(references(document))
    assert found
    assert all(resolved(document, reference) for reference in found)


def test_every_component_is_used():
    used = set(references(DOCUMENT))
    for kind, components in DOCUMENT["components"].items():
        assert {f"#/components/{kind}/{name}" for name in components} <= used


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_declares_just_the_parameters_of_its_address(name: str):
    channel = CHANNELS[name]
    address = channel["address"] or ""
    named = {token[1:-1] for token in address.split(".") if token.startswith("{")}
    assert set(channel.get("parameters", {})) == named
    assert channel["messages"]
    assert channel["description"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_belongs_to_a_channel_and_says_what_it_does(name: str):
    operation = OPERATIONS[name]
    assert operation["action"] in {"send", "receive"}
    assert resolved(DOCUMENT, operation["channel"]["$ref"])
    assert operation["summary"]


@pytest.mark.parametrize("row", catalog.requests(), ids=lambda row: row.name)
def test_a_request_is_answered_by_its_reply_or_a_problem(row: catalog.RequestRow):
    key = row.name.replace(".", "-")
    assert CHANNELS[key]["address"] == row.subject
    assert set(CHANNELS[key]["messages"]) == {row.message.__name__}
    answer = resolved(DOCUMENT, OPERATIONS[key]["reply"]["channel"]["$ref"])
    assert answer["address"] is None
    assert set(answer["messages"]) == {row.reply.__name__, "Problem"}


@pytest.mark.parametrize("row", catalog.requests(), ids=lambda row: row.name)
def test_the_durable_form_of_a_command_has_a_channel_without_a_reply(row: catalog.RequestRow):
    key = f"submit-{row.name.replace('.', '-')}"
    if row.submit is None:
        assert key not in CHANNELS
    else:
        assert CHANNELS[key]["address"] == row.submit
        assert "reply" not in OPERATIONS[key]


def test_the_stream_channel_holds_all_stream_events():
    names = {kind.__name__ for kind in catalog.STREAM_EVENTS}
    assert set(CHANNELS["stream"]["messages"]) == names
    assert CHANNELS["stream"]["address"] == "cb.{tenant}.stream.{execution_id}"


def test_every_fact_has_a_channel_at_its_subject():
    for row in (*catalog.events(), *catalog.records()):
        assert CHANNELS[row.name.replace(".", "-")]["address"] == row.subject


def test_every_public_message_is_defined_in_both_documents():
    names = {kind.__name__ for kind in catalog.messages()}
    assert names == set(DOCUMENT["components"]["messages"])
    assert names <= set(json_schema()["$defs"])
    assert names <= set(DOCUMENT["components"]["schemas"])
