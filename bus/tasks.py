"""Tasks and waiting: pools, tasks of their own, wake-ups, loops that run beside a body.

To begin a task costs several times what it costs to hand a piece of work to one that waits for it,
and an event and a cancel scope of anyio cost ten times as much as the loop's own futures and
timers; both are needed for every message. What is awaited here can be cancelled like anything
else, and time is the loop's, which a simulation may replace.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from bus.errors import UnavailableError

T = TypeVar("T")

MOST_RESTING = 64
"""Tasks that wait for work at most; above it a task ends with its work."""


class TaskPool(Generic[T]):
    """Does pieces of work, at most so many at once; the others wait their turn.

    What goes wrong in one ends the task group, as in a task of its own. Tasks keep the context
    variables of whoever gave them their first piece of work, so none may be set there.
    """

    def __init__(
        self, tasks: TaskGroup, work: Callable[[T], Awaitable[None]], *, most: int
    ) -> None:
        self._tasks = tasks
        self._work = work
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._members = 0
        self._resting: deque[asyncio.Future[T | None]] = deque()
        self._waiting: deque[T] = deque()
        self._dismissed = False

    def give(self, piece: T) -> None:
        """Have a piece of work done as soon as there is a task for it."""
        while self._resting:
            resting = self._resting.pop()
            if not resting.done():
                resting.set_result(piece)
                return
        if self._members >= self._most:
            self._waiting.append(piece)
            return
        self._members += 1
        self._tasks.start_soon(self._serve, piece)

    def dismiss(self) -> None:
        """Let each task end as soon as there is no work for it."""
        self._dismissed = True
        while self._resting:
            resting = self._resting.pop()
            if not resting.done():
                resting.set_result(None)

    async def _serve(self, first: T) -> None:
        piece: T | None = first
        try:
            while piece is not None:
                await self._work(piece)
                piece = self._waiting.popleft() if self._waiting else await self._rest()
        finally:
            self._members -= 1

    async def _rest(self) -> T | None:
        """Return the next piece of work, None if the task may end."""
        if self._dismissed or len(self._resting) >= MOST_RESTING:
            return None
        resting: asyncio.Future[T | None] = self._loop.create_future()
        self._resting.append(resting)
        return await resting


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


def loop_clock() -> Callable[[], float]:
    """Return what tells the running loop's time, for those who ask often and live in one loop.

    To look the loop up costs a system call before Python 3.12.
    """
    return asyncio.get_running_loop().time


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


async def in_own_task(body: Callable[[], Awaitable[None]]) -> None:
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


@asynccontextmanager
async def background(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[TaskGroup]:
    """Run loops while the context is open, and end it when one of them fails.

    More can be started in the group that is yielded.

    An error, of the body or of a loop, comes out as it was raised, not in a group: there is one.
    """
    try:
        async with anyio.create_task_group() as tasks:
            for loop in loops:
                tasks.start_soon(loop)
            yield tasks
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = group.exceptions[0]
        raise error from error.__cause__
