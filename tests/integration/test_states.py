"""States at rest: fenced by the newest owner, stored together or not at all, on both stores."""

from collections.abc import Sequence
from zlib import crc32

import anyio
import pytest

from bus.errors import FencedError
from bus.jetstream import NatsBus
from bus.ports import Resting, States, StateWriter
from bus.state.pages import PAGE_BYTES
from bus.streams.spec import journal_stream
from bus.subjects import owner_subject, state_subject
from bus.testing import NatsWorld, Process, World

ENTITY = "execution"


@pytest.fixture
def shard(fresh: str) -> int:
    """A shard that no other test uses."""
    return 10_000 + crc32(fresh.encode())


@pytest.fixture
def states(bus: Process) -> States:
    return bus.states(ENTITY)


@pytest.fixture
async def writer(states: States, shard: int) -> StateWriter:
    return await states.own(shard, 1)


def resting(key: str, n: int = 1, data: bytes = b"{}", ttl: int | None = None) -> Resting:
    return Resting("acme", key, n, data, ttl)


async def all_of(states: States, shard: int) -> list[Resting]:
    return sorted([state async for state in states.read_all(shard)])


async def test_what_was_never_at_rest_is_not_there(states: States, shard: int):
    assert await states.read(shard, "acme", "a") is None
    assert await all_of(states, shard) == []


@pytest.mark.parametrize("count", [1, 2, 256])
async def test_what_is_written_is_read_one_by_one_and_all_together(
    states: States, writer: StateWriter, shard: int, count: int
):
    written = [resting(f"k{number:03}", n=number, data=b"%d" % number) for number in range(count)]

    await writer.write(written)

    assert await all_of(states, shard) == written
    assert await states.read(shard, "acme", "k000") == written[0]
    assert await states.read(shard + 1, "acme", "k000") is None


async def test_a_later_state_replaces_the_one_before(
    states: States, writer: StateWriter, shard: int
):
    await writer.write([resting("a", 1), resting("b", 1)])
    await writer.write([resting("a", 5, b"[5]")])

    assert await all_of(states, shard) == [resting("a", 5, b"[5]"), resting("b", 1)]


@pytest.mark.parametrize("keys", ["a", "ab"])
async def test_a_former_owner_writes_nothing(
    states: States, writer: StateWriter, shard: int, keys: Sequence[str]
):
    await writer.write([resting("a", 7)])
    heir = await states.own(shard, 2)

    with pytest.raises(FencedError):
        await writer.write([resting(key, 8) for key in keys])
    assert await all_of(states, shard) == [resting("a", 7)]

    await heir.write([resting(key, 8) for key in keys])
    assert await all_of(states, shard) == [resting(key, 8) for key in keys]


async def test_who_comes_late_does_not_own_what_a_later_epoch_owns(states: States, shard: int):
    heir = await states.own(shard, 3)

    with pytest.raises(FencedError):
        await states.own(shard, 2)
    await heir.write([resting("a")])


async def test_who_owns_a_shard_anew_shuts_out_its_own_late_writes(
    states: States, writer: StateWriter, shard: int
):
    again = await states.own(shard, 1)

    with pytest.raises(FencedError):
        await writer.write([resting("a", 1)])
    await again.write([resting("a", 2)])


async def test_of_many_who_own_at_once_the_last_epoch_writes(states: States, shard: int):
    writers: dict[int, StateWriter] = {}

    async def own(epoch: int) -> None:
        try:
            writers[epoch] = await states.own(shard, epoch)
        except FencedError:
            return

    async with anyio.create_task_group() as tasks:
        for epoch in range(1, 9):
            tasks.start_soon(own, epoch)
    for epoch, each in writers.items():
        if epoch < 8:
            with pytest.raises(FencedError):
                await each.write([resting("a", epoch)])
    await writers[8].write([resting("a", 8)])

    assert await all_of(states, shard) == [resting("a", 8)]


async def test_a_state_that_is_to_be_kept_for_a_time_goes_after_it(
    states: States, writer: StateWriter, shard: int
):
    large = b"x" * (PAGE_BYTES + 1)
    await writer.write([resting("a", ttl=1), resting("b"), resting("c", data=large, ttl=1)])

    async def is_alone() -> bool:
        return await all_of(states, shard) == [resting("b")]

    with anyio.fail_after(10):
        while not await is_alone():
            await anyio.sleep(0.1)


@pytest.mark.parametrize("size", [PAGE_BYTES, PAGE_BYTES + 1, 5 * PAGE_BYTES + 3])
async def test_a_state_may_be_larger_than_a_message(
    states: States, writer: StateWriter, shard: int, size: int
):
    large = bytes(range(256)) * (size // 256 + 1)
    written = [resting("a", 2, large[:size]), resting("b", 3)]

    await writer.write(written)

    assert await all_of(states, shard) == written


async def test_a_state_outlives_a_killed_bus(mortal_world: World):
    written = [resting("a", 2, b"x" * (PAGE_BYTES + 1)), resting("b", 3)]
    async with mortal_world.process() as bus:
        writer = await bus.states(ENTITY).own(0, 1)
        await writer.write(written)
        await mortal_world.restart()

    async with mortal_world.process() as bus:
        assert await all_of(bus.states(ENTITY), 0) == written


async def test_a_purge_of_commits_leaves_states_alone(bus: Process, shard: int):
    journal, subject = bus.journal(ENTITY), f"_cb.journal.{ENTITY}.{shard}"
    first = await journal.append(subject, b"1", expected=0)
    writer = await bus.states(ENTITY).own(shard, 1)
    await writer.write([resting("a"), resting("b")])
    second = await journal.append(subject, b"2", expected=first)

    await journal.purge(subject, below=second)
    await writer.write([resting("b", 2)])

    assert await all_of(bus.states(ENTITY), shard) == [resting("a"), resting("b", 2)]


async def test_readers_of_a_journal_see_no_states(bus: Process, shard: int):
    feed, before = bus.feed(ENTITY), await bus.feed(ENTITY).end()
    subject = f"_cb.journal.{ENTITY}.{shard}"
    last = await bus.journal(ENTITY).append(subject, b"1", expected=0)
    writer = await bus.states(ENTITY).own(shard, 1)
    await writer.write([resting("a"), resting("b")])

    assert (await feed.end()).sequence == last > before.sequence
    assert [filed.subject for filed in await feed.page(start=last)] == [subject]


# Only on NATS


async def messages(bus: NatsBus, subjects: str) -> dict[str, int]:
    info = await bus.jetstream.stream_info(journal_stream(ENTITY), subjects=subjects)
    return info["state"].get("subjects") or {}


async def test_one_message_lies_on_each_subject_and_no_page_is_left_over(
    shared_nats: NatsWorld, shard: int
):
    async with shared_nats.process() as bus:
        states = bus.states(ENTITY)
        subject = state_subject(ENTITY, shard, "acme", "a")
        writer = await states.own(shard, 1)
        await writer.write([resting("a", 1, b"x" * (3 * PAGE_BYTES)), resting("b", 1)])
        # The heir knows of the pages without having written or read them.
        writer = await states.own(shard, 2)
        await writer.write([resting("a", 2, b"x" * (PAGE_BYTES + 1)), resting("b", 2)])

        pages = {f"{subject}.1": 1, f"{subject}.2": 1}
        with anyio.fail_after(10):
            while await messages(bus, f"{subject}.>") != pages:
                await anyio.sleep(0.1)
        assert await messages(bus, subject) == {subject: 1}
        owner = owner_subject(ENTITY, shard)
        assert await messages(bus, owner) == {owner: 1}
        assert await states.read(shard, "acme", "a") == resting("a", 2, b"x" * (PAGE_BYTES + 1))


async def test_a_batch_that_was_begun_and_never_ended_leaves_nothing(
    shared_nats: NatsWorld, shard: int
):
    async with shared_nats.process() as bus:
        states = bus.states(ENTITY)
        writer = await states.own(shard, 1)
        await writer.write([resting("a", 1)])
        for place, key in enumerate("abc", 1):
            headers = {"Nats-Batch-Id": f"torn-{shard}", "Nats-Batch-Sequence": str(place)}
            headers |= {"Nats-Rollup": "sub"}
            subject = state_subject(ENTITY, shard, "acme", key)
            await bus.nats.publish(subject, b'{"n":9}\n[9]', headers=headers)

        # What is asked on the same connection is answered after all of that has arrived.
        assert await all_of(states, shard) == [resting("a", 1)]
        await writer.write([resting("a", 2), resting("b", 2)])
        assert await all_of(states, shard) == [resting("a", 2), resting("b", 2)]


# What has ended


def ended(key: str, n: int = 1, data: bytes = b"[1]", *, slept: bool = True) -> Resting:
    return Resting("acme", key, n, data, 3600, slept)


def bare(*states: Resting) -> list[Resting]:
    """Return states as they are read: nothing is said of how long they are kept."""
    return [state._replace(ttl=None, slept=True) for state in states]


@pytest.mark.parametrize("size", [1, 2 * PAGE_BYTES])
async def test_the_end_takes_the_place_of_the_life(states: States, shard: int, size: int):
    writer = await states.own(shard, 1)
    await writer.write([resting("a", 1, b"x" * size), resting("b")])
    await writer.write([ended("a", 2), ended("c", slept=False)])

    assert await states.read(shard, "acme", "a") == bare(ended("a", 2))[0]
    assert await all_of(states, shard) == bare(ended("a", 2), resting("b"), ended("c"))


async def test_what_lives_again_is_read_instead_of_its_end(states: States, shard: int):
    writer = await states.own(shard, 1)
    await writer.write([ended("a", 2)])
    await writer.write([resting("a", 3)])

    assert await states.read(shard, "acme", "a") == resting("a", 3)
    await writer.write([ended("a", 4)])
    assert await states.read(shard, "acme", "a") == bare(ended("a", 4))[0]


async def test_of_what_has_ended_the_oldest_is_forgotten_and_does_not_come_back_to_life(
    bus: Process, shard: int
):
    journal, states = bus.journal(ENTITY), bus.states(ENTITY)
    subject = f"_cb.journal.{ENTITY}.{shard}"
    writer = await states.own(shard, 1)
    await writer.write([resting("old"), resting("living")])
    await writer.write([ended("old", 2, b"x" * (PAGE_BYTES + 1))])
    for place in range(20):
        await writer.write([ended(f"e{place}")])
    below = await journal.append(subject, b"1", expected=0)
    await writer.write([ended("young")])

    assert await states.forget(shard, below=below)
    left = {state.key for state in await all_of(states, shard)}
    assert await states.read(shard, "acme", "old") is None
    assert {"living", "e19", "young"} <= left
    while await states.forget(shard, below=below):
        pass
    assert {state.key for state in await all_of(states, shard)} == {"living", "young"}
    # It can be written again, whatever its life before.
    await writer.write([ended("old", 3)])
    assert await states.read(shard, "acme", "old") == bare(ended("old", 3))[0]


async def test_each_shard_forgets_its_own_alone(states: States, shard: int):
    writer = await states.own(shard, 1)
    await writer.write([ended("a")])

    assert not await states.forget(shard + 1, below=2**40)
    assert await all_of(states, shard) == bare(ended("a"))
