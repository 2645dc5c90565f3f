"""How full the stores are, as owners know it; and what they do where there is no room."""

from datetime import UTC, datetime

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import FencedError, FullError, UnavailableError
from bus.memory import memory_bus
from bus.ports import Fill
from bus.shard.append import append
from bus.streams.capacity import TURNS_STOP, Room, Rooms, full, is_full
from bus.tasks import Wakeup
from schemas.journal import Commit
from schemas.problems import Problem
from tests.simulation.loop import VirtualLoop

SUBJECT = "_cb.journal.counter.0"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
QUICK = msgspec.structs.replace(Timing(), journal_max_bytes=1_000_000)


class Store:
    """A store that is looked at, or does not answer."""

    def __init__(self, *fills: Fill | None) -> None:
        self._fills = list(fills)

    async def look(self) -> Fill:
        fill = self._fills.pop(0)
        if fill is None:
            raise UnavailableError("store", "no answer")
        return fill


async def test_what_is_added_counts_at_once_and_a_look_puts_it_right():
    room = Room("BLOBS", Store(Fill(500, 1000), None, Fill(100, 1000)).look, Wakeup())
    assert (room.share, room.fits(10**12)) == (0.0, True)
    await room.look()
    room.add(0)
    assert 0.5 < room.share < 0.75
    await room.look()
    assert room.share > 0.5
    await room.look()
    assert room.share == 0.1


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 1000))
def test_turns_leave_the_rest_of_the_bound(used: int, size: int, most: int):
    assert Fill(used, most).leaves(size, reserve=1 - TURNS_STOP) == (
        used + size <= most * (1 - (1 - TURNS_STOP))
    )


async def _looks(appended: int) -> int:
    """Return how often a store is looked at in ten minutes in which so many bytes are added."""
    count = 0
    async with (
        memory_bus(QUICK) as world,
        world.process() as bus,
        anyio.create_task_group() as tasks,
    ):
        rooms = Rooms("counter", bus, QUICK)
        look = rooms.look

        async def counted() -> None:
            nonlocal count
            count += 1
            await look()

        rooms.look = counted
        tasks.start_soon(rooms.run)
        for _ in range(600):
            await anyio.sleep(1)
            for _ in range(appended):
                rooms.journal.add(0)
        tasks.cancel_scope.cancel()
    return count


@pytest.mark.parametrize(("appended", "most"), [(0, 125), (10, 185), (1000, 605)])
def test_stores_are_looked_at_now_and_then_however_much_is_appended(appended: int, most: int):
    """A thousand turns a second cost a look a second, and only in a journal as small as this."""
    options = {"loop_factory": lambda: VirtualLoop(0)}
    assert 100 < anyio.run(_looks, appended, backend_options=options) <= most


def test_a_refusal_for_want_of_room_is_known_by_its_figure():
    problem = full("BLOBS", 0.9512, "no room")

    assert is_full(decode(Problem, encode(problem)))
    assert (problem.code, problem.retryable, problem.retry_after) == ("unavailable", True, 5.0)
    assert problem.details == {"store": "BLOBS", "used": 0.951}
    assert not is_full(Problem(code="unavailable", message="", retryable=True))


async def test_an_append_is_refused_for_want_of_room_unless_an_earlier_try_is_stored():
    commit = Commit(n=1, epoch=1, turn="one.1.1", at=NOW)
    async with memory_bus(Timing()) as world, world.process() as bus:
        journal = bus.journal("counter")
        store = journal.append
        outcomes: list[Exception | None] = [FullError(SUBJECT, "full")]

        async def answer(subject: str, data: bytes, *, expected: int) -> int:
            outcome = outcomes.pop(0)
            if outcome is None:
                await store(subject, data, expected=expected)
            raise outcome or UnavailableError(subject, "stored, and no answer")

        journal.append = answer
        with pytest.raises(FullError):
            await append(journal, SUBJECT, commit, 0)
        outcomes[:] = [UnavailableError(SUBJECT, "no answer"), FullError(SUBJECT, "full")]
        with pytest.raises(FullError):
            await append(journal, SUBJECT, commit, 0)
        outcomes[:] = [None, FullError(SUBJECT, "full")]
        assert await append(journal, SUBJECT, commit, 0) == 1
        outcomes[:] = [FencedError(SUBJECT, 0)]
        other = msgspec.structs.replace(commit, turn="two.1.1")
        with pytest.raises(FencedError):
            await append(journal, SUBJECT, other, 0)
