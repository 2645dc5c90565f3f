"""Waiting where it happens for every message: on the loop's own futures and timers.

An event and a cancel scope of anyio cost ten times as much. What is awaited here can be cancelled
like anything else, and time is the loop's, which a simulation may replace.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from bus.errors import UnavailableError

T = TypeVar("T")


class Wakeup:
    """What one loop sleeps on until others have something for it. A signal is never lost."""

    __slots__ = ("_is_set", "_loop", "_sleeper")

    def __init__(self) -> None:
        self._is_set = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleeper: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the sleeper, or spare it the next sleep."""
        self._is_set = True
        if self._sleeper is not None:
            _settle(self._sleeper)

    async def wait(self, seconds: float | None = None) -> None:
        """Return once ``set`` was called since the last return, or after ``seconds``."""
        if not self._is_set:
            # Looked up once: the look-up costs a system call before Python 3.12.
            self._loop = self._loop or asyncio.get_running_loop()
            self._sleeper = self._loop.create_future()
            try:
                await within(self._sleeper, seconds)
            finally:
                self._sleeper = None
        self._is_set = False


def loop_time() -> float:
    """Return the loop's time in seconds: that of ``anyio.current_time``, a tenth of its cost."""
    return asyncio.get_running_loop().time()


async def within(future: "asyncio.Future[T | None]", seconds: float | None) -> T | None:
    """Return the result of a future, or None after ``seconds``; the future is settled then."""
    if seconds is None:
        return await future
    timer = future.get_loop().call_later(seconds, _settle, future)
    try:
        return await future
    finally:
        timer.cancel()


async def until_answered(
    ask: Callable[[], Awaitable[T]], pause: float, *, tries: int | None = None
) -> T:
    """Ask the bus again, ``pause`` seconds after each failure, until it answers.

    Raises:
        UnavailableError: it did not at the last of so many ``tries``.
    """
    tried = 0
    while True:
        tried += 1
        try:
            return await ask()
        except UnavailableError:
            if tried == tries:
                raise
        await anyio.sleep(pause)


async def apart(body: Callable[[], Awaitable[None]]) -> None:
    """Run something that waits often in a task of its own, to its end.

    Each time a task goes on it goes through all that wait for each other in it, whose frames have
    left the processor's caches meanwhile. An error comes out as it was raised.
    """

    async def run() -> None:
        await body()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
    except BaseExceptionGroup as group:
        error = group.exceptions[0]
        raise error from error.__cause__


def _settle(future: "asyncio.Future[T | None]") -> None:
    if not future.done():
        future.set_result(None)
