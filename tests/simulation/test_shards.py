"""Executions on real owners and workers over a bus in memory, while processes and bus die."""

import anyio
import msgspec
import pytest

from actors.agents.core.entity import EXECUTION
from bus.codec import encode
from bus.errors import FencedError, ProblemError
from bus.memory import MemoryBus
from bus.requests.rpc import Owners, command
from bus.shard.owner import ShardOwner
from bus.subjects import journal_subject, mailbox_subject, shard_of
from bus.testing import memory_bus
from schemas.lifecycle import (
    Accepted,
    AttemptStarted,
    ExecutionCompleted,
    GenerationFinished,
)
from tests.simulation.fleet import (
    QUICK,
    SECONDS,
    SHARDS,
    TENANT,
    Fleet,
    Gate,
    accept,
    fleet,
    is_legal,
    nobody,
)


async def test_an_execution_is_accepted_worked_on_and_ended(running: Fleet):
    await running.start_owner("one")
    await running.start_worker("worker")

    handle = await running.execute("e1")
    (record,) = await running.ended("e1")

    assert handle.status in {"PENDING", "RUNNING"}
    assert (record.status, record.output) == ("COMPLETED", "hello from attempt 1")
    assert [type(event) for event in (await running.histories())["e1"]] == [
        Accepted,
        AttemptStarted,
        GenerationFinished,
        ExecutionCompleted,
    ]


async def test_all_accepted_executions_end_once_though_their_owner_is_killed(running: Fleet):
    await running.start_owner("one")
    await running.start_owner("two")
    await running.settled_hosts()
    gate = Gate()
    await running.start_worker("worker", gate.handle, capacity=50, per_tenant=50)
    names = await running.execute_all(40)
    await gate.has_begun()

    running.kill("one")
    gate.open()
    await running.ended(*names)

    histories = await running.histories()
    assert [name for name in names if not is_legal(histories[name])] == []
    assert sorted(name for name, _ in running.handled.begun) == sorted(names)
    await running.settled_hosts()


async def test_a_shard_moves_to_a_newcomer_without_losing_a_command(running: Fleet):
    await running.start_owner("one")
    await running.start_worker("worker")
    names = [f"e{number}" for number in range(60)]
    async with anyio.create_task_group() as tasks:
        for place, name in enumerate(names):
            if place == 20:
                await running.start_owner("two")
                await running.start_owner("three")
            tasks.start_soon(running.execute, name)
            await anyio.sleep(0.002)
    await running.ended(*names)
    await running.settled_hosts()

    histories = await running.histories()
    assert [name for name in names if not is_legal(histories[name])] == []


async def test_an_owner_that_was_replaced_unknowingly_is_fenced_out(world: MemoryBus):
    ended: list[str] = []

    async def own(owner: ShardOwner, name: str) -> None:
        try:
            await owner.run()
        except* FencedError:
            ended.append(name)

    async with world.process() as bus, anyio.create_task_group() as tasks:
        zombie = ShardOwner(EXECUTION, 0, "zombie", nobody("zombie", bus), bus, QUICK)
        tasks.start_soon(own, zombie, "zombie")
        with anyio.fail_after(SECONDS):
            while not zombie.serving:
                await anyio.sleep(0.005)
            heir = ShardOwner(EXECUTION, 0, "heir", nobody("heir", bus), bus, QUICK)
            tasks.start_soon(own, heir, "heir")
            while not heir.serving:
                await anyio.sleep(0.005)
            owners = Owners(bus.transport, "execution", 1, QUICK)
            await owners.ask(command("accept", TENANT, "e1", accept("e1")), timeout=SECONDS)
            while not ended:
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()

    assert ended == ["zombie"]


async def test_one_id_asked_for_by_many_at_once_is_one_run(running: Fleet):
    await running.start_owner("one")
    await running.start_worker("worker")
    handles: list[str] = []

    async def execute() -> None:
        handles.append((await running.execute("e1")).execution_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(execute)
    await running.ended("e1")

    assert handles == ["e1"] * 50
    assert running.handled.begun == [("e1", 1)]
    assert is_legal((await running.histories())["e1"])


async def test_the_same_id_with_another_request_is_a_conflict(running: Fleet):
    await running.start_owner("one")
    await running.execute("e1", digest="one")

    with pytest.raises(ProblemError) as refused:
        await running.execute("e1", digest="other")

    assert refused.value.problem.code == "conflict"


async def test_an_execution_that_has_left_memory_comes_back_as_it_was(world: MemoryBus):
    timing = msgspec.structs.replace(QUICK, entities_in_memory=0)
    async with fleet(world, timing) as running:
        owner = await running.start_owner("one")
        await running.start_worker("worker")
        first = await running.execute("e1")
        (before,) = await running.ended("e1")
        shard = shard_of(TENANT, "e1", SHARDS)
        book = owner.host._running[shard].book  # what is in memory shows nowhere else
        with anyio.fail_after(SECONDS):
            while book.slots:
                await anyio.sleep(0.005)

        again = await running.execute("e1")
        after = await running.look("e1")

    assert again == first
    assert after == before
    assert running.handled.begun == [("e1", 1)]


async def test_a_large_entry_lies_in_the_blob_store_and_is_recovered(running: Fleet):
    await running.start_owner("one")
    task = "x" * (2 * QUICK.blob_bytes)
    await running.execute("e1", task=task)
    shard = shard_of(TENANT, "e1", SHARDS)
    (large,) = [entry for commit in await running.commits(shard) for entry in commit.entries[:1]][
        :1
    ]

    running.kill("one")
    await running.start_owner("two")

    assert large.blob is not None
    assert large.events == []
    assert (await running.look("e1")).task == task


async def test_a_next_owner_sends_again_only_what_may_be_lost(world: MemoryBus, running: Fleet):
    await running.start_owner("one")
    await running.start_worker("worker")
    await running.execute("e1")
    await running.ended("e1")
    shard = shard_of(TENANT, "e1", SHARDS)
    with anyio.fail_after(SECONDS):
        while (await running.commits(shard))[-1].settled < 3:
            await anyio.sleep(0.01)
    sent: list[bytes] = []

    async def note(delivery: object) -> None:
        sent.append(encode(delivery))

    running.kill("one")
    async with world.transport.subscription("cb.*.events.>", note):
        await running.start_owner("two")
        await running.settled_hosts()

    assert sent == []


async def test_a_next_owner_repeats_what_was_not_known_to_be_stored():
    # A stream knows a repeat by its id; here it is to show, so it forgets ids at once.
    timing = msgspec.structs.replace(
        QUICK, resend_window_seconds=60.0, duplicate_window_seconds=0.0
    )
    async with memory_bus(timing) as slow, fleet(slow, timing) as running:
        await running.start_owner("one")
        await running.start_worker("worker")
        await running.execute("e1")
        await running.ended("e1")
        first: list[bytes] = [
            stored.data
            for stored in slow.store.read("EVENTS", "cb.acme.events.execution.completed.e1")
        ]
        running.kill("one")
        await running.start_owner("two")
        await running.settled_hosts()
        both = [
            stored.data
            for stored in slow.store.read("EVENTS", "cb.acme.events.execution.completed.e1")
        ]

    assert both == first * 2


async def test_a_tenant_with_a_thousand_items_does_not_starve_another(world: MemoryBus):
    # On a machine that has other things to do, a thousand who ask again soon would be all it does.
    timing = msgspec.structs.replace(QUICK, request_try_seconds=SECONDS)
    async with fleet(world, timing) as running:
        await running.start_owner("one")
        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(lambda name: running.execute(name, tenant="flood"), f"f{number}")
        await running.start_worker("worker", capacity=4, per_tenant=2)
        with anyio.fail_after(SECONDS):
            while len(running.handled.begun) < 10:
                await anyio.sleep(0.001)
        before = len(running.handled.begun)
        await running.execute("small")
        await running.ended("small")

    place = running.handled.begun.index(("small", 1))
    assert place - before < 200


async def test_snapshots_spare_the_next_owner_the_older_journal(world: MemoryBus):
    timing = msgspec.structs.replace(QUICK, snapshot_commits=5)
    async with fleet(world, timing) as running:
        await running.start_owner("one")
        await running.start_worker("worker")
        names = await running.execute_all(40)
        before = await running.ended(*names)
        for shard in range(SHARDS):
            snapshot = await running.snapshot(shard)
            journal = running.bus.journal("execution")
            subject = journal_subject("execution", shard)
            await journal.purge(subject, below=snapshot.sequence)

        running.kill("one")
        await running.start_owner("two")
        after = await running.ended(*names)

    assert after == before


async def test_a_mailbox_answers_what_is_no_command(running: Fleet):
    await running.start_owner("one")
    await running.settled_hosts()

    reply = await running.bus.transport.request(
        mailbox_subject("execution", 0), b"{}", timeout=SECONDS
    )

    assert b'"code":"validation"' in reply.data


async def test_a_worker_that_is_drained_hands_back_what_it_has_not_begun_as_untouched(
    running: Fleet,
):
    await running.start_owner("one")
    gate = Gate()
    leaving = await running.start_worker("leaving", gate.handle, capacity=1, per_tenant=1)
    for name in ("e1", "e2", "e3"):
        await running.execute(name)
    await gate.has_begun()
    gate.open()
    await running.workers["leaving"].drain()
    leaving.cancel()
    await running.start_worker("other")
    records = await running.ended("e1", "e2", "e3")

    assert [(record.status, record.attempts) for record in records] == [("COMPLETED", 1)] * 3
    assert sorted(running.handled.begun) == [("e1", 1), ("e2", 1), ("e3", 1)]


async def test_the_shards_of_a_drained_host_are_taken_over_while_its_process_lives_on(
    running: Fleet,
):
    one, two = await running.start_owner("one"), await running.start_owner("two")
    await running.settled_hosts()

    await one.host.drain()
    with anyio.fail_after(SECONDS):
        while two.host.owned != list(range(SHARDS)):
            await anyio.sleep(0.005)
