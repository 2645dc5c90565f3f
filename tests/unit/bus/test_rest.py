"""Which entities leave memory, and how they come back."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import FencedError, UnavailableError
from bus.memory import memory_bus
from bus.memory.states import MemoryStateStore
from bus.ports import Fill, Resting, States
from bus.shard.book import ShardBook
from bus.shard.recovery import take_over
from bus.shard.rest import Around, Rest
from bus.shard.turn import take_turn
from bus.streams.capacity import Room
from bus.subjects import journal_subject
from bus.tasks import Wakeup
from schemas.entity import EntityAddress
from schemas.journal import Commit, Snapshot, SnapshotRef
from tests.unit.bus.shard_entity import ENTITY, Add, Break, Counter, Sleep, pending

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SUBJECT = journal_subject("counter", 0)
TIMING = Timing(
    entities_in_memory=0, idle_seconds=0.0, rest_seconds=0.005, work_resend_seconds=0.005
)
ENDED, LIVING, DUE, LATE, BUSY, BROKEN = "ended", "living", "due", "late", "busy", "broken"


def commit(book: ShardBook, *letters: Any) -> Commit:
    """Take a turn and return its commit."""
    outcome, n = take_turn(book, letters, NOW), book.n + 1
    stored = Commit(n=n, epoch=1, turn=f"t.{n}", at=NOW, entries=outcome.entries)
    book.mark(stored)
    return stored


def filled() -> ShardBook:
    """Return a book with an entity in each situation."""
    book = ShardBook(ENTITY)
    commit(
        book,
        pending("1", ENDED, Add(amount=-1)),
        pending("2", LIVING, Add(amount=1)),
        pending("3", DUE, Sleep(seconds=599.0)),
        pending("4", LATE, Sleep(seconds=601.0)),
        pending("5", BUSY, Add(amount=11)),
        pending("6", BROKEN, Break(where="decide")),
    )
    return book


async def look() -> Fill:
    """Say that the journal has no bound."""
    return Fill(0, 0)


async def no_record(address: EntityAddress) -> bytes | None:
    """Say that nothing is stored for users."""
    return None if address else b""


def around(settled: int) -> Around:
    """Return what an owner tells whose commits are settled so far."""
    return Around(lambda: settled, lambda: NOW, Room("journal", look, Wakeup()), no_record)


@asynccontextmanager
async def resting(
    book: ShardBook, timing: Timing = TIMING, settled: int = 9
) -> AsyncGenerator[tuple[Rest, States]]:
    """Run what lets the entities of a book leave."""
    async with memory_bus() as world, world.process() as bus:
        states = bus.states("counter")
        writer = await states.own(0, 0)
        rest = Rest(book, states, writer, 0, around(settled), timing)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rest.run)
            yield rest, states
            tasks.cancel_scope.cancel()


async def left(book: ShardBook, keys: Iterable[str]) -> set[str]:
    """Wait until so many entities are in memory, and a moment longer; return which."""
    wanted = set(keys)
    with anyio.move_on_after(30):
        while {key for _, key in book.slots} != wanted:
            await anyio.sleep(0.002)
    await anyio.sleep(0.02)
    return {key for _, key in book.slots}


async def test_what_has_nothing_open_and_nothing_due_soon_leaves_memory():
    book = filled()
    async with resting(book) as (_, states):
        assert await left(book, {DUE, BUSY}) == {DUE, BUSY}
        stored = {state.key: state async for state in states.read_all(0)}

    assert set(stored) == {ENDED, LIVING, LATE, BROKEN}
    assert {key for _, key in book.sleepers} == {LIVING, LATE, BROKEN}
    assert book.sleepers["acme", LATE].due == NOW + timedelta(seconds=601)


async def test_what_is_at_rest_comes_back_with_its_replies_and_can_leave_again_unwritten():
    book, before = filled(), filled()
    async with resting(book) as (rest, states):
        await left(book, {DUE, BUSY})
        await rest.wake([("acme", key) for key in (ENDED, LIVING, LATE, BROKEN)])
        for address, slot in before.slots.items():
            assert book.slots[address].state == slot.state
            assert (book.slots[address].n, book.slots[address].last) == (slot.n, slot.last)
            assert encode(book.slots[address].replies) == encode(slot.replies)
        assert book.sleepers == {}
        # A newer owner of the states: whoever wrote them again would be refused.
        await states.own(0, 1)
        assert await left(book, {DUE, BUSY}) == {DUE, BUSY}


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ({"entities_in_memory": 4}, 4),
        ({"entities_in_memory": 6}, 6),
        ({"idle_seconds": 60.0}, 5),
    ],
)
async def test_within_its_bound_an_entity_stays(change: dict[str, Any], stays: int):
    book = filled()
    async with resting(book, msgspec.structs.replace(TIMING, **change)):
        with anyio.fail_after(30):
            while len(book.slots) > stays:
                await anyio.sleep(0.002)
        await anyio.sleep(0.02)

    assert len(book.slots) == stays


async def test_what_is_noted_is_bounded_by_the_entities_however_often_they_change():
    book = filled()
    timing = msgspec.structs.replace(TIMING, entities_in_memory=1000)
    async with resting(book, timing) as (rest, _):
        for n in range(2, 500):
            rest.touched(n, [("acme", LIVING), ("acme", ENDED)])

    assert len(rest._quiet) == len(book.slots)


async def test_what_is_not_published_yet_stays():
    book = filled()
    async with resting(book, settled=0):
        assert len(await left(book, ())) == 6


async def test_who_has_lost_the_shard_writes_nothing_and_ends():
    book = filled()

    async def lose() -> None:
        async with resting(book) as (_, states):
            await states.own(0, 5)
            await anyio.sleep(2)

    with pytest.raises(BaseExceptionGroup) as ended:
        await lose()

    assert ended.group_contains(FencedError)
    assert len(book.slots) == 6


async def test_a_write_of_unknown_outcome_is_made_anew_by_an_owner_that_shuts_it_out(
    monkeypatch: pytest.MonkeyPatch,
):
    book, seen = filled(), list[int]()
    write = MemoryStateStore.write

    def unheard(
        store: MemoryStateStore, shard: tuple[str, int], states: Sequence[Resting], owner: int
    ) -> None:
        seen.append(owner)
        if len(seen) == 1:
            raise UnavailableError("states", "no answer")
        write(store, shard, states, owner)

    monkeypatch.setattr(MemoryStateStore, "write", unheard)
    async with resting(book):
        assert await left(book, {DUE, BUSY}) == {DUE, BUSY}

    assert seen[1] > seen[0]


async def test_a_stale_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch):
    book = filled()
    async with resting(book) as (rest, states):
        await left(book, {DUE, BUSY})
        found = await states.read(0, "acme", LIVING)
        assert found is not None
        answers: list[Resting | None] = [None, found._replace(n=0), found]
        monkeypatch.setattr(MemoryStateStore, "read", lambda *_: answers.pop(0))
        await rest.wake([("acme", LIVING)])

    assert answers == []
    assert book.slots["acme", LIVING].state == Counter(total=1)


async def test_a_sleepers_timer_goes_off_once():
    book = filled()
    async with resting(book) as (rest, _):
        await left(book, {DUE, BUSY})
        book.take_due(NOW + timedelta(seconds=600), 10)
        assert book.next_due == NOW + timedelta(seconds=601)
        assert book.take_due(NOW + timedelta(seconds=602), 10) == [("acme", LATE)]
        assert book.next_due is None
        await rest.wake([("acme", LATE)])

    assert book.slots["acme", LATE].state.wake_at == NOW + timedelta(seconds=601)


async def test_a_new_owner_finds_the_sleepers_their_timers_and_what_changed_since():
    book = filled()
    async with memory_bus() as world, world.process() as bus:
        states, journal = bus.states("counter"), bus.journal("counter")
        writer = await states.own(0, 1)
        addresses = [("acme", key) for key in (ENDED, LIVING, LATE)]
        await writer.write([book.at_rest(address) for address in addresses])
        for address in addresses:
            book.evict(address)
        snapshot = await bus.blobs.put(encode(book.image()))
        ref = SnapshotRef(blob=snapshot, n=1, sequence=1)
        first = msgspec.structs.replace(commit(ShardBook(ENTITY)), snapshot=ref)
        await journal.append(SUBJECT, encode(first), expected=0)
        waking = Rest(book, states, writer, 0, around(9), TIMING)
        await waking.wake(addresses[:2])
        second = commit(
            book, pending("7", LIVING, Add(amount=1)), pending("8", ENDED, Add(amount=-1))
        )
        await journal.append(
            SUBJECT, encode(msgspec.structs.replace(second, snapshot=ref)), expected=1
        )
        taken = await take_over(
            ENTITY, SUBJECT, "heir", journal=journal, blobs=bus.blobs, states=states
        )

    assert taken.book.corrupt == {}
    assert taken.book.slots["acme", LIVING].state == Counter(total=2)
    assert taken.book.slots["acme", ENDED].state == Counter(total=-2)
    assert set(taken.book.sleepers) == {("acme", LATE)}
    assert NOW + timedelta(seconds=601) in [due for due, _ in taken.book._timers]


def test_a_snapshot_holds_a_line_for_each_sleeper_and_nothing_of_what_has_ended():
    book = filled()
    for key in (ENDED, LIVING, LATE):
        book.evict(("acme", key))

    image = decode(Snapshot, encode(book.image()))

    assert {slot.key for slot in image.slots} == {DUE, BUSY, BROKEN}
    assert [(each.key, each.n) for each in image.sleepers] == [(LIVING, 1), (LATE, 1)]


async def test_what_ended_and_is_forgotten_goes_on_from_what_its_next_entry_carries():
    book = filled()
    async with memory_bus() as world, world.process() as bus:
        states, journal = bus.states("counter"), bus.journal("counter")
        writer = await states.own(0, 1)
        await writer.write([book.at_rest(("acme", ENDED))])
        book.evict(("acme", ENDED))
        blob = await bus.blobs.put(encode(book.image()))
        ref = SnapshotRef(blob=blob, n=1, sequence=1)
        first = msgspec.structs.replace(commit(ShardBook(ENTITY)), snapshot=ref)
        await journal.append(SUBJECT, encode(first), expected=0)
        await Rest(book, states, writer, 0, around(9), TIMING).wake([("acme", ENDED)])
        second = commit(book, pending("7", ENDED, Add(amount=-1)))
        third = commit(book, pending("8", ENDED, Add(amount=-1)))
        for expected, each in enumerate((second, third), 1):
            stored = msgspec.structs.replace(each, snapshot=ref)
            await journal.append(SUBJECT, encode(stored), expected=expected)
        assert await states.forget(0, below=2)
        taken = await take_over(
            ENTITY, SUBJECT, "heir", journal=journal, blobs=bus.blobs, states=states
        )

    assert [len(each.entries[0].base) > 4 for each in (second, third)] == [True, False]
    assert taken.book.corrupt == {}
    assert taken.book.slots["acme", ENDED].state == Counter(total=-3)


RECORDED = replace(
    ENTITY,
    restore=lambda _, record: state if (state := decode(Counter, record)).total < 0 else None,
)


@pytest.mark.parametrize(
    ("record", "state", "is_corrupt"),
    [
        (None, None, False),
        (b'{"total":-2}', Counter(total=-2), False),
        (b'{"total":2}', None, False),
        (b"[]", None, True),
    ],
)
async def test_what_is_forgotten_comes_back_from_its_record_if_that_tells_its_end(
    record: bytes | None, state: Counter | None, is_corrupt: bool
):
    async def stored(_: EntityAddress) -> bytes | None:
        return record

    book, address = ShardBook(RECORDED), ("acme", ENDED)
    async with memory_bus() as world, world.process() as bus:
        states = bus.states("counter")
        writer = await states.own(0, 0)
        told = around(9)._replace(record=stored)
        await Rest(book, states, writer, 0, told, TIMING).wake([address])

    assert book.state(address) == state
    assert (address in book.corrupt) is is_corrupt


@pytest.mark.parametrize(
    ("is_told", "slept", "stays"),
    [
        (False, False, {ENDED, LIVING}),
        (True, False, {LIVING}),
        (True, True, {ENDED, LIVING}),
    ],
)
async def test_where_states_have_no_room_what_its_record_tells_leaves_without(
    is_told: bool, slept: bool, stays: set[str]
):
    async def fill() -> Fill:
        return Fill(81_000, 100_000)

    book, room = ShardBook(RECORDED if is_told else ENTITY), Room("journal", fill, Wakeup())
    await room.look()
    async with memory_bus() as world, world.process() as bus:
        states = bus.states("counter")
        writer = await states.own(0, 0)
        rest = Rest(book, states, writer, 0, around(9)._replace(room=room), TIMING)
        commit(book, pending("1", ENDED, Add(amount=-1)), pending("2", LIVING, Add(amount=1)))
        rest.touched(1, book.slots)
        book.slots["acme", ENDED].slept = slept
        while await rest._lay_down():
            pass
        assert [each async for each in states.read_all(0)] == []

    assert {key for _, key in book.slots} == stays
