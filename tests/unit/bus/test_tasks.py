"""Signals are never lost, and waits end in time."""

import asyncio

import anyio
import pytest

from bus.errors import UnavailableError
from bus.tasks import Wakeup, in_own_task, until_answered, within

LONG = 30.0


async def test_a_signal_before_the_wait_spares_it():
    wakeup = Wakeup()
    wakeup.set()

    with anyio.move_on_after(LONG) as scope:
        await wakeup.wait()
    assert not scope.cancelled_caught


async def test_a_signal_ends_the_wait_that_goes_on():
    wakeup, ended = Wakeup(), list[str]()

    async def wait() -> None:
        await wakeup.wait()
        ended.append("wait")

    with anyio.fail_after(LONG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert ended == []
            wakeup.set()

    assert ended == ["wait"]


async def test_a_wait_uses_up_the_signals_before_it():
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    await wakeup.wait()

    with anyio.move_on_after(0.01) as scope:
        await wakeup.wait()
    assert scope.cancelled_caught


async def test_a_wait_ends_after_its_seconds():
    began = anyio.current_time()
    with anyio.fail_after(LONG):
        await Wakeup().wait(0.01)

    assert anyio.current_time() - began >= 0.01


async def test_a_signal_to_a_cancelled_wait_is_kept_for_the_next():
    wakeup = Wakeup()
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await wakeup.wait()
    wakeup.set()

    with anyio.move_on_after(LONG) as scope:
        await wakeup.wait()
    assert not scope.cancelled_caught


@pytest.mark.parametrize("seconds", [None, LONG])
async def test_a_result_is_returned(seconds: float | None):
    future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    future.set_result("here")

    assert await within(future, seconds) == "here"


async def test_no_result_in_time_is_none_and_settles_the_future():
    future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    assert (await within(future, 0.001), future.done()) == (None, True)


async def test_what_runs_apart_is_at_its_end_when_it_returns():
    done: list[str] = []

    async def body() -> None:
        await anyio.lowlevel.checkpoint()
        done.append("body")

    await in_own_task(body)

    assert done == ["body"]


async def test_its_error_comes_out_as_it_was_raised():
    async def body() -> None:
        raise UnavailableError("there", "nobody")

    with pytest.raises(UnavailableError):
        await in_own_task(body)


async def test_it_is_cancelled_with_the_one_that_waits_for_it():
    ended = anyio.Event()

    async def body() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with anyio.move_on_after(0.01) as scope:
        await in_own_task(body)

    assert scope.cancelled_caught
    assert ended.is_set()


async def test_a_bus_is_asked_again_until_it_answers_or_for_as_many_tries():
    tried: list[int] = []

    async def ask() -> int:
        tried.append(1)
        if len(tried) < 4:
            raise UnavailableError("s", "away")
        return len(tried)

    with pytest.raises(UnavailableError):
        await until_answered(ask, 0.001, tries=3)
    assert len(tried) == 3
    assert await until_answered(ask, 0.001, tries=1) == 4
    tried.clear()
    assert await until_answered(ask, 0.001) == 4
