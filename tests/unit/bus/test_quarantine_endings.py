"""An entity of which part cannot be read ends by its own core, then goes on as any ended one."""

from dataclasses import replace
from datetime import UTC, datetime

from bus.codec import decode
from bus.shard.book import ShardBook
from bus.shard.turn import Outcome, PendingCommand, quarantine, take_turn
from schemas.decision import Ask
from tests.unit.bus.shard_entity import ENTITY, Add, Added, Broken, Counter, Total, Wake, pending
from tests.unit.bus.test_quarantine import commit, entry

AT = datetime(2026, 1, 2, tzinfo=UTC)


def owing(state: Counter) -> tuple[Ask, ...]:
    """What an ended counter still has to tell; nothing while it goes on."""
    if state.total >= 0:
        return ()
    return (Ask(id="owed", entity="till", tenant="acme", key="t", since=AT, command=Wake()),)


ENDING = replace(
    ENTITY,
    effects=owing,
    answered=lambda ask, answer: Add(amount=len(ask.id + answer.decode())),
    failing=lambda damage: (damage.state or Counter(), (Added(amount=-50),)),
)


def ended(*letters: PendingCommand) -> tuple[ShardBook, Outcome]:
    book = ShardBook(ENDING)
    take_turn(book, letters, AT)
    book.condemn(("acme", "c"), "a reason")
    return book, quarantine(book, AT, 1000, {("acme", "c"): None})


def test_an_entity_is_ended_by_the_events_of_its_own_core():
    book, outcome = ended(pending("1", "c", Add(amount=12)))
    commit_ = commit(1, *outcome.entries)

    again = ShardBook(ENDING)
    again.replay(commit_, commit_.entries)

    assert book.slots["acme", "c"].state == again.slots["acme", "c"].state == Counter(total=-38)
    assert (again.corrupt, again.unmarked) == (book.corrupt, set())
    assert len(outcome.publications) == 2


def test_an_ended_entity_asks_what_it_owes_and_takes_the_answer_for_every_later_owner():
    book, outcome = ended(pending("1", "c", Add(amount=12)))
    ((address, ask),) = outcome.asked
    assert list(book.open_asks()) == [(address, ask)]

    late = take_turn(book, [pending("2", "c", Add(amount=40))], AT)
    first, second = commit(1, *outcome.entries), commit(2, *late.entries)
    again = ShardBook(ENDING)
    again.replay(first, first.entries)
    again.replay(second, second.entries)

    assert [decode(Total, reply).total for _, reply in late.replies] == [2]
    for each in (book, again):
        assert each.slots["acme", "c"].state == Counter(total=2)
        assert not list(each.open_asks())
        assert set(each.corrupt) == {("acme", "c")}


def test_an_entity_of_which_nothing_is_known_ends_all_the_same():
    book, outcome = ended()

    assert book.slots["acme", "c"].state == Counter(total=-50)
    assert outcome.touched == {("acme", "c"): Counter(total=-50)}


def test_damage_to_an_ended_entity_is_marked_once_more():
    _, outcome = ended(pending("1", "c", Add(amount=12)))
    worse = commit(2, entry("c", Broken()))
    first = commit(1, *outcome.entries)
    again = ShardBook(ENDING)
    again.replay(first, first.entries)
    again.replay(worse, worse.entries)

    assert again.unmarked == {("acme", "c")}
    assert again.is_shut(("acme", "c"))


def test_effects_that_raise_at_the_end_do_not_undo_it():
    book = ShardBook(replace(ENDING, effects=lambda _: 1 // 0))
    book.condemn(("acme", "c"), "a reason")

    outcome = quarantine(book, AT, 1000, {("acme", "c"): None})

    assert outcome.touched == {("acme", "c"): Counter(total=-50)}
