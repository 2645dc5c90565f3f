"""Tasks that take one piece of work after another.

To begin a task costs several times what it costs to hand a piece of work to one that waits for it,
and a process begins some for every message.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from anyio.abc import TaskGroup

T = TypeVar("T")

MOST_RESTING = 64
"""Tasks that wait for work at most; above it a task ends with its work."""


class Crew(Generic[T]):
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
