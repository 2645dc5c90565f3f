"""An event loop in virtual time: nothing waits, and one seed gives one order of everything.

Tasks that are ready run in an order that the seed decides; time jumps to the next timer when none
is. Tasks belong to simulated processes, which can be made to stand still at any of their steps.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from functools import reduce
from operator import attrgetter
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_STEPS = 150_000
"""A history that takes more steps of the loop goes round in circles."""


class StuckError(Exception):
    """Nothing will ever happen any more, or too much does."""


class Process:
    """Tasks that stop and go on together, as those of a process of the operating system do.

    ``at_step`` says what befalls the process before it takes its n-th step.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = 0
        self.at_step: dict[int, Callable[[], None]] = {}
        self.is_frozen = False
        self.held: list[_Ready | _Timer] = []

    def take_step(self) -> None:
        """Count a step that is about to be taken, and let happen what is to happen there."""
        self.steps += 1
        befall = self.at_step.pop(self.steps, None)
        if befall is not None:
            befall()


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""The simulated process to which the running code belongs; None is the world around them."""


class _Ready(asyncio.Handle):
    """Something to run: in the order of ``key`` among all that became ready with it."""

    __slots__ = ("key", "process")
    key: tuple[int, int]
    process: Process | None


class _Timer(asyncio.TimerHandle):
    """Something that becomes ready at its time: see ``_Ready``."""

    __slots__ = ("key", "process")
    key: tuple[int, int]
    process: Process | None


_key_of = attrgetter("key")


class _Task(asyncio.Task[T]):
    """A task with a lot of its own, because the address of an object is chance."""

    def __init__(self, coro: Coroutine[Any, Any, T], lot: int, **options: Any) -> None:
        self.lot = lot
        self.wakes = 0
        super().__init__(coro, **options)


def stirred(bits: int, number: int) -> int:
    """Return 64 bits with a number mixed in."""
    bits = (bits ^ number) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return bits ^ bits >> 29


def mixed(*numbers: int) -> int:
    """Return 64 well mixed bits of some numbers."""
    return reduce(stirred, numbers, 0)


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module. ``seed`` 0 keeps the order in which things became ready."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._now = 0.0
        self._steps = 0
        self._tasks = 0
        self._order = 0
        self._soon: list[_Ready | _Timer] = []
        self._later: list[tuple[float, int, _Timer]] = []
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._now

    def skip(self, seconds: float) -> None:
        """Let time pass while nothing runs."""
        self._now += seconds

    def thaw(self, process: Process) -> None:
        """Let a process go on where it stood still."""
        process.is_frozen = False
        self._soon.extend(process.held)
        process.held = []

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run a callback in the next round."""
        context = context if context is not None else copy_context()
        ready = _Ready(callback, args, self, context)
        ready.key = self._key(getattr(callback, "__self__", None))
        ready.process = context.get(PROCESS)
        self._soon.append(ready)
        return ready

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """There is but one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback after some virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at a virtual moment."""
        context = context if context is not None else copy_context()
        timer = _Timer(when, callback, args, self, context)
        self._order += 1
        timer.key = (0, self._order)
        timer.process = context.get(PROCESS)
        heapq.heappush(self._later, (when, self._order, timer))
        return timer

    # The base class calls these

    def _run_once(self) -> None:
        if not self._soon:
            self._jump()
        round_, self._soon = self._soon, []
        if self._seed and len(round_) > 1:
            round_.sort(key=_key_of)
        for ready in round_:
            if ready.cancelled():
                continue
            process = ready.process
            if process is not None and not process.is_frozen and ready.key[0]:
                process.take_step()
            if process is not None and process.is_frozen:
                process.held.append(ready)
            else:
                ready._run()
        self._steps += len(round_)
        if self._steps > MAX_STEPS:
            raise StuckError(f"{MAX_STEPS} steps, and no end")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a cancelled timer is dropped when its time comes."""

    # Order and time

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> _Task[Any]:
        self._tasks += 1
        return _Task(coro, mixed(self._seed, self._tasks), loop=loop, **options)

    def _key(self, task: object) -> tuple[int, int]:
        """Order what became ready: the loop's own callbacks as they came, then steps of tasks."""
        self._order += 1
        if not isinstance(task, _Task):
            return (0, self._order)
        task.wakes += 1
        return (1, stirred(task.lot, task.wakes))

    def _jump(self) -> None:
        """Go to the moment of the next timer and make ready all that are due then."""
        later = self._later
        while later and later[0][2].cancelled():
            heapq.heappop(later)
        if not later:
            raise StuckError("nothing will ever happen")
        self._now = max(self._now, later[0][0])
        while later and later[0][0] <= self._now:
            self._soon.append(heapq.heappop(later)[2])
