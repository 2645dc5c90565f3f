"""What commands open and close of an entity, without a listing of all that is open."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.requests.rpc import command
from bus.shard.book import ShardBook
from bus.shard.turn import Outcome, PendingCommand, take_turn
from schemas.decision import by_id
from schemas.journal import Commit
from schemas.problems import Problem
from schemas.work import Claim, Done, Lost, WorkFailure, WorkItem
from tests.bench.open_items import turn_ms
from tests.hub import HERE, HUB, Command, Hub, Ring, Start

AT = datetime(2026, 12, 1, tzinfo=UTC)
HERE_IT_IS = (HERE.tenant, HERE.key)
BUSY = Problem(code="provider_overloaded", message="later", retryable=True)

works = st.integers(0, 9).map(str)
numbers = st.integers(1, 4)
said: st.SearchStrategy[Command] = st.one_of(
    st.builds(Start, works=st.lists(works, max_size=4, unique=True)),
    st.builds(Claim, work=works, attempt=numbers),
    st.builds(Lost, work=works, attempt=numbers, begun=st.booleans()),
    st.builds(Done, work=works, attempt=numbers),
    st.builds(WorkFailure, work=works, attempt=numbers, problem=st.just(BUSY)),
    st.just(Ring()),
)


def turn(book: ShardBook, commands: list[Command], at: datetime = AT) -> Outcome:
    letters = [PendingCommand(command("", *HERE_IT_IS, each)) for each in commands]
    outcome = take_turn(book, letters, at)
    book.n += 1
    return outcome


def not_again(book: ShardBook, commands: list[Command]) -> list[Command]:
    """Return what is not a start of work that is known already."""
    state: Hub | None = book.slots[HERE_IT_IS].state if HERE_IT_IS in book.slots else None
    known = {name for page in state.attempts.works for name in page} if state else set[str]()
    fresh: list[Command] = []
    for each in commands:
        if isinstance(each, Start):
            each = Start(works=[work for work in each.works if work not in known])  # noqa: PLW2901
            known.update(each.works)
        fresh.append(each)
    return fresh


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(said, max_size=4), max_size=12))
def test_what_turns_open_and_close_is_what_states_list_and_what_replay_finds(
    turns: list[list[Command]],
):
    book, replayed, open_now = ShardBook(HUB), ShardBook(HUB), dict[str, WorkItem[Start]]()
    for number, commands in enumerate(turns):
        outcome = turn(book, not_again(book, commands), AT + timedelta(seconds=20 * number))
        for each in outcome.closed:
            del open_now[each.id]
        for _, each in outcome.opened:
            assert each.id not in open_now
            open_now[each.id] = each
        commit = Commit(n=number + 1, epoch=1, turn="t", at=AT, entries=outcome.entries)
        replayed.replay(commit, outcome.entries)
    slot = book.slots.get(HERE_IT_IS)
    state = slot.state if slot is not None else None
    wanted = by_id(HUB.effects(state)) if state is not None else {}

    assert open_now == wanted
    assert {effect.id: effect for _, effect in book.open_work()} == wanted
    assert {effect.id: effect for _, effect in replayed.open_work()} == wanted
    assert replayed.next_due == book.next_due


def test_what_opens_and_closes_in_one_turn_leaves_no_trace():
    outcome = turn(ShardBook(HUB), [Start(works=["a", "b"]), Done(work="a", attempt=1)])

    assert [effect.work for _, effect in outcome.opened] == ["b"]
    assert outcome.closed == []


def test_an_entity_that_comes_into_memory_has_all_that_its_state_lists():
    book, loaded = ShardBook(HUB), ShardBook(HUB)
    turn(book, [Start(works=["a", "b"]), WorkFailure(work="a", attempt=1, problem=BUSY)])

    image = msgspec.json.decode(msgspec.json.encode(book.image()), type=type(book.image()))
    loaded.load(image)

    assert [effect.work for _, effect in loaded.open_work()] == ["b"]
    assert loaded.next_due == book.next_due


def test_neither_a_turn_nor_its_replay_lists_what_is_open():
    def effects(_: Hub) -> list[WorkItem[Start]]:
        raise AssertionError

    entity = replace(HUB, effects=effects)
    book, replayed = ShardBook(entity), ShardBook(entity)
    outcome = turn(book, [Start(works=["a", "b"]), Done(work="a", attempt=1)])
    commit = Commit(n=1, epoch=1, turn="t", at=AT, entries=outcome.entries)
    replayed.replay(commit, outcome.entries)

    assert not book.corrupt
    assert not replayed.corrupt
    assert [effect.work for _, effect in replayed.open_work()] == ["b"]


def test_a_turn_costs_no_more_the_more_is_open():
    # A walk through everything would make it several hundred times.
    assert turn_ms(20_000, turns=31) <= 15 * turn_ms(10, turns=31)
