"""Work in slices: who goes when, and that the loop turns between them."""

import asyncio
from time import perf_counter, process_time
from typing import Any

import anyio
import pytest

from bus.fairness.slices import Slices
from schemas.steps import Steps, at_once, begun
from tests.lag import TOLERATED_SECONDS, measured


def busy(seconds: float) -> None:
    until = process_time() + seconds
    while process_time() < until:
        pass


def steps(count: int, seconds: float = 0.001) -> Steps[int]:
    for _ in range(count):
        busy(seconds)
        yield
    return count


def failing() -> Steps[int]:
    yield
    raise ValueError("told")


def test_small_work_is_done_before_its_first_pause():
    done = begun(steps(0))

    assert done is not None
    assert done.result == 0
    assert begun(steps(1)) is None
    assert at_once(steps(3)) == 3


async def test_work_returns_its_result_or_raises_its_error():
    slices = Slices()

    assert await slices.run(steps(20)) == 20
    assert await slices.whole(lambda: 7) == 7
    with pytest.raises(ValueError, match="told"):
        await slices.run(failing())
    assert await slices.run(steps(1)) == 1


async def test_the_loop_turns_while_much_is_to_be_done():
    slices = Slices()
    async with measured() as lag, anyio.create_task_group() as tasks:
        for tenant in range(20):
            tasks.start_soon(slices.run, steps(20), str(tenant))

    assert lag.longest < TOLERATED_SECONDS / 3


async def test_others_get_half_of_the_time():
    """A neighbour that needs the processor itself is at most twice as slow, and some."""
    slices, turns, spent = Slices(), 0, 0.0

    async def neighbour() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(neighbour)
        before = process_time()
        await slices.run(steps(100))
        spent = process_time() - before
        tasks.cancel_scope.cancel()

    assert spent > 0.15
    assert turns > 100


async def test_tenants_take_turns_however_much_one_of_them_has():
    slices, ended = Slices(0.0), list[str]()

    async def run(tenant: str, count: int) -> None:
        await slices.run(steps(count), tenant)
        ended.append(tenant)

    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(run, "many", 20)
        tasks.start_soon(run, "few", 3)

    assert ended[0] == "few"


async def test_who_is_cancelled_while_waiting_holds_up_nobody():
    slices = Slices(0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slices.run, steps(10), "a")
        with anyio.move_on_after(0.003):
            await slices.run(steps(1000), "b")
        with anyio.fail_after(30):
            assert await slices.run(steps(3), "c") == 3


async def test_a_waiter_that_is_cancelled_as_its_turn_comes_passes_it_on():
    slices, running, ended = Slices(0.0), list[asyncio.Task[Any] | None](), list[str]()

    async def waiting() -> None:
        running.append(asyncio.current_task())
        try:
            await slices.ticket()
        except asyncio.CancelledError:
            ended.append("cancelled")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting)
        await slices.ticket()
        # In this turn of the loop the waiter begins to wait, and then is given its turn.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        for task in filter(None, running):
            task.cancel()
    with anyio.move_on_after(5) as next_turn:
        await slices.ticket()

    assert ended == ["cancelled"]
    assert not next_turn.cancelled_caught


async def test_there_is_one_ticket_in_a_turn_of_the_loop():
    slices, began = Slices(), list[float]()

    async def large() -> None:
        await slices.ticket()
        began.append(perf_counter())
        busy(0.005)

    async with measured() as lag, anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(large)

    assert len(began) == 40
    assert lag.longest < TOLERATED_SECONDS / 3
