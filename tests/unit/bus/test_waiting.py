"""Signals are never lost, and waits end in time."""

import asyncio

import anyio
import pytest

from bus.waiting import Wakeup, within

LONG = 30.0


async def test_a_signal_before_the_wait_spares_it():
    wakeup = Wakeup()
    wakeup.set()

    with anyio.fail_after(LONG):
        await wakeup.wait()


async def test_a_signal_ends_the_wait_that_goes_on():
    wakeup = Wakeup()

    with anyio.fail_after(LONG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wakeup.wait)
            await anyio.wait_all_tasks_blocked()
            wakeup.set()


async def test_a_wait_uses_up_the_signals_before_it():
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    await wakeup.wait()

    with anyio.move_on_after(0.01) as scope:
        await wakeup.wait()
    assert scope.cancelled_caught


async def test_a_wait_ends_after_its_seconds():
    with anyio.fail_after(LONG):
        await Wakeup().wait(0.001)


async def test_a_signal_to_a_cancelled_wait_is_kept_for_the_next():
    wakeup = Wakeup()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wakeup.wait()
    wakeup.set()

    with anyio.fail_after(LONG):
        await wakeup.wait()


@pytest.mark.parametrize("seconds", [None, LONG])
async def test_a_result_is_returned(seconds: float | None):
    future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    future.set_result("here")

    assert await within(future, seconds) == "here"


async def test_no_result_in_time_is_none_and_settles_the_future():
    future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    assert (await within(future, 0.001), future.done()) == (None, True)
