"""Which attempt counts, while owners, workers and the bus come and go."""

from unittest.mock import patch

import anyio
import msgspec
import pytest

from bus.memory import MemoryBus
from bus.requests.rpc import Owners, command
from bus.shard.dispatch import WorkDispatch
from bus.subjects import shard_of
from bus.testing import memory_bus
from schemas.executions import ExecutionRecord
from schemas.lifecycle import Cancel, GenerateWork, UsageSettled
from schemas.work import Lost, Settled
from tests.simulation.fleet import (
    QUICK,
    SECONDS,
    SHARDS,
    TENANT,
    Fleet,
    Gate,
    accept,
    answer,
    finish,
    fleet,
    is_legal,
)


async def _ended_after_a_death(running: Fleet) -> ExecutionRecord:
    """Let a worker die at work, and another one bring the execution to its end."""
    await running.start_owner("one")
    gate = Gate()
    doomed = await running.start_worker("doomed", gate.handle)
    await running.execute("e1")
    await gate.has_begun()
    doomed.cancel()
    await running.start_worker("other")
    (record,) = await running.ended("e1")
    return record


async def test_the_item_of_a_killed_worker_becomes_a_new_attempt(running: Fleet):
    record = await _ended_after_a_death(running)

    assert (record.status, record.output, record.attempts) == (
        "COMPLETED",
        "hello from attempt 2",
        2,
    )
    assert running.handled.attempts("e1") == [1, 2]


async def _commit_and_die(running: Fleet, name: str, execution: str) -> None:
    """Let an owner be killed when it has committed an execution and handed nothing out."""
    committed = anyio.Event()

    async def stand_still(dispatch: WorkDispatch, opened: object) -> None:
        del dispatch, opened
        committed.set()
        await anyio.sleep_forever()

    with patch.object(WorkDispatch, "assign", stand_still), anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.execute, execution)
            await committed.wait()
            running.kill(name)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("rooms", [1, 2])
async def test_what_an_owner_committed_and_never_handed_out_is_not_another_attempt(
    running: Fleet, rooms: int
):
    await running.start_owner("one")
    gate = Gate()
    await running.start_worker("worker", gate.handle, capacity=rooms, per_tenant=rooms)
    await running.execute("e1")
    await gate.has_begun()

    await _commit_and_die(running, "one", "e2")
    await running.start_owner("two")
    gate.open()
    records = await running.ended("e1", "e2")

    assert [(record.status, record.attempts) for record in records] == [("COMPLETED", 1)] * 2
    assert running.handled.begun == [("e1", 1), ("e2", 1)]


async def test_what_was_meant_for_a_worker_that_died_with_its_owner_may_have_been_begun(
    running: Fleet,
):
    await running.start_owner("one")
    gate = Gate()
    doomed = await running.start_worker("doomed", gate.handle, capacity=2, per_tenant=2)
    await running.execute("e1")
    await gate.has_begun()

    await _commit_and_die(running, "one", "e2")
    doomed.cancel()
    await running.start_worker("other")
    await running.start_owner("two")
    records = await running.ended("e1", "e2")

    assert [(record.status, record.attempts) for record in records] == [("COMPLETED", 2)] * 2


async def test_who_was_named_for_an_item_is_known_from_a_snapshot_too():
    timing = msgspec.structs.replace(QUICK, snapshot_commits=2)
    async with memory_bus(timing) as world, fleet(world, timing) as running:
        await running.start_owner("one")
        gate = Gate()

        async def handle(work: GenerateWork) -> None:
            if work.execution_id == "held":
                await gate.handle(work)

        await running.start_worker("worker", handle, capacity=1)
        await running.execute("held")
        await gate.has_begun()
        await running.start_worker("other", handle)
        names = await running.execute_all(40)
        await running.ended(*names)
        shard = shard_of(TENANT, "held", SHARDS)
        named, opened = await running.snapshot(shard), (await running.commits(shard))[1]
        assert opened.assigned
        assert opened.n <= named.n
        running.kill("one")
        await running.start_owner("two")
        await running.settled_hosts()
        await anyio.sleep(4 * QUICK.inventory_seconds)
        gate.open()
        (record,) = await running.ended("held")

    assert (record.status, record.attempts) == ("COMPLETED", 1)
    assert running.handled.attempts("held") == [1]


async def test_after_a_restart_of_the_bus_each_item_is_begun_once(world: MemoryBus, running: Fleet):
    await running.start_owner("one")
    gate = Gate()
    await running.start_worker("worker", gate.handle, capacity=1, per_tenant=1)
    names = await running.execute_all(6)
    await gate.has_begun()

    await world.restart()
    await running.start_worker("other", capacity=4)
    gate.open()
    records = await running.ended(*names)

    assert {(record.status, record.attempts) for record in records} == {("COMPLETED", 1)}
    assert sorted(running.handled.begun) == [(name, 1) for name in names]


async def test_who_holds_an_item_since_before_a_restart_of_the_bus_may_still_die(
    world: MemoryBus, running: Fleet
):
    await running.start_owner("one")
    gate = Gate()
    doomed = await running.start_worker("doomed", gate.handle)
    await running.execute("e1")
    await gate.has_begun()

    await world.restart()
    await anyio.sleep(2 * QUICK.inventory_seconds)
    doomed.cancel()
    await running.start_worker("other")
    (record,) = await running.ended("e1")

    assert (record.status, record.attempts) == ("COMPLETED", 2)


async def test_a_late_result_of_a_superseded_attempt_settles_its_usage_once(running: Fleet):
    await _ended_after_a_death(running)

    late = finish(1, running.bus)
    first = await answer(running, "late.result", "e1", late)
    again = await answer(running, "late.again", "e1", late)

    history = (await running.histories())["e1"]
    assert (first, again) == (Settled(accepted=False), Settled(accepted=False))
    assert is_legal(history)
    assert [type(event) for event in history].count(UsageSettled) == 1
    assert (await running.look("e1")).output == "hello from attempt 2"


async def test_a_cancelled_execution_stops_its_worker(running: Fleet):
    await running.start_owner("one")
    gate = Gate()
    await running.start_worker("worker", gate.handle, capacity=1, per_tenant=1)
    await running.execute("e1")
    await gate.has_begun()

    await running.owners.ask(command("", TENANT, "e1", Cancel(reason="enough")), timeout=SECONDS)
    await running.execute("e2")
    gate.open()
    await running.ended("e1", "e2")

    assert (await running.look("e1")).status == "CANCELLED"
    assert is_legal((await running.histories())["e1"])


async def test_a_worker_lets_go_of_an_attempt_that_was_replaced(running: Fleet):
    await running.start_owner("one")
    gate = Gate()

    async def handle(work: GenerateWork) -> None:
        if work.attempt == 1:
            await gate.handle(work)

    await running.start_worker("only", handle, capacity=1, per_tenant=1)
    await running.execute("e1")
    await gate.has_begun()

    claim = command("lost", TENANT, "e1", Lost(work="1", attempt=1, begun=True))
    await running.owners.ask(claim, timeout=SECONDS)
    (record,) = await running.ended("e1")

    assert (record.status, record.attempts) == ("COMPLETED", 2)
    assert running.handled.begun == [("e1", 1), ("e1", 2)]


async def test_an_answer_tells_the_commit_that_holds_what_it_says(running: Fleet):
    owning = await running.start_owner("one")
    far = command("accept", TENANT, "e1", accept("e1"), digest="d")
    near = command("accept", TENANT, "e2", accept("e2"), digest="d")
    here = Owners(running.bus.transport, "execution", SHARDS, QUICK, nearby=owning.host.offer)

    told = [
        (await owners.ask(envelope, timeout=SECONDS)).position.split(".")
        for owners, envelope in ((running.owners, far), (here, near))
    ]

    for (entity, shard, n), key in zip(told, ("e1", "e2"), strict=True):
        commits = {commit.n: commit for commit in await running.commits(int(shard))}
        assert entity == "execution"
        assert [entry.key for entry in commits[int(n)].entries] == [key]
