"""What is written today is what was written before, byte for byte; old bytes are readable."""

from collections import Counter
from typing import Any

import jsonschema
import msgspec
import pytest

from bus.codec import decode, encode
from schemas.catalog import messages
from schemas.documents import json_schema
from schemas.llm import ContentPart, ResponseFormat
from schemas.providers import Provider
from schemas.streams import StreamEvent
from tests.contract.examples import example
from tests.contract.golden_files import DOCUMENTS, FOLDER, document, versions, wanted
from tests.contract.registry import file_name, message_classes

CLASSES = message_classes()
SCHEMA = json_schema()


def by_name(kind: type) -> str:
    return kind.__name__


def validator(kind: type) -> Any:
    return jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{kind.__name__}"})


def test_every_class_has_a_name_of_its_own():
    assert [name for name, n in Counter(map(file_name, CLASSES)).items() if n > 1] == []


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
def test_every_class_says_what_it_is_for(kind: type):
    assert vars(kind).get("__doc__")


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
def test_a_message_is_written_as_its_golden_file_and_read_back_from_it(kind: Any):
    assert versions(kind), f"python -m tests.contract.regenerate {file_name(kind)}"
    golden = versions(kind)[-1].read_bytes()
    assert encode(example(kind)) == golden
    assert decode(kind, golden) == example(kind)


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
def test_a_golden_file_shows_every_field(kind: Any):
    shown = set(msgspec.json.decode(versions(kind)[-1].read_bytes()))
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    tag = {kind.__struct_config__.tag_field} - {None}
    assert shown == fields | tag


def test_what_older_versions_wrote_is_still_read():
    for kind in CLASSES:
        for path in versions(kind)[:-1]:
            assert isinstance(decode(kind, path.read_bytes()), kind)


def test_no_golden_file_stands_without_its_class():
    expected = {path for kind in CLASSES for path in versions(kind)} | set(wanted())
    assert set(FOLDER.iterdir()) == expected


@pytest.mark.parametrize("union", [StreamEvent, Provider, ResponseFormat, ContentPart])
def test_the_type_field_tells_the_members_of_a_union_apart(union: Any):
    for kind in union.__args__:
        assert decode(union, versions(kind)[-1].read_bytes()) == example(kind)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_generated_as_its_golden_file(name: str):
    assert (FOLDER / name).read_bytes() == document(name)


@pytest.mark.parametrize("kind", messages(), ids=by_name)
def test_somebody_elses_validator_accepts_a_golden_message(kind: Any):
    validator(kind).validate(msgspec.json.decode(versions(kind)[-1].read_bytes()))


@pytest.mark.parametrize("kind", messages(), ids=by_name)
def test_somebody_elses_validator_refuses_what_we_refuse(kind: Any):
    sample = msgspec.json.decode(versions(kind)[-1].read_bytes())
    for field in msgspec.structs.fields(kind):
        if field.required:
            lacking = {name: value for name, value in sample.items() if name != field.encode_name}
            assert not validator(kind).is_valid(lacking)
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(lacking, kind)
