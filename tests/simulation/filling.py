"""Users who fill a journal with a small bound, and owners that are killed whenever it gets full."""

from collections import Counter

import anyio
import msgspec

from bus.config import Timing
from bus.errors import ProblemError
from bus.streams.capacity import is_full
from bus.testing import World
from schemas.problems import Problem
from tests.simulation.fleet import QUICK, SECONDS, Fleet, fleet

STREAM = "JOURNAL_EXECUTION"
TIGHT = msgspec.structs.replace(
    QUICK, journal_max_bytes=700_000, room_tight_seconds=0.02, resend_window_seconds=0.05
)
"""Room for some three hundred executions."""


class Load:
    """Users who ask for executions, and come again as long as there is no room."""

    def __init__(self, running: Fleet) -> None:
        self.refused = Counter[str]()
        self._running = running

    async def execute(self, names: list[str]) -> None:
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(self._execute, name)

    async def _execute(self, name: str) -> None:
        with anyio.fail_after(SECONDS):
            while (problem := await refusal(self._running, name)) is not None:
                assert is_full(problem), problem
                self.refused[problem.details["store"]] += 1
                await anyio.sleep(0.02)


async def refusal(running: Fleet, name: str, task: str = "Say hello.") -> Problem | None:
    """Ask for an execution and return why there is none."""
    try:
        await running.execute(name, task=task)
    except ProblemError as refused:
        return refused.problem
    return None


async def fills_and_goes_on(world: World, count: int, timing: Timing = TIGHT) -> Load:
    """Let a fleet execute so many in a small journal, and kill its owner whenever it gets full."""
    async with fleet(world, timing) as running:
        owner = 0
        await running.start_owner("0")
        await running.settled_hosts()
        await running.start_worker("worker", capacity=100, per_tenant=100)
        load, names = Load(running), [f"e{number}" for number in range(count)]
        for start in range(0, count, 50):
            before = load.refused.total()
            await load.execute(names[start : start + 50])
            if load.refused.total() > before and start > 400 * owner:
                running.kill(str(owner))
                owner += 1
                await running.start_owner(str(owner))
        records = await running.ended(*names)
    assert {record.status for record in records} == {"COMPLETED"}
    assert owner > 0
    return load
