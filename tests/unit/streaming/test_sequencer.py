import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.sequencer import MAX_CHUNK_CHARACTERS, Sequencer
from schemas.lifecycle import Deltas
from schemas.llm import ToolCall
from schemas.streams import ContentChunk, StreamEvent, Thinking, ThinkingChunk, ToolCalled

AT = datetime(2026, 11, 21, tzinfo=UTC)


def sequencer() -> Sequencer:
    return Sequencer("ex1", segment=2, step=1, attempt=3)


def place(sequence: int) -> dict[str, Any]:
    return {
        "execution_id": "ex1",
        "segment": 2,
        "sequence": sequence,
        "at": AT,
        "step": 1,
        "attempt": 3,
    }


def test_events_count_from_zero_and_neighbours_of_one_kind_become_one():
    numbered = sequencer()
    call = ToolCall(id="a", name="time", arguments='{"zone": "CET"}')

    events: list[StreamEvent] = [numbered.thinking("Asking", AT)]
    events += numbered.events([ReasoningDelta("H"), ReasoningDelta("m"), TextDelta("Yes")], AT)
    events += numbered.events([TextDelta("."), call, call, TextDelta("!")], AT)

    called: dict[str, Any] = {"call_id": "a", "tool_name": "time", "arguments": {"zone": "CET"}}
    assert events == [
        Thinking(status="Asking", **place(0)),
        ThinkingChunk(content="Hm", **place(1)),
        ContentChunk(content="Yes", **place(2)),
        ContentChunk(content=".", **place(3)),
        ToolCalled(**called, **place(4)),
        ToolCalled(**called, **place(5)),
        ContentChunk(content="!", **place(6)),
    ]
    assert numbered.deltas == Deltas(count=7, sha256=hashlib.sha256(b"Yes.!").hexdigest())


def test_an_attempt_that_wrote_nothing_has_the_hash_of_nothing():
    assert sequencer().deltas == Deltas(count=0, sha256=hashlib.sha256().hexdigest())


@pytest.mark.parametrize("arguments", ['{"city": Oslo', "", "[" * 100_000, "[" * 965 + "]" * 965])
def test_malformed_arguments_are_shown_as_they_came(arguments: str):
    [event] = sequencer().events([ToolCall(id="a", name="b", arguments=arguments)], AT)

    assert isinstance(event, ToolCalled)
    assert event.arguments == arguments


def test_a_long_text_is_spread_over_events_that_fit_into_a_message():
    text = "\x01" * (2 * MAX_CHUNK_CHARACTERS + 1)

    events = sequencer().events([TextDelta(text)], AT)

    assert [len(event.content) for event in events if isinstance(event, ContentChunk)] == [
        MAX_CHUNK_CHARACTERS,
        MAX_CHUNK_CHARACTERS,
        1,
    ]
    assert max(len(msgspec.json.encode(event)) for event in events) < 512 * 1024


TEXT = st.text(st.characters(codec="utf-8"))
DELTAS = st.lists(st.one_of(TEXT.map(TextDelta), TEXT.map(ReasoningDelta)))


@given(st.lists(DELTAS))
def test_what_was_published_is_what_is_counted_and_hashed(reads: list[list[Delta]]):
    numbered = sequencer()

    events = [event for deltas in reads for event in numbered.events(deltas, AT)]

    text = "".join(event.content for event in events if isinstance(event, ContentChunk))
    given_text = "".join(d.text for read in reads for d in read if isinstance(d, TextDelta))
    assert text == given_text
    assert [event.sequence for event in events] == list(range(len(events)))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert numbered.deltas == Deltas(count=len(events), sha256=digest)
