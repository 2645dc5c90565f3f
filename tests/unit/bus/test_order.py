"""Events of a stream, whatever the order in which they arrive, come out in order and once."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bus.client.order import Order
from schemas.assembly import Assembly
from schemas.streams import StreamEvent, ToolProgressed, ToolReturned, first_progress
from tests.stream_events import AT, chunk, completed, restarted, waiting

WHOLE: list[StreamEvent] = [
    chunk(1, 0, "a"),
    chunk(1, 1, "b"),
    restarted(2, 1),
    chunk(3, 0, "a"),
    chunk(3, 1, "b"),
    chunk(3, 2, "c"),
    completed(4, "abc"),
]


def fed(order: Order, events: list[StreamEvent]) -> list[StreamEvent]:
    """Take in events and return what is handed out meanwhile."""
    out: list[StreamEvent] = []
    for event in events:
        order.add(event)
        out.extend(order.ready())
    return out


def test_events_in_order_come_out_at_once():
    order = Order()
    assert fed(order, WHOLE) == WHOLE
    assert (order.ended, order.blocked, order.cursor) == (True, False, "4.0")


@given(st.permutations(WHOLE + WHOLE))
def test_in_any_order_and_twice_they_come_out_by_cursor_and_the_text_is_whole(
    events: list[StreamEvent],
):
    order = Order()
    out = fed(order, events)
    places = [(event.segment, event.sequence) for event in out]
    assert places == sorted(set(places))
    assert [event for event in out if event.segment > 1] == WHOLE[2:]
    assert order.ended


def test_a_gap_holds_back_what_follows_until_it_is_filled():
    order = Order()
    assert fed(order, [chunk(1, 0), chunk(1, 2)]) == [chunk(1, 0)]
    assert (order.blocked, order.may_settle) == (True, False)
    assert fed(order, [chunk(1, 1)]) == [chunk(1, 1), chunk(1, 2)]


def test_a_gap_that_nobody_fills_can_be_given_up():
    order = Order()
    fed(order, [chunk(1, 0), chunk(1, 2)])
    order.settle()
    assert list(order.ready()) == [chunk(1, 2)]


def test_an_end_that_tells_more_than_was_read_waits_for_the_rest():
    order = Order()
    fed(order, [chunk(1, 0, "a"), completed(2, "ab")])
    assert (order.blocked, order.may_settle, order.ended) == (True, False, False)
    assert fed(order, [chunk(1, 1, "b")]) == [chunk(1, 1, "b"), completed(2, "ab")]


def test_a_reader_goes_on_after_its_cursor():
    order = Order("3.1")
    order_out = fed(order, WHOLE)
    assert order_out == [chunk(3, 2, "c")]
    assert (order.blocked, order.may_settle) == (True, True)
    order.settle()
    assert list(order.ready()) == [completed(4, "abc")]


def test_a_reader_of_a_segment_that_became_void_goes_on_with_the_next():
    assert fed(Order("1.0"), WHOLE[2:]) == WHOLE[2:]


def test_text_of_another_attempt_waits_for_the_word_that_the_one_before_is_void():
    order = Order()
    assert fed(order, [chunk(1, 0), chunk(3, 0)]) == [chunk(1, 0)]
    assert (order.blocked, order.lacks_notice, order.may_settle) == (True, True, False)
    assert fed(order, [restarted(2, 1)]) == [restarted(2, 1), chunk(3, 0)]


def test_an_attempt_that_published_nothing_is_not_waited_for():
    order = Order()
    fed(order, [chunk(1, 0), restarted(2, 1), restarted(4, 3)])
    assert (order.blocked, order.lacks_notice, order.may_settle) == (True, False, True)


def test_the_end_of_an_empty_answer_follows_the_word_of_its_attempt():
    order = Order()
    assert fed(order, [chunk(1, 0), restarted(2, 1), completed(4, "")])[:2] == [
        chunk(1, 0),
        restarted(2, 1),
    ]
    assert (order.lacks_notice, order.may_settle) == (False, True)


def test_after_the_word_that_it_waits_nothing_of_its_segment_is_missing():
    order = Order("1.0")
    assert fed(order, [waiting(2)]) == []
    order.settle()
    assert fed(order, [restarted(3, 1), chunk(4, 0)]) == [waiting(2), restarted(3, 1), chunk(4, 0)]


def test_results_of_tools_end_their_segment_and_progress_comes_at_once_and_once():
    place: Any = {"execution_id": "e1", "at": AT, "call_id": "c", "tool_name": "t"}
    end = ToolReturned(segment=2, sequence=0, outcome="ok", **place)
    far = first_progress(1, 1)
    progress = ToolProgressed(segment=1, sequence=far, progress=1.0, **place)
    late = chunk(3, 0, "b")
    order = Order()

    assert fed(order, [chunk(1, 0, "a")]) == [chunk(1, 0, "a")]
    assert fed(order, [progress, progress]) == [progress]
    assert fed(order, [end]) == []
    order.settle()
    assert fed(order, [late]) == [end, late]
    assert order.cursor == "3.0"


def test_the_text_is_that_of_the_newest_step_and_progress_leaves_no_gap():
    known = Assembly()
    first = msgspec.structs.replace(chunk(1, 0, "Let me see."), step=1)
    place: Any = {"execution_id": "e1", "at": AT, "call_id": "c", "tool_name": "t"}
    progress = ToolProgressed(segment=1, sequence=first_progress(1, 1), progress=1.0, **place)
    for event in (first, progress, msgspec.structs.replace(chunk(3, 0, "Done."), step=2)):
        known.add(event)

    assert (known.text, known.gaps()) == ("Done.", [])
