"""Shards on a real nats-server: owned, taken over, recovered from snapshot and journal."""

from pathlib import Path

import anyio
import msgspec
import pytest

from bus.subjects import journal_subject
from bus.testing import nats_world
from schemas.lifecycle import GenerateWork
from tests.servers import local_server
from tests.simulation.fleet import QUICK, SECONDS, SHARDS, Fleet, fleet, is_legal

TIMING = msgspec.structs.replace(
    QUICK,
    heartbeat_seconds=0.05,
    member_gone_seconds=0.4,
    join_seconds=0.12,
    ack_wait_seconds=0.6,
    request_try_seconds=0.5,
    inventory_seconds=0.6,
    snapshot_commits=5,
)


async def _executed(running: Fleet, names: list[str]) -> None:
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(running.execute, name)


@pytest.fixture
def names() -> list[str]:
    return [f"e{number}" for number in range(40)]


async def test_executions_end_once_though_one_of_two_owners_is_killed(
    tmp_path: Path, names: list[str]
):
    opened = anyio.Event()

    async def wait(work: GenerateWork) -> None:
        del work
        await opened.wait()

    async with (
        nats_world(local_server(tmp_path), ("execution",), TIMING) as world,
        fleet(world, TIMING) as running,
    ):
        await running.start_owner("one")
        await running.start_owner("two")
        await running.settled_hosts()
        shared = {name: owning.host.owned for name, owning in running.hosts.items()}
        await running.start_worker("worker", wait, capacity=50, per_tenant=50)
        await _executed(running, names)

        running.kill("one")
        opened.set()
        records = await running.ended(*names)
        await running.settled_hosts()
        histories = await running.histories()

    assert sorted(shard for shards in shared.values() for shard in shards) == list(range(SHARDS))
    assert {record.status for record in records} == {"COMPLETED"}
    assert [name for name in names if not is_legal(histories[name])] == []
    assert sorted(name for name, _ in running.handled.begun) == sorted(names)


async def test_a_newcomer_takes_its_share_while_commands_arrive(tmp_path: Path, names: list[str]):
    async with (
        nats_world(local_server(tmp_path), ("execution",), TIMING) as world,
        fleet(world, TIMING) as running,
    ):
        await running.start_owner("one")
        await running.start_worker("worker")
        await running.settled_hosts()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_executed, running, names[:20])
            await running.start_owner("two")
            tasks.start_soon(_executed, running, names[20:])
        await running.ended(*names)
        await running.settled_hosts()
        histories = await running.histories()

    assert [name for name in names if not is_legal(histories[name])] == []


async def test_a_shard_is_recovered_from_its_snapshot_and_what_follows_it(
    tmp_path: Path, names: list[str]
):
    async with (
        nats_world(local_server(tmp_path), ("execution",), TIMING) as world,
        fleet(world, TIMING) as running,
    ):
        await running.start_owner("one")
        await running.start_worker("worker")
        for name in names:
            await running.execute(name)
        before = await running.ended(*names)
        for shard in range(SHARDS):
            snapshot = await running.snapshot(shard)
            journal = running.bus.journal("execution")
            await journal.purge(journal_subject("execution", shard), below=snapshot.sequence)
        numbers = [commit.n for commit in await running.commits(0)]

        running.kill("one")
        await running.start_owner("two")
        after = await running.ended(*names)

    assert after == before
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 1


async def test_a_killed_server_loses_no_accepted_execution(tmp_path: Path, names: list[str]):
    opened = anyio.Event()

    async def wait(work: GenerateWork) -> None:
        del work
        await opened.wait()

    async with (
        nats_world(local_server(tmp_path), ("execution",), TIMING) as world,
        fleet(world, TIMING) as running,
    ):
        await running.start_owner("one")
        await running.start_worker("worker", wait, capacity=2, per_tenant=2)
        await _executed(running, names)
        with anyio.fail_after(SECONDS):
            while len(running.handled.begun) < 2:
                await anyio.sleep(0.01)

        await world.restart()
        opened.set()
        await running.ended(*names)
        histories = await running.histories()

    assert [name for name in names if not is_legal(histories[name])] == []
