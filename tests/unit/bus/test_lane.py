"""How many items a worker asks for, and what it knows of its requests."""

from hypothesis import given
from hypothesis import strategies as st

from bus.jetstream.lane import EXPIRY_SECONDS, GRACE_SECONDS, IDLE_SECONDS, Lane, consumer_name
from bus.jetstream.ticket import Origin, origin_of
from bus.jetstream.work_queue import ANNOUNCE_SECONDS


def _lane(*requests: int) -> Lane:
    lane = Lane("llm", "acme")
    for number, count in enumerate(requests):
        lane.asked(str(number), count, now=0.0)
    return lane


def test_it_asks_for_all_that_may_be_handed_out():
    assert _lane().wanted(20, now=0.0) == 20


def test_what_stands_counts_and_small_gaps_wait():
    assert _lane(10).wanted(12, now=0.0) == 0
    assert _lane(10).wanted(20, now=0.0) == 10
    assert _lane(10).wanted(0, now=0.0) == 0


def test_items_use_requests_up_in_order():
    lane = _lane(1, 2)

    lane.received()
    lane.received()

    assert lane.outstanding == 1


def test_an_item_that_nobody_asked_for_changes_nothing():
    lane = _lane()

    lane.received()

    assert lane.outstanding == 0


def test_a_request_ends_when_the_server_says_so_or_is_silent_for_too_long():
    lane = _lane(5, 7)

    lane.ended("0")
    lane.ended("unknown")
    after_word = lane.outstanding
    wanted = lane.wanted(3, now=EXPIRY_SECONDS + GRACE_SECONDS + 1)

    assert (after_word, wanted, lane.outstanding) == (7, 3, 0)


def test_after_a_recall_nothing_stands():
    lane = _lane(5, 7)

    lane.recall()

    assert lane.outstanding == 0


def test_a_lane_is_overdrawn_when_much_more_stands_than_may_be_handed_out():
    assert not _lane().is_overdrawn(0)
    assert _lane(1).is_overdrawn(0)
    assert not _lane(14).is_overdrawn(5)
    assert _lane(15).is_overdrawn(5)


@given(st.lists(st.integers(0, 50), max_size=40))
def test_never_more_stands_than_the_highest_credit_ever_given(credits_given: list[int]):
    lane = Lane("llm", "acme")
    for number, credit in enumerate(credits_given):
        count = lane.wanted(credit, now=float(number) / 100)
        if count:
            lane.asked(str(number), count, now=float(number) / 100)

    assert lane.outstanding <= max(credits_given, default=0)


TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_different_lanes_have_different_consumers(a: str, b: str, c: str, d: str):
    assert (consumer_name(a, b) == consumer_name(c, d)) is ((a, b) == (c, d))


def test_deliveries_time_and_sequence_are_read_from_both_forms_of_the_reply_subject():
    old = "$JS.ACK.WORK.llm:acme.3.17.21.1700000000123456789.4"
    new = "$JS.ACK.hub.aBcD.WORK.llm:acme.3.17.21.1700000000123456789.4.xyz"

    assert origin_of(old) == origin_of(new) == Origin(3, 1700000000123456789, 17)


def test_a_lane_without_work_becomes_idle_and_is_forgotten_when_no_request_stands():
    lane = _lane(3)
    lane.touch(0.0)
    later = IDLE_SECONDS + 1

    assert not lane.is_idle(IDLE_SECONDS)
    assert lane.is_idle(later)
    assert not _lane(3).is_forgotten(0.0)
    lane.asked("late", 1, now=later)
    assert not lane.is_forgotten(later)
    lane.ended("late")
    assert lane.is_forgotten(later)
    lane.touch(later)
    assert not lane.is_forgotten(later)


def test_who_announces_work_does_so_before_its_lane_is_idle():
    assert ANNOUNCE_SECONDS < IDLE_SECONDS
