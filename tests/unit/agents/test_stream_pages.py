"""Pages of stored streams: the same as of a full read, at the cost of what they bring."""

from collections.abc import Sequence
from unittest.mock import patch

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.adapters import streams as pages
from actors.agents.adapters.streams import Streams
from actors.agents.core.positions import Positions, key_of
from bus.codec import encode
from bus.errors import ProblemError
from bus.ports import StoredMessage
from schemas.executions import ExecutionRecord
from schemas.streams import ReadStream, StreamPage
from tests.stream_events import chunk

Place = tuple[int, int]


class Store:
    """A stored stream whose reads are counted. Its messages lie among those of others."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self.stored: list[StoredMessage] = []
        self.looked_at = 0
        self.requests = 0
        self.open = self.most_open = 0
        for place in places:
            self.append(place)

    def append(self, place: Place, content: str = "x") -> None:
        newest = self.stored[-1].sequence if self.stored else 100
        self.stored.append(StoredMessage(newest + 3, encode(chunk(*place, content))))

    def expire(self, count: int) -> None:
        del self.stored[:count]

    async def read(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> list[StoredMessage]:
        assert (stream, subject) == ("STREAMS", "cb.local.stream.e")
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await checkpoint()
        self.open -= 1
        found = [each for each in self.stored if each.sequence >= start][:limit]
        self.requests += 1
        self.looked_at += len(found)
        return found

    def full(self, after: Place, limit: int) -> tuple[list[Place], bool]:
        """Return the page as a read of everything gives it."""
        every = sorted({_place(each) for each in self.stored})
        later = [place for place in every if place > after]
        return later[:limit], len(later) > limit


def _place(stored: StoredMessage) -> Place:
    event = msgspec.json.decode(stored.data)
    return event["segment"], event["sequence"]


def _places(page: StreamPage) -> list[Place]:
    return [_place(StoredMessage(0, encode(event))) for event in page.events]


def _wanted(after: Place | None, limit: int) -> ReadStream:
    cursor = None if after is None else f"{after[0]}.{after[1]}"
    return ReadStream(execution_id="e", after=cursor, limit=limit)


def _runs(draw: st.DrawFn) -> list[Place]:
    """Runs of consecutive events: in order, begun again, or of an earlier segment."""
    places: list[Place] = []
    for _ in range(draw(st.integers(0, 6))):
        segment, first = draw(st.integers(1, 3)), draw(st.integers(0, 12))
        places += [(segment, first + n) for n in range(draw(st.integers(1, 40)))]
    return places


streams = st.one_of(
    st.composite(_runs)(),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 8)), max_size=40),
)
cursors = st.none() | st.tuples(st.integers(0, 4), st.integers(0, 60))


@given(
    streams,
    st.lists(st.tuples(cursors, st.integers(1, 50), streams), min_size=1, max_size=6),
    st.sampled_from([2, 64]),
)
async def test_a_page_is_that_of_a_full_read_whatever_was_read_before(
    places: list[Place], reads: list[tuple[Place | None, int, list[Place]]], batch: int
) -> None:
    store = Store(places)
    with patch.object(pages, "BATCH", batch):
        await _same_pages(store, reads)


async def _same_pages(store: Store, reads: list[tuple[Place | None, int, list[Place]]]) -> None:
    reader = Streams(store.read, remembered=60)
    for after, limit, more in reads:
        page = await reader.page("local", _wanted(after, limit))
        expected, goes_on = store.full(after or (-1, -1), limit)
        assert (_places(page), page.more) == (expected, goes_on)
        for place in more:
            store.append(place)


@given(streams, st.integers(1, 7))
async def test_pages_one_after_another_bring_each_event_once(
    places: list[Place], limit: int
) -> None:
    store, seen, after, more = Store(places), list[Place](), None, True
    reader = Streams(store.read)
    while more:
        page = await reader.page("local", ReadStream(execution_id="e", after=after, limit=limit))
        seen += _places(page)
        after, more = page.next, page.more
    assert seen == sorted(set(places))


async def test_a_page_looks_no_further_than_it_needs() -> None:
    store = Store([(1, n) for n in range(20_000)])
    page = await Streams(store.read).page("local", _wanted(None, 1))
    assert (_places(page), page.more) == ([(1, 0)], True)
    assert store.looked_at <= pages.BATCH + 1


@pytest.mark.parametrize("count", [5_000, 50_000])
async def test_a_page_in_the_middle_costs_the_same_in_a_long_stream(count: int) -> None:
    store = Store([(1, n) for n in range(count)])
    reader, after = Streams(store.read), (1, count - 200)
    page = await reader.page("local", _wanted(after, 20))
    assert (_places(page), page.more) == ([(1, after[1] + 1 + n) for n in range(20)], True)
    assert store.looked_at <= 400
    assert store.requests <= 40
    looked_at = store.looked_at
    page = await reader.page("local", _wanted((1, after[1] + 20), 20))
    assert _places(page)[0] == (1, after[1] + 21)
    assert store.looked_at <= looked_at + pages.BATCH + 20


async def test_all_pages_together_look_at_each_event_twice() -> None:
    store, count, after = Store([(1, n) for n in range(5_000)]), 0, None
    reader = Streams(store.read)
    while True:
        page = await reader.page("local", ReadStream(execution_id="e", after=after, limit=100))
        count += len(page.events)
        after = page.next
        if not page.more:
            break
    assert count == 5_000
    assert store.looked_at <= 2 * 5_000 + pages.BATCH


async def test_many_readers_of_one_stream_look_at_it_once_and_wait_their_turn() -> None:
    store = Store([(1, n) for n in range(5_000)])
    reader = Streams(store.read)
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(reader.read, "local", _wanted((1, 4_000), 1), _nothing)
    assert store.looked_at <= 5_000 + 100
    assert store.most_open <= pages.AT_ONCE


async def test_above_its_share_a_tenant_is_refused_with_the_figure_and_another_is_not() -> None:
    gate = anyio.Event()

    async def read(stream: str, subject: str, *, start: int = 1, limit: int) -> list[StoredMessage]:
        assert stream == "STREAMS"
        assert limit <= pages.BATCH
        if "greedy" in subject:
            await gate.wait()
        return [StoredMessage(start, encode(chunk(1, 0)))] if start == 1 else []

    reader, most = Streams(read), pages.AT_ONCE + pages.WAITING

    async def page(tenant: str) -> StreamPage:
        return await reader.read(tenant, _wanted(None, 1), _nothing)

    async with anyio.create_task_group() as tasks:
        for _ in range(most):
            tasks.start_soon(page, "greedy")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ProblemError, match=f"rate_limited: {most} streams.read") as refused:
            await page("greedy")
        assert refused.value.problem.details["used"] == most
        assert len((await page("modest")).events) == 1
        tasks.cancel_scope.cancel()


async def test_a_page_is_bounded_in_bytes_and_says_that_there_is_more() -> None:
    store = Store()
    for n in range(8):
        store.append((1, n), "x" * (pages.PAGE_BYTES // 3))
    store.append((1, 8), "x" * (2 * pages.PAGE_BYTES))
    reader, sizes, after, more = Streams(store.read), list[int](), None, True
    while more:
        page = await reader.page("local", ReadStream(execution_id="e", after=after))
        sizes.append(len(page.events))
        after, more = page.next, page.more
    assert sizes == [2, 2, 2, 2, 1]


async def test_events_that_have_expired_are_not_waited_for() -> None:
    store = Store([(1, n) for n in range(300)])
    reader = Streams(store.read)
    await reader.page("local", _wanted((1, 290), 100))
    store.expire(200)
    page = await reader.page("local", _wanted((1, 150), 100))
    assert _places(page) == [(1, n) for n in range(200, 300)]


async def test_what_was_remembered_is_forgotten_with_the_bus() -> None:
    store = Store([(1, n) for n in range(3)])
    reader = Streams(store.read)
    await reader.page("local", _wanted(None, 10))
    store.stored = [StoredMessage(1, encode(chunk(1, 0))), StoredMessage(2, encode(chunk(1, 1)))]
    await reader.forget()
    page = await reader.page("local", _wanted(None, 10))
    assert _places(page) == [(1, 0), (1, 1)]


@pytest.mark.parametrize("place", [(10**9 - 1, 10**12 - 1), (0, 10**12 - 1), (7, 2**40)])
def test_no_cursor_is_too_large_to_be_ordered(place: Place) -> None:
    assert key_of((1, 0)) < key_of((1, 1)) < key_of((2, 0))
    positions = Positions()
    positions.add(1, 0, 5, 10)
    positions.choose(place, 10, 100)
    assert not positions.is_certain(place, 10_000)


async def _nothing() -> ExecutionRecord:
    raise AssertionError
