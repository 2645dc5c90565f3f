"""Work in slices: who goes when, and that the loop turns between them."""

from time import perf_counter, process_time

import anyio
import pytest

from bus.slices import Slices
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


async def test_a_cancelled_waiter_passes_its_turn_on():
    slices = Slices(0.0)
    scope = anyio.CancelScope()

    async def waiting() -> None:
        with scope:
            await slices.ticket()

    async with anyio.create_task_group() as tasks:
        await slices.ticket()
        tasks.start_soon(waiting)
        await anyio.lowlevel.cancel_shielded_checkpoint()
        scope.cancel()
    with anyio.fail_after(30):
        await slices.ticket()


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
