"""Laws of a turn and of the book it changes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.codec import decode, encode
from bus.ports import Resting
from bus.shard.book import ShardBook
from bus.shard.turn import Outcome, PendingCommand, answer_unchanged, take_turn
from schemas.journal import CommandEnvelope, Commit, Snapshot
from schemas.problems import Problem
from tests.unit.bus.shard_entity import (
    ENTITY,
    Add,
    Break,
    Counter,
    Sleep,
    Total,
    Wake,
    pending,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADDRESS = ("acme", "c")


def commit_of(book: ShardBook, outcome: Outcome, now: datetime = NOW) -> Commit:
    """Return the commit of a turn as the journal would give it back."""
    n = book.n + 1
    commit = Commit(n=n, epoch=1, turn=f"t.{n}", at=now, entries=outcome.entries)
    return decode(Commit, encode(commit))


def turn(
    book: ShardBook, letters: Sequence[PendingCommand], now: datetime = NOW
) -> tuple[Outcome, Commit]:
    outcome = take_turn(book, letters, now)
    commit = commit_of(book, outcome, now)
    book.mark(commit)
    return outcome, commit


def shown(book: ShardBook) -> Snapshot:
    image = book.image()
    ordered = sorted(image.slots, key=lambda slot: (slot.tenant, slot.key))
    return decode(Snapshot, encode(msgspec.structs.replace(image, slots=ordered)))


def answers(outcome: Outcome) -> list[Total | Problem]:
    return [msgspec.json.decode(data, type=Total | Problem) for _, data in outcome.replies]


# Exactly once


def test_a_repeated_command_gets_the_stored_reply_and_changes_nothing():
    book = ShardBook(ENTITY)
    turn(book, [pending("1", "c", Add(amount=2))])
    turn(book, [pending("2", "c", Add(amount=3))])

    outcome, _ = turn(book, [pending("1", "c", Add(amount=2))])

    assert (answers(outcome), outcome.entries) == ([Total(total=2)], [])
    assert book.slots[ADDRESS].state == Counter(total=5)


def test_a_repeat_within_one_turn_is_a_repeat_too():
    outcome, _ = turn(ShardBook(ENTITY), [pending("1", "c", Add(amount=2))] * 3)

    assert answers(outcome) == [Total(total=2)] * 3
    assert len(outcome.entries) == 1


def test_another_digest_under_the_same_id_is_a_conflict():
    book = ShardBook(ENTITY)
    turn(book, [pending("1", "c", Add(amount=2), digest="one")])

    outcome, _ = turn(book, [pending("1", "c", Add(amount=9), digest="other")])

    (problem,) = answers(outcome)
    assert isinstance(problem, Problem)
    assert (problem.code, outcome.entries) == ("conflict", [])


def test_a_command_without_id_is_decided_each_time():
    book = ShardBook(ENTITY)

    turn(book, [pending("", "c", Add(amount=2))] * 2)

    assert book.slots[ADDRESS].state == Counter(total=4)


def test_a_refusal_stores_nothing_and_may_be_asked_again():
    outcome, _ = turn(ShardBook(ENTITY), [pending("1", "c", Add(amount=0))])

    assert [type(answer) for answer in answers(outcome)] == [Problem]
    assert (outcome.entries, outcome.touched, outcome.publications) == ([], {}, [])


def test_a_command_nobody_waits_for_is_not_answered():
    outcome, _ = turn(ShardBook(ENTITY), [pending("1", "c", Add(amount=1), reply="")])

    assert outcome.replies == []
    assert len(outcome.entries) == 1


def test_a_command_that_cannot_be_read_is_refused_with_its_field():
    body = msgspec.Raw(b'{"type":"add","amount":"two"}')
    unread = PendingCommand(CommandEnvelope(id="1", tenant="acme", key="c", body=body), "answer")

    outcome, _ = turn(ShardBook(ENTITY), [unread])

    (problem,) = answers(outcome)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", "amount")


# Defects of a core


@pytest.mark.parametrize("where", ["decide", "evolve"])
def test_a_core_that_raises_is_rejected_for_good_and_laid_aside(where: str):
    book = ShardBook(ENTITY)
    turn(book, [pending("1", "c", Add(amount=2))])

    outcome, _ = turn(
        book, [pending("2", "c", Break(where=where)), pending("3", "c", Add(amount=1))]
    )
    again, _ = turn(book, [pending("2", "c", Break(where=where))])

    problem, total = answers(outcome)
    assert isinstance(problem, Problem)
    assert (problem.code, total) == ("internal", Total(total=3))
    assert problem.message.endswith("Error in decide")
    assert [envelope.id for envelope, _ in outcome.crashed] == ["2"]
    assert (answers(again), again.crashed, again.entries) == ([problem], [], [])
    assert book.slots[ADDRESS].state == Counter(total=3)


def test_a_command_on_which_a_core_raised_is_decided_when_it_is_handed_in_again():
    book = ShardBook(ENTITY)
    turn(book, [pending("1", "c", Break(where="decide"), digest="d")])
    dead = pending("1", "c", Break(where="decide"), digest="d")
    redriven = PendingCommand(msgspec.structs.replace(dead.envelope, redriven=True), "answer")
    mended = msgspec.structs.replace(redriven.envelope, body=msgspec.Raw(encode(Add(amount=3))))
    still, _ = turn(book, [redriven])
    done, _ = turn(book, [PendingCommand(mended, "answer")])
    again, _ = turn(book, [PendingCommand(mended, "answer")])

    assert len(still.crashed) == 1
    assert answers(done) == answers(again) == [Total(total=3)]
    assert again.entries == []


def test_a_rejection_is_remembered_by_the_next_owner_even_where_nothing_else_is():
    book = ShardBook(ENTITY)
    outcome, commit = turn(book, [pending("1", "c", Break(where="decide"))])
    replayed, loaded = ShardBook(ENTITY), ShardBook(ENTITY)
    replayed.replay(commit, commit.entries)
    loaded.load(shown(book))

    for heir in (replayed, loaded):
        again, _ = turn(heir, [pending("1", "c", Break(where="decide"))])
        assert (answers(again), again.crashed) == (answers(outcome), [])


# Work and timers


def test_work_opens_and_closes_with_the_state():
    book = ShardBook(ENTITY)

    opened, _ = turn(book, [pending("1", "c", Add(amount=11))])
    work = [work for _, work in opened.opened]
    replaced, _ = turn(book, [pending("2", "c", Add(amount=1))])
    turn(book, [pending("3", "c", Add(amount=-5))])

    assert [item.id for item in work] == ["work-11"]
    assert [item.id for _, item in replaced.opened] == ["work-12"]
    assert list(book.open_work()) == []
    assert not book.is_open(ADDRESS, work[0])


def test_what_a_turn_opens_and_closes_again_is_never_sent():
    outcome, _ = turn(
        ShardBook(ENTITY), [pending("1", "c", Add(amount=11)), pending("2", "c", Add(amount=-11))]
    )

    assert outcome.opened == []


def test_a_timer_is_due_once_and_only_in_its_newest_form():
    book = ShardBook(ENTITY)
    turn(book, [pending("1", "c", Sleep(seconds=10))])
    turn(book, [pending("2", "c", Sleep(seconds=5))])
    turn(book, [pending("3", "c", Sleep(seconds=10))])

    early = book.take_due(NOW + timedelta(seconds=5), 10)
    in_time = book.take_due(NOW + timedelta(seconds=10), 10)

    assert (early, in_time, book.next_due) == ([], [ADDRESS], None)


def test_changes_that_leave_a_timer_alone_do_not_set_it_again():
    book = ShardBook(ENTITY)
    turn(book, [pending("0", "c", Sleep(seconds=10))])
    for number in range(1, 20):
        turn(book, [pending(str(number), "c", Add(amount=1))])

    assert book.take_due(NOW + timedelta(seconds=10), 100) == [ADDRESS]


# Recovery


bodies = st.one_of(
    st.builds(Add, amount=st.integers(-20, 20)),
    st.builds(Sleep, seconds=st.sampled_from((1.0, 5.0))),
    st.just(Wake()),
    st.builds(Break, where=st.sampled_from(("decide", "evolve"))),
)
letters = st.builds(
    pending, st.sampled_from(("", "1", "2", "3", "4")), st.sampled_from(("a", "b")), bodies
)
turns = st.lists(st.lists(letters, max_size=4), max_size=8)


@settings(max_examples=60)
@given(turns, st.integers(0, 8))
def test_a_snapshot_and_the_commits_after_it_are_worth_all_commits(
    sequence: list[list[PendingCommand]], cut: int
):
    live, replayed, loaded = ShardBook(ENTITY), ShardBook(ENTITY), ShardBook(ENTITY)
    for place, waiting in enumerate(sequence):
        outcome, commit = turn(live, waiting, NOW + timedelta(seconds=place))
        assert replayed.replay(commit, commit.entries) == outcome.publications
        if place < cut:
            loaded = ShardBook(ENTITY)
            loaded.load(shown(live))
            loaded.mark(commit)
        else:
            loaded.replay(commit, commit.entries)

    assert shown(replayed) == shown(live)
    assert shown(loaded) == shown(live)
    work = sorted(item.id for _, item in live.open_work())
    assert [sorted(w.id for _, w in book.open_work()) for book in (replayed, loaded)] == [work] * 2
    late = NOW + timedelta(days=1)
    due = sorted(live.take_due(late, 100))
    assert [sorted(book.take_due(late, 100)) for book in (replayed, loaded)] == [due] * 2


def test_entries_are_numbered_and_name_the_commit_of_the_one_before():
    book = ShardBook(ENTITY)
    _, first = turn(book, [pending("1", "c", Add(amount=1)), pending("2", "c", Add(amount=1))])
    _, second = turn(book, [pending("3", "d", Add(amount=1))])
    _, third = turn(book, [pending("4", "c", Break(where="decide"))])

    entries = [entry for commit in (first, second, third) for entry in commit.entries]
    assert [(entry.key, entry.n, entry.after) for entry in entries] == [
        ("c", 1, 0),
        ("c", 2, 1),
        ("d", 1, 0),
        ("c", 3, 1),
    ]


def test_an_entry_whose_forerunner_is_missing_is_not_applied():
    live, replayed = ShardBook(ENTITY), ShardBook(ENTITY)
    commits = [turn(live, [pending(name, "c", Add(amount=1))])[1] for name in "123"]
    for commit in (commits[0], commits[2]):
        replayed.replay(commit, commit.entries)

    assert replayed.corrupt == {ADDRESS: "entry 3 after commit 2 follows entry 1 of commit 1"}
    assert replayed.slots[ADDRESS].state == Counter(total=1)


@pytest.mark.parametrize("held", [1, 2, 3])
def test_what_a_state_at_rest_holds_is_passed_over_by_replay(held: int):
    live, replayed = ShardBook(ENTITY), ShardBook(ENTITY)
    commits, at_rest = list[Commit](), list[Resting]()
    for name in "123":
        _, commit = turn(
            live, [pending(name, "c", Add(amount=1)), pending(name, "d", Add(amount=1))]
        )
        commits.append(commit)
        at_rest.append(live.at_rest(ADDRESS))
    replayed.wake(at_rest[held - 1])
    for commit in commits:
        replayed.replay(commit, commit.entries)

    assert shown(replayed) == shown(live)
    assert replayed.slots[ADDRESS].replies == live.slots[ADDRESS].replies


def test_a_state_at_rest_that_cannot_be_read_costs_its_entity_alone():
    book = ShardBook(ENTITY)
    book.wake(Resting("acme", "c", 3, b'{"version":1,"n":3,"last":7,"state":{"total":"x"}}'))

    assert set(book.corrupt) == {ADDRESS}
    assert (book.slots[ADDRESS].n, book.slots[ADDRESS].last) == (3, 7)


def test_what_needs_no_commit_is_answered_without_a_turn():
    book = ShardBook(ENTITY)
    outcome = take_turn(book, [pending("1", "c", Add(amount=2))], NOW)
    before = book.image()

    def answer(name: str, body: Add | Sleep | Break, digest: str = "") -> bytes | None:
        return answer_unchanged(book, pending(name, "c", body, digest).envelope, NOW)

    assert answer("1", Add(amount=2)) == outcome.replies[0][1]
    assert b'"conflict"' in (answer("1", Add(amount=2), "other") or b"")
    assert b'"validation"' in (answer("2", Add(amount=0)) or b"")
    for body in (Add(amount=1), Sleep(seconds=1.0), Break(where="decide"), Break(where="evolve")):
        assert answer("3", body) is None
    assert book.image() == before
