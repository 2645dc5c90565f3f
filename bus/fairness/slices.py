"""Work of a size that others choose, done in slices between which the event loop goes on.

The work is a generator that pauses often (``schemas.steps``): what it computes stays pure, and only
here the clock is looked at. A process runs one slice at a time. After each one it rests as
long as the slice took, so that such work never takes more than half of the loop's time. Tenants
take turns, so that the work of one delays that of another by one slice at most.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from schemas.steps import Steps, StepsDone, begun

T = TypeVar("T")

SLICE_SECONDS = 0.004
"""How long a slice lasts, up to the pause of the work that follows."""

_BRIEF_SECONDS = 0.0005
"""After less than this nobody needs a rest."""


class Slices:
    """The turns of one process, for any number of tasks of its loop."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self._seconds = seconds
        self._taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, steps: Steps[T], tenant: str = "") -> T:
        """Do work in slices. Cancelling ends it at its last pause. Raises what the work raises.

        What is done by its first pause, about a millisecond, waits for no turn.
        """
        done = begun(steps)
        return done.result if done is not None else await self._in_turns(steps, tenant)

    async def _in_turns(self, steps: Steps[T], tenant: str) -> T:
        while True:
            await self._turn(tenant)
            began = perf_counter()
            try:
                done = self._slice(steps, began)
            finally:
                self._rest(perf_counter() - began)
            if done is not None:
                return done.result

    async def whole(self, work: Callable[[], T], tenant: str = "") -> T:
        """Do work that cannot pause, in a turn of its own. Raises what the work raises."""
        await self._turn(tenant)
        began = perf_counter()
        try:
            return work()
        finally:
            self._rest(perf_counter() - began)

    async def ticket(self, tenant: str = "") -> None:
        """Wait for leave to do a few milliseconds of work: there is one in a turn of the loop."""
        await self._turn(tenant)
        asyncio.get_running_loop().call_soon(self._pass_on)

    def _slice(self, steps: Steps[T], began: float) -> StepsDone[T] | None:
        while (done := begun(steps)) is None:
            if perf_counter() - began >= self._seconds:
                return None
        return done

    async def _turn(self, tenant: str) -> None:
        if not self._taken:
            self._taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                # The turn came together with the cancellation: it goes to the next one.
                self._pass_on()
            raise

    def _rest(self, spent: float) -> None:
        loop = asyncio.get_running_loop()
        if spent < _BRIEF_SECONDS and not self._waiting:
            self._taken = False
        elif spent < _BRIEF_SECONDS:
            loop.call_soon(self._pass_on)
        else:
            loop.call_later(spent, self._pass_on)

    def _pass_on(self) -> None:
        """Give the turn to the tenant that has waited longest, or to nobody."""
        while self._waiting:
            tenant, tasks = self._waiting.popitem(last=False)
            task = tasks.popleft()
            if tasks:
                self._waiting[tenant] = tasks
            if not task.done():
                task.set_result(None)
                return
        self._taken = False
