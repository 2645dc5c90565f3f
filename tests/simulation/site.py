"""A simulated process: it can be killed, made to stand still, cut off and have its clock moved."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVarTuple, Unpack

from bus.memory import MemoryTransport
from bus.memory.bus import loop_clock
from bus.shard import ShardHost
from tests.simulation.chance import Chance
from tests.simulation.faults import Rates
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.trace import Trace

Ts = TypeVarTuple("Ts")

LONGEST_PAUSE = 4.0


class Silence(NamedTuple):
    """When a process fell silent, and for how long: cut off from the bus, or standing still."""

    began: float
    seconds: float
    is_cut: bool


class Site:
    """One life of a process. ``slot`` is the place in the fleet that it fills.

    It is made outside of the process, in the context of the world.
    """

    def __init__(
        self,
        slot: str,
        process: Process,
        transport: MemoryTransport,
        chance: Chance,
        rates: Rates,
        trace: Trace,
    ) -> None:
        self.slot = slot
        self.process = process
        self.transport = transport
        self.chance = chance
        self.rates = rates
        self.trace = trace
        self.world = copy_context()
        self.bus_life: Callable[[], str] = str
        self.skew = 0.0
        self.is_dead = False
        self.is_mortal = True
        self.died: Callable[[Site], None] = lambda _: None
        self.hosts: Sequence[ShardHost] = ()
        self.leave: Callable[[], None] = lambda: None
        self.has_left = False
        self.dies_at_work: int | None = None
        self.silences: list[Silence] = []
        self._cuts = 0

    @property
    def name(self) -> str:
        """The name of this life."""
        return self.process.name

    def clock(self) -> datetime:
        """The time of day as this process believes it is."""
        return loop_clock() + timedelta(seconds=self.skew)

    def kill(self) -> None:
        """Stop for good: nothing of it is ever heard again."""
        if not self.is_dead:
            self.trace.note(self.name, "killed")
            self.is_dead = self.process.is_frozen = True
            self.transport.lose()
            self.died(self)

    def begins(self) -> None:
        """Begin an item of work, which may be the last thing that it does."""
        if self.dies_at_work is not None:
            self.process.at_step[self.process.steps + self.dies_at_work] = self.kill
            self.dies_at_work = None

    def pause(self, seconds: float) -> None:
        """Stand still, with everything in mid-flight."""
        if not self.process.is_frozen:
            self.trace.note(self.name, f"stands still for {seconds:.2f} s")
            self.silences.append(Silence(_loop().time(), seconds, is_cut=False))
            self.process.is_frozen = True
            self.later(seconds, self.resume)

    def resume(self) -> None:
        """Go on as if nothing had happened."""
        if self.process.is_frozen and not self.is_dead:
            self.trace.note(self.name, "goes on")
            self.thaw()

    def thaw(self) -> None:
        """Let the tasks of the process run, be it dead or alive."""
        _loop().thaw(self.process)

    def cut(self, seconds: float) -> None:
        """Lose the bus for a while."""
        if not self.is_dead:
            self.trace.note(self.name, f"loses the bus for {seconds:.2f} s")
            self._cuts += 1
            self.silences.append(Silence(_loop().time(), seconds, is_cut=True))
            self.transport.lose()
            self.later(seconds, self._find, self._cuts)

    def find(self) -> None:
        """Find the bus again."""
        if not self.is_dead and self.transport.is_lost:
            self.trace.note(self.name, "finds the bus")
            self.transport.find()

    def was_silent(self, since: float, *, at_least: float) -> bool:
        """Say whether it died, was cut off, or stood still so long, at some time from ``since``.

        Who has left in good order has not died: what it had begun was reported before.
        """
        return (self.is_dead and not self.has_left) or any(
            silence.began + silence.seconds >= since
            and (silence.is_cut or silence.seconds >= at_least)
            for silence in self.silences
        )

    def later(self, seconds: float, do: Callable[[Unpack[Ts]], None], *args: *Ts) -> None:
        """Let something befall the process after a while, whatever it is doing then."""
        _loop().call_later(seconds, do, *args, context=self.world.copy())

    def _find(self, cut: int) -> None:
        if cut == self._cuts:
            self.find()


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
