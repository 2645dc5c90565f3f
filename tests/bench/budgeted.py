"""What a budget adds to an execution: turns until its end, counted in the journals, and time.

Executions follow one another, so that each turn is of one alone. Every turn is one append.
"""

import time

import msgspec

from schemas.journal import Commit
from tests.bench import executions
from tests.bench.executions import AGENT, BODY, Counter
from tests.bench.fleet import Fleet, fleet
from tests.bench.rows import Row, percentile
from tests.bench.wire import encoded

NAME = "budgeted"
EXECUTIONS = 100
WARM = 20
MOST_TURNS = 2.0
BUDGET = {"id": "cap", "limit_pico": 10**18, "window": "daily"}
SETTINGS = {"CALLBOARD_BUDGET_UNPRICED": "allow"}
"""What the model costs is of no interest here."""

JOURNALS = "_cb.journal.>"
ACCEPTED, RESERVED, COMPLETED = "accepted", "reserved", "completed"
"""The events with which an execution begins, its money is held, and it ends."""


async def measure() -> list[Row]:
    """Measure executions of a tenant without a budget, then with one."""
    async with fleet(["agents", "streaming", "pricing"], SETTINGS) as running:
        await running.ask("agents.apply", AGENT)
        load = Load(running)
        await load.begin()
        free = await load.run()
        await running.ask("budgets.set", BUDGET)
        bound = await load.run()
    added = bound.turns - free.turns
    return [
        Row(NAME, "turns to the end of an execution, no budget", free.turns, "turns"),
        Row(NAME, "    with a budget", bound.turns, "turns"),
        Row(NAME, "    turns a budget adds", added, "turns", most=MOST_TURNS),
        Row(NAME, "request -> completed p50, with / without", bound.p50, "ms", beside=free.p50),
    ]


class Taken(msgspec.Struct):
    """Turns of an execution on average, and milliseconds of the middle one."""

    turns: float
    p50: float


class _Told(msgspec.Struct):
    """The kind of an event."""

    type: str


class Load:
    """Runs executions one after another, and listens to what is appended for them."""

    def __init__(self, running: Fleet) -> None:
        self._wire = running.wire
        self._accepted = Counter()
        self._completed = Counter()
        self._commits: list[Commit] = []

    async def begin(self) -> None:
        """Listen."""
        await self._wire.subscribe(executions.ACCEPTED, self._accepted.take)
        await self._wire.subscribe(executions.COMPLETED, self._completed.take)
        await self._wire.subscribe(JOURNALS, self._take)

    async def run(self) -> Taken:
        """Run executions; the first ones warm up."""
        request = encoded("cb.local.agents.execute", BODY, executions.ACCEPTED)
        await self._run(request, WARM)
        self._commits.clear()
        takes = await self._run(request, EXECUTIONS)
        return Taken(turns=_turns(self._commits) / EXECUTIONS, p50=percentile(takes, 0.5) * 1e3)

    async def _run(self, request: bytes, count: int) -> list[float]:
        self._completed.times.clear()
        takes: list[float] = []
        for number in range(1, count + 1):
            began = time.perf_counter()
            self._wire.write(request)
            takes.append(await self._completed.reach(number) - began)
        return takes

    def _take(self, _: bytes, data: bytes) -> None:
        self._commits.append(msgspec.json.decode(data, type=Commit))


def _turns(commits: list[Commit]) -> int:
    """Count the turns up to the end of each execution; what is booked afterwards delays nobody."""
    turns = 0
    under_way: set[str] = set()
    for entry in (entry for commit in commits for entry in commit.entries):
        told = {msgspec.json.decode(event, type=_Told).type for event in entry.events}
        if ACCEPTED in told:
            under_way.add(entry.key)
        turns += entry.key in under_way or RESERVED in told
        if COMPLETED in told:
            under_way.discard(entry.key)
    return turns
