"""Things are done to a busy fleet in rounds, and what has ended in a round is judged after it.

Between rounds nothing is asked for, so a long run is judged while the streams of its executions are
still stored, and what it has shown by then outlives it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskGroup

from bus.connection import NatsTransport
from tests.chaos import report
from tests.chaos.faults import DISK_FULL, Fault, Woken
from tests.chaos.judge import Judge, Verdict
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.victims import ONE_OF_EACH, wait_until_ready

LEAST_PAUSE, LONGEST_PAUSE = 0.5, 2.5
SERVED_SECONDS = 180.0
"""Before each fault somebody serves: processes that are killed as they start show nothing."""

WARM_SECONDS = 1.0
ROUND = 60
"""Faults between two judgements."""


class Result(NamedTuple):
    """Whether all promises were kept, and the report."""

    verdict: Verdict
    report: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done: so many faults, drawn by ``seed``.

    ``tell`` hears after each round what has been found. ``enough`` ends the run after what is being
    done, in good order.
    """

    faults: int
    seed: int
    tell: Callable[[Result], None] = lambda _: None
    enough: anyio.Event = field(default_factory=anyio.Event)


class Tormentor(Protocol):
    """Does one thing after another to a fleet.

    ``woken`` says when processes went on that it had stopped.
    """

    faults: list[Fault]
    woken: list[Woken]

    @property
    def surprises(self) -> list[str]:
        """What happened that it had not wanted."""
        ...

    async def one(self, tasks: TaskGroup) -> None:
        """Do one thing by chance. What goes on by itself later does so in ``tasks``."""
        ...


class Trial:
    """One run over a fleet that stands."""

    def __init__(
        self,
        plan: Plan,
        tormentor: Tormentor,
        load: Load,
        ledger: Ledger,
        transport: NatsTransport,
    ) -> None:
        self._plan = plan
        self._tormentor = tormentor
        self._load = load
        self._ledger = ledger
        self._transport = transport
        self._chance = Random(plan.seed + 2)

    async def run(self, judge: Judge) -> Result:
        """Do all that is planned, and judge it."""
        await self._load.prepare()
        done = self._tormentor.faults
        while True:
            await self._round(min(ROUND, self._plan.faults - len(done)))
            await judge.judge(self._load.given.values(), self._tormentor.woken)
            result = self._result(judge.verdict)
            self._plan.tell(result)
            if self._plan.enough.is_set() or len(done) >= self._plan.faults:
                return result

    async def _round(self, faults: int) -> None:
        async with anyio.create_task_group() as tasks:
            self._load.start(tasks)
            await anyio.sleep(WARM_SECONDS)
            for _ in range(faults):
                with anyio.move_on_after(self._chance.uniform(LEAST_PAUSE, LONGEST_PAUSE)):
                    await self._plan.enough.wait()
                    break
                await wait_until_ready(self._transport, ONE_OF_EACH, timeout=SERVED_SECONDS)
                await self._tormentor.one(tasks)
            await anyio.sleep(WARM_SECONDS)
            self._load.stop()

    def _result(self, verdict: Verdict) -> Result:
        done = self._tormentor.faults
        verdict.surprises = self._tormentor.surprises
        verdict.may_be_thinned = any(fault.kind == DISK_FULL for fault in done)
        return Result(verdict, report.text(verdict, self._ledger, done, self._plan.seed))
