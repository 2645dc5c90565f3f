"""Which messages ask for a receipt, and for which others it speaks."""

from hypothesis import given
from hypothesis import strategies as st

from bus.jetstream.receipts import ASK_SECONDS, MOST_UNASKED, Receipts
from bus.jetstream.ring import Posted, Ring


def _messages(count: int) -> list[Posted]:
    ring = Ring()
    return [ring.add("s", b"", None) for _ in range(count)]


def test_what_comes_seldom_always_asks():
    receipts = Receipts()

    asked = [receipts.asks(one, 2 * at * ASK_SECONDS) for at, one in enumerate(_messages(5))]

    assert (asked, receipts.lacking) == ([True] * 5, False)


def test_a_receipt_speaks_once_for_what_was_sent_before_without_asking():
    receipts, messages = Receipts(), _messages(4)

    asked = [receipts.asks(one, 0.0) for one in messages[:3]]
    receipts.ask(messages[3], 0.0)

    assert asked == [True, False, False]
    assert receipts.settled(messages[0]) == []
    assert receipts.settled(messages[3]) == messages[1:3]
    assert receipts.settled(messages[3]) == []


def test_so_many_at_most_wait_for_one_receipt():
    receipts = Receipts()

    asked = [receipts.asks(one, 0.0) for one in _messages(MOST_UNASKED + 2)]

    assert asked == [True] + [False] * MOST_UNASKED + [True]


def test_a_refusal_leaves_in_doubt_what_it_would_have_spoken_for_and_what_came_after():
    receipts, messages = Receipts(), _messages(4)
    for one in messages[:2]:
        receipts.asks(one, 0.0)
    receipts.ask(messages[2], 0.0)
    receipts.asks(messages[3], 0.0)

    assert receipts.refused(messages[2]) == [messages[1], messages[3]]
    assert not receipts.lacking


def test_what_is_forgotten_is_spoken_for_by_nothing():
    receipts, messages = Receipts(), _messages(3)
    for one in messages:
        receipts.asks(one, 0.0)
    receipts.clear()

    receipts.ask(messages[2], 0.0)

    assert receipts.settled(messages[2]) == []


@given(st.lists(st.floats(0, 0.1), max_size=300))
def test_every_message_is_spoken_for_exactly_once_when_all_that_asked_have_their_receipts(
    pauses: list[float],
):
    receipts, messages, now = Receipts(), _messages(len(pauses) + 1), 0.0
    asking: list[Posted] = []
    for pause, message in zip(pauses, messages, strict=False):
        now += pause
        if receipts.asks(message, now):
            asking.append(message)
    receipts.ask(messages[-1], now)
    asking.append(messages[-1])

    settled = [one.mark for asker in asking for one in (*receipts.settled(asker), asker)]

    assert sorted(settled) == [one.mark for one in messages]
