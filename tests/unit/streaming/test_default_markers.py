"""A field with its default value says nothing: what is read is the same with it and without."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.titan.reader import TitanReader
from schemas.llm import Answer
from tests.frames import chunk as invocation
from tests.unit.streaming.default_markers import WIRES, Wire
from tests.wires import HELLO, ReaderOf, answered, failed, sse


def objects_at(value: Any, path: str) -> Iterator[dict[str, Any]]:
    """Return the objects at a path within an event."""
    name, _, rest = path.partition(".")
    if not path:
        if isinstance(value, dict):
            yield value
    elif name == "*":
        inner = (
            value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        )
        for one in inner:
            yield from objects_at(one, rest)
    elif isinstance(value, dict) and name in value:
        yield from objects_at(value[name], rest)


class Addition(NamedTuple):
    event: int
    path: str
    which: int
    field: str
    default: Any


def additions(wire: Wire) -> list[Addition]:
    """Return all fields that can be added with a default to one of the objects of a stream."""
    return [
        Addition(at, path, which, field, default)
        for at, event in enumerate(wire.events)
        for path, fields in wire.fields.items()
        for which, holder in enumerate(objects_at(event, path))
        for field, values in fields.items()
        if field not in holder
        for default in values
    ]


def read(wire: Wire, added: list[Addition]) -> tuple[Any, Answer]:
    events = copy.deepcopy(wire.events)
    places = [[*objects_at(events[one.event], one.path)][one.which] for one in added]
    for holder, one in zip(places, added, strict=True):
        holder[one.field] = copy.deepcopy(one.default)
    return answered(wire.reader(HELLO), map(wire.write, events))


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_no_known_field_with_its_default_changes_what_is_read(wire: Wire):
    expected = read(wire, [])

    assert expected[1].text.startswith("Hi")
    assert expected[1].usage.output == 5
    for one in additions(wire):
        assert read(wire, [one]) == expected, one


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
@given(data=st.data())
def test_no_known_fields_with_their_defaults_change_what_is_read(wire: Wire, data: st.DataObject):
    some = st.lists(st.sampled_from(additions(wire)), max_size=12, unique_by=lambda one: one[:4])

    assert read(wire, data.draw(some)) == read(wire, [])


@pytest.mark.parametrize(
    ("reader", "event"),
    [
        (
            TitanReader,
            invocation(
                {
                    "outputText": "Hi",
                    "totalOutputTextTokenCount": 0,
                    "amazon-bedrock-guardrailAction": "NONE",
                }
            ),
        ),
        (
            GeminiReader,
            sse(
                {
                    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": ""}],
                    "promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"},
                }
            ),
        ),
    ],
    ids=["titan", "gemini"],
)
def test_a_default_is_no_word_for_the_end(reader: ReaderOf, event: bytes):
    assert failed(reader(HELLO), [event]).retryable
