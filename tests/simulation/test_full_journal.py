"""A journal with a small bound: a fleet works on in it, whatever happens to owners at the bound."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import msgspec
import pytest

from bus.memory import MemoryBus
from bus.streams.capacity import NEW_KEYS_STOP
from bus.testing import memory_bus
from tests.simulation.filling import STREAM, TIGHT, fills_and_goes_on, refusal
from tests.simulation.fleet import SECONDS, SHARDS, Fleet, Gate, fleet


@pytest.fixture(scope="module", autouse=True)
def patience() -> Generator[None]:
    """So many executions are more steps than a history may take."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.simulation.loop.MAX_STEPS", 10_000_000)
        yield


@pytest.mark.parametrize("in_memory", [0, 10_000])
async def test_far_more_executions_end_in_a_journal_than_fit_into_it(in_memory: int):
    timing = msgspec.structs.replace(TIGHT, entities_in_memory=in_memory, rest_seconds=0.01)
    async with memory_bus(timing) as world:
        load = await fills_and_goes_on(world, 700, timing)

    assert set(load.refused) == {STREAM}


@asynccontextmanager
async def filled_up(world: MemoryBus, running: Fleet) -> AsyncGenerator[list[str]]:
    """Fill the journal while no snapshot can be stored; yield the executions that were accepted."""
    await running.start_owner("one")
    await running.settled_hosts()
    gate, accepted, refused = Gate(), list[str](), 0
    await running.start_worker("worker", gate.handle, capacity=500, per_tenant=500)
    world.blobs.most = 1
    with anyio.fail_after(SECONDS):
        while refused < 5:
            name = f"e{len(accepted)}-{refused}"
            problem = await refusal(running, name)
            if problem is None:
                accepted.append(name)
            else:
                assert (problem.code, problem.retryable) == ("unavailable", True)
                assert problem.retry_after is not None
                assert problem.details["store"] == STREAM
                assert problem.details["used"] >= NEW_KEYS_STOP
                refused += 1
    gate.open()
    yield accepted


async def test_owners_that_are_killed_at_the_bound_are_replaced_and_all_that_was_accepted_ends():
    async with memory_bus(TIGHT) as world, fleet(world, TIGHT) as running:
        async with filled_up(world, running) as accepted:
            owner = "one"
            for number in range(8):
                running.kill(owner)
                owner = f"heir-{number}"
                await running.start_owner(owner)
                await running.settled_hosts()
            assert world.store.fill(STREAM).used <= TIGHT.journal_max_bytes
            world.blobs.most = None
            records = await running.ended(*accepted)
        assert await refusal(running, "afterwards") is None

    assert {record.status for record in records} == {"COMPLETED"}
    assert len(accepted) > 100


async def all_is_settled(running: Fleet) -> None:
    """Return once the journal says of nearly all commits that what they led to is stored."""
    with anyio.fail_after(SECONDS):
        for shard in range(SHARDS):
            while (last := (await running.commits(shard))[-1]).settled < last.n - 5:
                await anyio.sleep(0.02)


def lower(world: MemoryBus, most: int) -> None:
    """Lower the bound of the journal, as an operator may."""
    stream = world.store._streams[STREAM]
    stream.spec = replace(stream.spec, max_bytes=most)


@pytest.mark.parametrize("is_owned", [True, False])
async def test_a_journal_that_is_above_its_bound_finds_room_by_itself(is_owned: bool):
    async with memory_bus(TIGHT) as world, fleet(world, TIGHT) as running:
        await running.start_owner("one")
        await running.start_worker("worker")
        names = await running.execute_all(60)
        before = await running.ended(*names)
        await all_is_settled(running)
        if not is_owned:
            running.kill("one")
        lower(world, world.store.fill(STREAM).used - 2000)
        if not is_owned:
            await running.start_owner("two")
        with anyio.fail_after(SECONDS):
            while await refusal(running, "afterwards") is not None:
                await anyio.sleep(0.02)
        assert await running.ended(*names) == before
        running.kill("one" if is_owned else "two")
        await running.start_owner("three")
        assert await running.ended(*names) == before
