"""Seeded faults: messages between processes are lost, doubled and late, and processes die."""

import random
from collections.abc import Sequence

import anyio
import pytest

from bus.memory.transport import Fate
from bus.testing import memory_bus
from tests.simulation.fleet import QUICK, fleet, is_legal

EXECUTIONS = 20


def fate_of(seed: int) -> Fate:
    """Return faults for commands and answers; what is stored arrives."""
    chance = random.Random(seed)

    def fate(subject: str) -> Sequence[float]:
        if not subject.startswith(("_cb.cmd.", "_INBOX.")):
            return (0.0,)
        lot = chance.random()
        if lot < 0.1:
            return ()
        if lot < 0.2:
            return (0.0, chance.uniform(0.0, 0.05))
        return (chance.uniform(0.0, 0.02),) if lot < 0.5 else (0.0,)

    return fate


@pytest.mark.parametrize("seed", range(4))
async def test_all_executions_end_once_whatever_is_lost_doubled_or_late(seed: int):
    chance = random.Random(seed)
    names = [f"e{number}" for number in range(EXECUTIONS)]
    async with memory_bus(QUICK, fate=fate_of(seed)) as world, fleet(world) as running:
        await running.start_owner("first")
        doomed = await running.start_worker("doomed", lambda _: anyio.sleep(0.05))
        await running.start_worker("stays")
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(running.execute, name)
            await running.start_owner("second")
            await anyio.sleep(chance.uniform(0.0, 0.15))
            doomed.cancel()
            running.kill(chance.choice(["first", "second"]))
        records = await running.ended(*names)
        histories = await running.histories()

    assert [name for name in names if not is_legal(histories[name])] == []
    assert {record.status for record in records} <= {"COMPLETED", "FAILED"}
