"""Replies that are forgotten by age: a repeat is answered or refused, never carried out again."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.codec import decode, encode
from bus.ids import new_id
from bus.ports import Resting
from bus.shard.book import ShardBook
from bus.shard.turn import PendingCommand, answer_unchanged, take_turn
from schemas.journal import NOTHING, Commit, Snapshot
from schemas.problems import Problem
from schemas.replies import (
    ANSWER,
    MOST_AHEAD,
    PAGES_EACH_AGE,
    StoredReply,
    copied,
    find,
    keep,
    made_at,
    refusal,
)
from tests.unit.bus.shard_entity import ENTITY, Add, Total, pending

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AGE = timedelta(hours=1)
AGING = replace(ENTITY, reply_age=AGE)
ADDRESS = ("acme", "c")


def id_of(at: datetime, number: int = 0) -> str:
    """Return an id of UUID version 7 that was made at a moment."""
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | number))


def turn(book: ShardBook, wanted: PendingCommand, now: datetime = NOW) -> Total | Problem:
    outcome = take_turn(book, [wanted], now)
    commit = Commit(n=book.n + 1, epoch=1, turn="t", at=now, entries=outcome.entries)
    book.mark(commit)
    return msgspec.json.decode(outcome.replies[0][1], type=Total | Problem)


def refused(book: ShardBook, wanted: PendingCommand, now: datetime = NOW) -> str:
    answer = turn(book, wanted, now)
    assert isinstance(answer, Problem)
    assert answer.field == "id"
    return answer.code


def add(name: str, amount: int = 1) -> PendingCommand:
    return pending(name, "c", Add(amount=amount))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a1", "validation"),
        (str(uuid.UUID(int=4 << 76 | 2 << 62)), "validation"),
        (id_of(NOW, 10).upper(), "validation"),
        (id_of(NOW) + "\n", "validation"),
        (id_of(NOW + MOST_AHEAD + timedelta(milliseconds=1)), "validation"),
        (id_of(NOW - AGE), "conflict"),
    ],
)
def test_an_id_that_does_not_tell_a_time_within_the_age_is_refused(name: str, code: str):
    book = ShardBook(AGING)

    assert refused(book, add(name)) == code
    assert book.slots == {}


@pytest.mark.parametrize("at", [NOW - AGE + timedelta(milliseconds=1), NOW, NOW + MOST_AHEAD])
def test_an_id_within_the_age_is_taken_and_known_again(at: datetime):
    book, name = ShardBook(AGING), id_of(at)

    assert turn(book, add(name)) == turn(book, add(name)) == Total(total=1)
    assert refused(book, pending(name, "c", Add(amount=2), digest="other")) == "conflict"


def test_fresh_ids_are_taken():
    made = made_at(new_id())

    assert made is not None
    assert refusal(id_of(made), made, AGE) is None


def test_answers_to_own_asks_have_no_age_and_no_reply_of_theirs_is_kept():
    book = ShardBook(AGING)

    for total in (1, 2):
        assert turn(book, add(f"{ANSWER}e1.1.1.reserve.1")) == Total(total=total)
    assert book.slots[ADDRESS].replies == {}


def test_where_all_replies_are_kept_any_id_is_taken_however_late():
    book = ShardBook(ENTITY)

    turn(book, add("a1"))

    assert turn(book, add("a1"), NOW + 1000 * AGE) == Total(total=1)


def test_a_full_journal_answers_repeats_from_the_pages():
    book, name = ShardBook(AGING), id_of(NOW)
    turn(book, add(name))

    assert answer_unchanged(book, add(name).envelope, NOW) == encode(Total(total=1))
    assert answer_unchanged(book, add(id_of(NOW, 2)).envelope, NOW) is None


def test_replies_are_dropped_in_pages_and_a_copy_keeps_what_it_had():
    book = ShardBook(AGING)
    for minute in range(600):
        now = NOW + timedelta(minutes=minute)
        turn(book, add(id_of(now, minute)), now)
    replies = book.slots[ADDRESS].replies
    before = copied(replies)
    turn(book, add(id_of(NOW + 100 * AGE)), NOW + 100 * AGE)

    assert len(before) <= PAGES_EACH_AGE + 2
    assert sum(map(len, before.values())) <= 64
    assert [list(page) for page in replies.values()] == [[id_of(NOW + 100 * AGE)]]


def test_a_page_stands_while_an_id_of_it_is_taken_though_the_newest_is_ahead():
    book, width = ShardBook(AGING), AGE / PAGES_EACH_AGE
    start = datetime(1970, 1, 1, tzinfo=UTC)
    end = start + -((start - NOW) // width) * width
    last = id_of(end - timedelta(milliseconds=1))
    turn(book, add(last), end)
    now = end + AGE - MOST_AHEAD
    turn(book, add(id_of(end + AGE)), now)

    assert turn(book, add(last), now) == Total(total=1)


def test_an_image_does_not_change_with_the_book():
    book = ShardBook(ENTITY)
    turn(book, add("a1"))
    (image,) = book.image().slots
    fresh = ShardBook(ENTITY)
    fresh.load(book.image())
    turn(book, add("a2"))

    assert [list(page) for page in image.replies.values()] == [["a1"]]
    assert turn(fresh, add("a1")) == Total(total=1)


moves = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(-3700, 70),
        st.sampled_from([0, 1, 60, 120, 1800, 3600]),
        st.sampled_from(["stays", "sleeps", "snapshot"]),
    ),
    max_size=30,
)


@given(moves)
@settings(deadline=None)
def test_whatever_comes_again_nothing_is_carried_out_twice(
    sequence: list[tuple[int, int, int, str]],
):
    book, now, done = ShardBook(AGING), NOW, dict[str, Total]()
    for number, seconds, pause, how in sequence:
        now += timedelta(seconds=pause)
        for name in (id_of(now + timedelta(seconds=seconds), number), *done):
            answer = turn(book, add(name), now)
            if name in done:
                assert answer == done[name] or isinstance(answer, Problem)
                assert answer == done[name] or refusal(name, now, AGE) is not None
            elif isinstance(answer, Total):
                done[name] = answer
        book = _elsewhere(book, how)
    state = book.state(ADDRESS)
    assert (0 if state is None else state.total) == len(done)


def _elsewhere(book: ShardBook, how: str) -> ShardBook:
    """Return the book as it comes back from where it was stored."""
    if how == "snapshot":
        fresh = ShardBook(AGING)
        fresh.load(decode(Snapshot, encode(book.image())))
        return fresh
    if how == "sleeps" and ADDRESS in book.slots:
        resting = book.at_rest(ADDRESS)
        book.evict(ADDRESS)
        book.wake(Resting(*resting))
    return book


@given(st.lists(st.integers(0, 10_000), max_size=200))
def test_every_reply_whose_id_would_be_taken_is_found(seconds: list[int]):
    replies, now = dict[int, dict[str, StoredReply]](), NOW
    names = list[str]()
    for number, second in enumerate(seconds):
        name = id_of(NOW + timedelta(seconds=second), number)
        now = max(now, NOW + timedelta(seconds=second) - MOST_AHEAD)
        if refusal(name, now, AGE) is None:
            names.append(name)
            keep(replies, name, StoredReply(digest=name, reply=NOTHING), AGE)
    for name in names:
        found = find(replies, name, AGE)
        assert found is not None or refusal(name, now, AGE) is not None
        assert found is None or found.digest == name
