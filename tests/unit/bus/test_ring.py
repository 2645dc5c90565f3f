"""What an outbox keeps: marks, bounds, and what may be let go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.jetstream import ring as rings
from bus.jetstream.ring import Ring

KEEP = 5.0


def _ring(*sent_and_acked: tuple[float | None, bool]) -> Ring:
    ring = Ring()
    for sent_at, acked in sent_and_acked:
        message = ring.add("s", b"data", None)
        message.sent_at, message.acked = sent_at, acked
    return ring


def test_marks_count_from_one():
    ring = Ring()

    assert [ring.add("s", b"", None).mark for _ in range(3)] == [1, 2, 3]
    assert (ring.posted, ring.safe) == (3, 0)


def test_what_is_acknowledged_and_old_enough_is_let_go():
    ring = _ring((1.0, True), (2.0, True), (9.0, True))

    ring.release(before=9.0)

    assert ([message.mark for message in ring], ring.safe) == ([3], 2)


def test_an_unacknowledged_message_holds_back_those_behind_it():
    ring = _ring((1.0, True), (1.0, False), (1.0, True))

    ring.release(before=9.0)

    assert ([message.mark for message in ring], ring.safe) == ([2, 3], 1)


def test_a_message_that_was_given_up_is_let_go_although_it_was_never_sent():
    ring = _ring((None, True))

    ring.release(before=9.0)

    assert ring.safe == 1


def test_it_is_full_by_count_or_by_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rings, "MAX_MESSAGES", 2)
    monkeypatch.setattr(rings, "MAX_BYTES", 10)
    many, large = Ring(), Ring()

    many.add("s", b"", None)
    large.add("s", bytes(10), None)
    before = many.is_full, large.is_full
    many.add("s", b"", None)
    after = many.is_full

    assert (before, after) == ((False, True), True)


def test_room_comes_back_with_what_is_let_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rings, "MAX_BYTES", 10)
    ring = Ring()
    message = ring.add("s", bytes(10), None)
    message.sent_at, message.acked = 1.0, True

    ring.release(before=2.0)

    assert not ring.is_full


MESSAGES = st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=30)


@given(MESSAGES, st.floats(0, 10))
def test_safe_is_the_length_of_the_settled_beginning(
    messages: list[tuple[float, bool]], before: float
):
    ring = _ring(*messages)
    settled = [acked and sent_at < before for sent_at, acked in messages]

    ring.release(before=before)

    assert ring.safe == [*settled, False].index(False)
    assert [message.mark for message in ring] == list(range(ring.safe + 1, ring.posted + 1))


def test_sizes_are_told_of_what_was_added_since_a_mark():
    ring = Ring()
    for subject, size in (("old", 7), ("a", 10), ("b", 20), ("a", 30)):
        ring.add(subject, b"x" * size, None)

    assert ring.sizes(1) == {
        "a": 40 + 2 * rings.OVERHEAD_BYTES,
        "b": 20 + rings.OVERHEAD_BYTES,
    }
    assert ring.sizes(4) == {}


def test_of_many_messages_some_tell_the_sizes_of_all():
    ring = Ring()
    for number in range(20 * rings.MOST_MEASURED):
        ring.add("loud" if number % 4 else "calm", b"x" * 900, None)

    sizes = ring.sizes(0)

    assert sum(sizes.values()) == pytest.approx(ring.posted * 1000)
    assert sizes["calm"] == pytest.approx(ring.posted * 250, rel=0.4)
