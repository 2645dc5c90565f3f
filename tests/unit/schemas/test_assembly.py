"""Reading a stream: however its events arrive, they become the same text."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.assembly import Assembly
from schemas.streams import StreamEvent, ThinkingChunk
from tests.stream_events import AT, chunk, completed, restarted


def stream(attempts: list[list[str]]) -> list[StreamEvent]:
    """Return the events of an execution whose last attempt was the one that counted."""
    events: list[StreamEvent] = []
    segment = 1
    for place, words in enumerate(attempts):
        if place:
            events.append(restarted(segment, segment - 1))
            segment += 1
        events.extend(chunk(segment, sequence, word) for sequence, word in enumerate(words))
        segment += 1
    return [*events, completed(segment, "".join(attempts[-1]))]


def assembled(events: list[StreamEvent]) -> Assembly:
    assembly = Assembly()
    for event in events:
        assembly.add(event)
    return assembly


attempts = st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=6), min_size=1, max_size=4)


@given(attempts, st.randoms(), st.integers(1, 3))
def test_any_order_and_any_repeats_give_the_same_text(
    words: list[list[str]], chance: random.Random, copies: int
):
    events = stream(words)
    mixed = events * copies
    chance.shuffle(mixed)

    assembly = assembled(mixed)

    assert assembly.text == "".join(words[-1])
    assert list(assembly.events()) == list(assembled(events).events())
    assert assembly.terminal == events[-1]
    assert assembly.repeats == len(events) * (copies - 1)
    assert assembly.gaps() == []
    assert assembly.cursor == events[-1].cursor


@given(attempts, st.data())
def test_a_lost_event_is_a_gap_that_its_repeat_closes(words: list[list[str]], data: st.DataObject):
    events = stream(words)
    missing = data.draw(st.sampled_from(events))
    assembly = assembled([event for event in events if event != missing])
    known_as_missing = assembly.gaps()
    assembly.add(missing)

    assert known_as_missing in ([], [(missing.segment, missing.sequence)])
    assert assembly.text == "".join(words[-1])


def test_an_event_counts_if_it_is_new_and_its_segment_stands():
    assembly = Assembly()

    assert assembly.add(chunk(1, 0, "a"))
    assert not assembly.add(chunk(1, 0, "a"))
    assert assembly.add(restarted(2, 1))
    assert not assembly.add(chunk(1, 1, "b"))
    assert assembly.add(chunk(3, 0, "c"))
    assert assembly.text == "c"


def test_reasoning_is_no_part_of_the_answer():
    thought = ThinkingChunk(execution_id="e", segment=1, sequence=0, at=AT, content="hm")

    assembly = assembled([thought, chunk(1, 1, "Yes.")])

    assert (assembly.reasoning, assembly.text) == ("hm", "Yes.")


@pytest.mark.parametrize(
    ("places", "cursor"),
    [([], None), ([(1, 1)], None), ([(1, 0), (1, 2)], "1.0"), ([(1, 0), (2, 0), (2, 1)], "2.1")],
)
def test_the_cursor_is_the_place_up_to_which_nothing_is_missing(
    places: list[tuple[int, int]], cursor: str | None
):
    assert assembled([chunk(*place, "x") for place in places]).cursor == cursor
