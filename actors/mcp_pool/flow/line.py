"""The queue of a server: so many calls at once, fairly over agents, and so many that wait."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors.mcp_pool.core.upstream import UpstreamError
from bus.fairness import Turns
from bus.tasks import loop_time, within

RETRY_SECONDS = 1.0


class ServerQueue:
    """Gives places; one that frees goes to the agent with the fewest calls running."""

    def __init__(self, *, concurrency: int, queue: int) -> None:
        self._turns = Turns[asyncio.Future[bool | None]](concurrency)
        self._most = queue

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._turns.waiting)

    @property
    def running(self) -> int:
        """How many calls have a place."""
        return self._turns.running

    @asynccontextmanager
    async def place(self, who: str, deadline: float) -> AsyncGenerator[None]:
        """Wait for a place, and keep it while the context is open.

        Raises:
            UpstreamError: ``overloaded`` where too many wait, ``deadline``; nothing was sent.
        """
        if self.waiting or not self._turns.begin(who):
            await self._wait(who, deadline)
        try:
            yield
        finally:
            self._turns.end(who)
            self._go_on()

    async def _wait(self, who: str, deadline: float) -> None:
        if self.waiting >= self._most:
            message = f"{self.waiting} calls wait for the server already"
            raise UpstreamError("overloaded", message, retry_after=RETRY_SECONDS)
        mine: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self._turns.waiting.add(who, mine)
        # A place may be free where others wait: their turn comes first, and then mine.
        self._go_on()
        try:
            granted = await within(mine, max(0.0, deadline - loop_time()))
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.result():
                self._turns.end(who)
                self._go_on()
            raise
        finally:
            self._turns.waiting.remove(who, mine)
        if not granted:
            raise UpstreamError("deadline", "the deadline passed while calls before it went on")

    def _go_on(self) -> None:
        while (started := self._turns.start()) is not None:
            who, future = started
            if future.done():
                self._turns.end(who)
            else:
                future.set_result(True)
